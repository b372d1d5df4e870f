/* SPDX-License-Identifier: MIT
 * Parallel co-attention: an affinity of every pair carries what one sequence says about the
 * other, both ways at once.
 *
 *     c_ij = tanh(x_i.(w_b y_j))
 *     out   = sum_i a_i x_i,  a = softmax_i(u_x.tanh(w_x x_i + sum_j c_ij w_y y_j))
 *     out_y = sum_j e_j y_j,  e = softmax_j(u_y.tanh(w_y y_j + sum_i c_ij w_x x_i))
 *
 * x B T D is the question, y B S N what it is about. c is not normalised: rows that a mask
 * hides are zeros in both sums. With w_b = 0 the two are independent self-attentive poolings,
 * and exchanging the sequences exchanges the outputs. c is made twice, by tiles, and never
 * kept. Lu et al. 2016 (1606.00061). */
#include "mech/mech.h"

enum { X, Y, W_B, W_X, W_Y, U_X, U_Y, MASK, X_MASK, OUT, OUT_Y, WEIGHTS, X_WEIGHTS };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T D", "the question"},
    [Y] = {"y", ATTN_IN | ATTN_GRAD, "B S N", "what it is about"},
    [W_B] = {"w_b", ATTN_PARAM | ATTN_GRAD, "D N", "affinity of x and y"},
    [W_X] = {"w_x", ATTN_PARAM | ATTN_GRAD, "A D", "hidden layer of x"},
    [W_Y] = {"w_y", ATTN_PARAM | ATTN_GRAD, "A N", "hidden layer of y"},
    [U_X] = {"u_x", ATTN_PARAM | ATTN_GRAD, "A", "to a score of x"},
    [U_Y] = {"u_y", ATTN_PARAM | ATTN_GRAD, "A", "to a score of y"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a row of y"},
    [X_MASK] = {"x_mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "and one of x"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B D", "x, pooled"},
    [OUT_Y] = {"out_y", ATTN_OUT | ATTN_OPTIONAL | ATTN_GRAD, "B N", "y, pooled"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL | ATTN_GRAD, "B S", "of y"},
    [X_WEIGHTS] = {"x_weights", ATTN_OUT | ATTN_OPTIONAL | ATTN_GRAD, "B T", "of x"},
    {0}};

/* softmax(u.tanh(h)). */
static attn_var parallel_weights(attn_tape *t, attn_var h, attn_var u, attn_var mask)
{
    return attn__pool_weights(t, attn_tape_matmul(t, attn_tape_tanh(t, h), u), mask);
}

static void parallel_coattention_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0};
    const attn__sequence x = attn__sequence_of(b, X, X_MASK), y = attn__sequence_of(b, Y, MASK);
    const attn_var keys = attn_tape_linear(t, y.rows, in[W_B], none, ATTN_ACT_NONE); /* B S D */
    const attn_var h_x = attn_tape_linear(t, x.rows, in[W_X], none, ATTN_ACT_NONE);
    const attn_var h_y = attn_tape_linear(t, y.rows, in[W_Y], none, ATTN_ACT_NONE);
    const attn_var to_x = attn_tape_add(t, h_x, attn__score_mix(t, x.rows, keys, h_y));
    const attn_var to_y = attn_tape_add(t, h_y, attn__score_mix(t, keys, x.rows, h_x));
    b->out[X_WEIGHTS] = parallel_weights(t, to_x, in[U_X], x.mask);
    b->out[WEIGHTS] = parallel_weights(t, to_y, in[U_Y], y.mask);
    b->out[OUT] = attn__pool(t, b->out[X_WEIGHTS], x.rows);
    b->out[OUT_Y] = attn__pool(t, b->out[WEIGHTS], y.rows);
}

const attn_mech attn__mech_parallel_coattention = {
    .name = "parallel_coattention",
    .family = "feature",
    .about = "two sequences pooled at once through the affinity of every pair",
    .formula = "out = softmax(u_x.tanh(w_x x + c w_y y)) x,  c = tanh(x w_b y^T),  same for y",
    .cost = "n^2: time 2 T S (D + A), memory (T + S) (D + A)",
    .source = "1606.00061",
    .sizes = "B=1,T=5,S=6,D=4,N=3,A=4",
    .grows = "TS",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_BATCH_FREE | ATTN_STREAMS,
    .build = parallel_coattention_build,
};
