/* SPDX-License-Identifier: MIT
 * Activated general attention: a bilinear score through a tanh.
 *
 *     s_ij = tanh(q_i^T w k_j + b),   out_i = sum_j softmax_j(s_ij) v_j
 *
 * q B T D, k B S C, w D C, b one number, v B S E; mask B S hides keys. Scores lie between -1
 * and 1, so no weight of a row is more than e^2 times another: it never looks sharply. The
 * engine's softcap of 1 is the tanh, b a bias in front of it. Ma et al. 2017 (1709.00893),
 * where w stands between key and query the other way round. */
#include "mech/mech.h"

enum { Q, K, V, W, BIAS, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B S C", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B S E", "values"},
    [W] = {"w", ATTN_PARAM | ATTN_GRAD, "D C", "between them"},
    [BIAS] = {"b", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "1", "added to every product"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T E", "weighted sums of v"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B T S", "of every key"},
    {0}};

static void activated_general_build(const attn__build *b)
{
    const attn_spec spec = ATTN_SPEC(.scale = 1, .softcap = 1);
    const attn_attention_vars vars = {.q = attn_tape_matmul(b->t, b->in[Q], b->in[W]),
                                      .k = b->in[K],
                                      .v = b->in[V],
                                      .bias_pre = b->in[BIAS]};
    b->out[OUT] = attn__attend(b->t, &spec, &vars, b->in[MASK], attn__build_output(b, WEIGHTS));
}

const attn_mech attn__mech_activated_general = {
    .name = "activated_general",
    .family = "score",
    .about = "a bilinear score through a tanh, never sharp",
    .formula = "out_i = sum_j softmax_j(tanh(q_i^T w k_j + b)) v_j",
    .cost = "n^2: time T S (C + E), a tanh for each pair, memory T (C + E)",
    .source = "1709.00893",
    .sizes = "B=1,T=5,S=6,D=4,C=4,E=4",
    .grows = "TS",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN__SOFT_TRAITS,
    .build = activated_general_build,
};
