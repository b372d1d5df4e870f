/* SPDX-License-Identifier: MIT
 * Hybrid attention for reading: attention flow and coattention side by side.
 *
 *     u_i = sum_j softmax_j(s_ij) y_j,  h = sum_i softmax_i(max_j s_ij) x_i,
 *     s_ij = w.[x_i; y_j; x_i y_j]                                     as in bidaf
 *     o_i = sum_j softmax_j(x_i.y_j) [y_j; sum_i' softmax_i'(x_i'.y_j) x_i']   as in dcn
 *     out_i = [x_i; u_i; o_i; x_i u_i; x_i h]
 *
 * x B T D is the context and y B S D the question, both after their encoders; o is 2D wide and
 * has neither sentinel nor projection. Rows that a mask hides count as zeros and have no
 * weight. No matrix of scores is kept. Hasan and Fischer 2018 (1803.09230), who try it beside
 * dca. */
#include "mech/mech.h"

enum { X, Y, W, MASK, X_MASK, OUT };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T D", "the context"},
    [Y] = {"y", ATTN_IN | ATTN_GRAD, "B S D", "the question"},
    [W] = {"w", ATTN_PARAM | ATTN_GRAD, "3D", "of x, of y and of their product"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a row of y"},
    [X_MASK] = {"x_mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "and one of x"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T 6D", "x; u; o; x u; x h"},
    {0}};

static void hybrid_coattention_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn__sequence x = attn__sequence_of(b, X, X_MASK), y = attn__sequence_of(b, Y, MASK);
    const attn__trilinear s = attn__trilinear_of(t, x.rows, b->in[W], false);
    attn_var weights, summary;
    const attn_var u = attn__attend_plain(t, s.row, y.rows, y.rows, y.mask);
    const attn_var h = attn__flow_back(t, x, y, s, &weights);
    const attn_var o = attn__coattend(t, x.rows, x, y, &summary);
    const attn_var part[] = {x.rows, u, o, attn_tape_mul(t, x.rows, u),
                             attn_tape_mul(t, x.rows, h)};
    b->out[OUT] = attn_tape_concat(t, 5, part, 2);
}

const attn_mech attn__mech_hybrid_coattention = {
    .name = "hybrid_coattention",
    .family = "feature",
    .about = "attention flow and coattention side by side",
    .formula = "out = [x; u; o; x u; x h],  u and h as in bidaf, o as in dcn",
    .cost = "n^2: time T S D, memory (T + S) D",
    .source = "1803.09230",
    .sizes = "B=1,T=6,S=4,D=3",
    .grows = "TS",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_BATCH_FREE | ATTN_STREAMS,
    .build = hybrid_coattention_build,
};
