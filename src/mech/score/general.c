/* SPDX-License-Identifier: MIT
 * Bilinear attention, Luong's "general": queries and keys meet through a matrix, so they may be
 * of different widths.
 *
 *     s_ij = q_i^T w k_j,   out_i = sum_j softmax_j(s_ij) v_j
 *
 * q B T D, k B S C, w D C, v B S E; mask B S hides keys. The queries are projected, q w, and
 * the engine does the rest. w = I is dot; w = 0 gives uniform weights. biased_general has w the
 * other way round, C D. Luong et al. 2015 (1508.04025). */
#include "mech/mech.h"

enum { Q, K, V, W, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B S C", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B S E", "values"},
    [W] = {"w", ATTN_PARAM | ATTN_GRAD, "D C", "between them"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T E", "weighted sums of v"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B T S", "of every key"},
    {0}};

static void general_build(const attn__build *b)
{
    const attn_spec spec = ATTN_SPEC(.scale = 1);
    const attn_attention_vars vars = {
        .q = attn_tape_matmul(b->t, b->in[Q], b->in[W]), .k = b->in[K], .v = b->in[V]};
    b->out[OUT] = attn__attend(b->t, &spec, &vars, b->in[MASK], attn__build_output(b, WEIGHTS));
}

const attn_mech attn__mech_general = {
    .name = "general",
    .family = "score",
    .about = "queries and keys of any widths meet through a matrix",
    .formula = "out_i = sum_j softmax_j(q_i^T w k_j) v_j",
    .cost = "n^2: time T S (C + E) + T D C, memory T (C + E)",
    .source = "1508.04025",
    .sizes = "B=1,T=5,S=6,D=4,C=4,E=4",
    .grows = "TS",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN__SOFT_TRAITS,
    .build = general_build,
};
