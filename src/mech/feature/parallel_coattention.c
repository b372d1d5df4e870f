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
 * and exchanging the sequences exchanges the outputs. c is kept, T x S numbers.
 * Lu et al. 2016 (1606.00061). */
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

/* c B T S, from one product and one tanh. */
static attn_var parallel_affinity(attn_tape *t, attn_var x, attn_var y, attn_var w_b)
{
    const attn_var keys = attn_tape_linear(t, y, w_b, (attn_var){0}, ATTN_ACT_NONE);
    return attn_tape_tanh(t, attn_tape_matmul(t, x, attn_tape_transpose(t, keys, 1, 2)));
}

/* softmax(u.tanh(own + c other)). */
static attn_var parallel_weights(attn_tape *t, attn_var own, attn_var c, attn_var other,
                                 attn_var u, attn_var mask)
{
    const attn_var h = attn_tape_tanh(t, attn_tape_add(t, own, attn_tape_matmul(t, c, other)));
    return attn__pool_weights(t, attn_tape_matmul(t, h, u), mask);
}

static void parallel_coattention_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0};
    const attn_var x = attn__mask_rows(t, in[X], in[X_MASK]);
    const attn_var y = attn__mask_rows(t, in[Y], in[MASK]);
    const attn_var c = parallel_affinity(t, x, y, in[W_B]);
    const attn_var h_x = attn_tape_linear(t, x, in[W_X], none, ATTN_ACT_NONE);
    const attn_var h_y = attn_tape_linear(t, y, in[W_Y], none, ATTN_ACT_NONE);
    b->out[X_WEIGHTS] = parallel_weights(t, h_x, c, h_y, in[U_X], in[X_MASK]);
    b->out[WEIGHTS] =
        parallel_weights(t, h_y, attn_tape_transpose(t, c, 1, 2), h_x, in[U_Y], in[MASK]);
    b->out[OUT] = attn__pool(t, b->out[X_WEIGHTS], x);
    b->out[OUT_Y] = attn__pool(t, b->out[WEIGHTS], y);
}

const attn_mech attn__mech_parallel_coattention = {
    .name = "parallel_coattention",
    .family = "feature",
    .about = "two sequences pooled at once through the affinity of every pair",
    .formula = "out = softmax(u_x.tanh(w_x x + c w_y y)) x,  c = tanh(x w_b y^T),  same for y",
    .cost = "n^2: time T S (D + 2 A), memory T S",
    .source = "1606.00061",
    .sizes = "B=1,T=5,S=6,D=4,N=3,A=4",
    .grows = "TS",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_BATCH_FREE,
    .build = parallel_coattention_build,
};
