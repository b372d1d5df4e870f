/* SPDX-License-Identifier: MIT
 * Multiplicative attention, Luong's "dot": a query and a key agree as far as their product
 * says.
 *
 *     s_ij = q_i . k_j,   out_i = sum_j softmax_j(s_ij) v_j
 *
 * q B T D, k B S D, v B S E; mask B S hides keys. Nothing divides the product, so wide vectors
 * make hard choices: scaled_dot does. With orthonormal keys and a long query it is a look-up.
 * Luong et al. 2015 (1508.04025). */
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

static void dot_build(const attn__build *b)
{
    const attn_spec spec = ATTN_SPEC(.scale = 1);
    const attn_attention_vars vars = {.q = b->in[Q], .k = b->in[K], .v = b->in[V]};
    b->out[OUT] = attn__attend(b->t, &spec, &vars, b->in[MASK], attn__build_output(b, WEIGHTS));
}

const attn_mech attn__mech_dot = {
    .name = "dot",
    .family = "score",
    .about = "scores are products of queries and keys",
    .formula = "out_i = sum_j softmax_j(q_i.k_j) v_j",
    .cost = "n^2: time T S (D + E), memory T E",
    .source = "1508.04025",
    .sizes = "B=1,T=5,S=6,D=4,E=4",
    .grows = "TS",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN__SOFT_TRAITS,
    .build = dot_build,
};
