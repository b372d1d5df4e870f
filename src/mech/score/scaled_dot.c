/* SPDX-License-Identifier: MIT
 * Scaled dot-product attention: products over the root of their width.
 *
 *     s_ij = q_i . k_j / sqrt(D),   out_i = sum_j softmax_j(s_ij) v_j
 *
 * q B T D, k B S D, v B S E; mask B S hides keys. With entries of variance 1 a score has
 * variance 1 whatever D is: that is what the root is for. causal hides the keys behind a query,
 * the last query standing at the last key. The mechanism named softmax has every other option.
 * Vaswani et al. 2017 (1706.03762). */
#include "mech/mech.h"

enum { Q, K, V, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B S D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B S E", "values"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T E", "weighted sums of v"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B T S", "of every key"},
    {0}};

enum { CAUSAL };
static const attn_param params[] = {
    [CAUSAL] = {"causal", 'b', "false", NULL, "keys up to the query's position"}, {0}};

static void scaled_dot_build(const attn__build *b)
{
    const attn_spec spec =
        ATTN_SPEC(.causal = b->params[CAUSAL].i != 0, .align = ATTN_ALIGN_BOTTOM_RIGHT);
    const attn_attention_vars vars = {.q = b->in[Q], .k = b->in[K], .v = b->in[V]};
    b->out[OUT] = attn__attend(b->t, &spec, &vars, b->in[MASK], attn__build_output(b, WEIGHTS));
}

const attn_mech attn__mech_scaled_dot = {
    .name = "scaled_dot",
    .family = "score",
    .about = "products of queries and keys over the root of their width",
    .formula = "out_i = sum_j softmax_j(q_i.k_j / sqrt(D)) v_j",
    .cost = "n^2: time T S (D + E), memory T E",
    .source = "1706.03762",
    .sizes = "B=1,T=5,S=6,D=4,E=4",
    .grows = "TS",
    .slots = slots,
    .params = params,
    .traits = ATTN__SOFT_TRAITS,
    .build = scaled_dot_build,
};
