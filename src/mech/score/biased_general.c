/* SPDX-License-Identifier: MIT
 * Biased general attention: the projected query has a bias, so keys may matter by themselves.
 *
 *     s_ij = k_j^T (w q_i + b),   out_i = sum_j softmax_j(s_ij) v_j
 *
 * q B T D, k B S C, w C D, b C, v B S E; mask B S hides keys. k_j . b is what a key is worth to
 * any query. b = 0 is general with w transposed; w = 0 ignores the queries. Sordoni et al. 2016
 * (1606.02245). */
#include "mech/mech.h"

enum { Q, K, V, W, BIAS, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B S C", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B S E", "values"},
    [W] = {"w", ATTN_PARAM | ATTN_GRAD, "C D", "projects the queries"},
    [BIAS] = {"b", ATTN_PARAM | ATTN_GRAD, "C", "its bias"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T E", "weighted sums of v"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B T S", "of every key"},
    {0}};

static void biased_general_build(const attn__build *b)
{
    const attn_spec spec = ATTN_SPEC(.scale = 1);
    const attn_attention_vars vars = {
        .q = attn_tape_linear(b->t, b->in[Q], b->in[W], b->in[BIAS], ATTN_ACT_NONE),
        .k = b->in[K],
        .v = b->in[V]};
    b->out[OUT] = attn__attend(b->t, &spec, &vars, b->in[MASK], attn__build_output(b, WEIGHTS));
}

const attn_mech attn__mech_biased_general = {
    .name = "biased_general",
    .family = "score",
    .about = "the projected query has a bias",
    .formula = "out_i = sum_j softmax_j(k_j^T (w q_i + b)) v_j",
    .cost = "n^2: time T S (C + E) + T D C, memory T (C + E)",
    .source = "1606.02245",
    .sizes = "B=1,T=5,S=6,D=4,C=4,E=4",
    .grows = "TS",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN__SOFT_TRAITS,
    .build = biased_general_build,
};
