/* SPDX-License-Identifier: MIT
 * Alternating co-attention: summarise one sequence, let the summary look at the other, let what
 * it found look back.
 *
 *     att(z; g) = sum_i softmax_i(u.tanh(w z_i + v g)) z_i
 *     s = att(x; 0)      summary of the question alone: w_s, u_s
 *     out_y = att(y; s)                                 w_y, v_y, u_y
 *     out = att(x; out_y)                               w_x, v_x, u_x
 *
 * x B T D is the question, y B S N what it is about (regions of a picture). Each step has its
 * own weights; A is the width of the hidden layer. Coarse-grained: n scores in each step, never
 * n^2. Lu et al. 2016 (1606.00061). */
#include "mech/mech.h"

enum { X, Y, W_S, U_S, W_Y, V_Y, U_Y, W_X, V_X, U_X, MASK, X_MASK, OUT, OUT_Y, WEIGHTS, X_W };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T D", "the question"},
    [Y] = {"y", ATTN_IN | ATTN_GRAD, "B S N", "what it is about"},
    [W_S] = {"w_s", ATTN_PARAM | ATTN_GRAD, "A D", "summary: of x"},
    [U_S] = {"u_s", ATTN_PARAM | ATTN_GRAD, "A", "summary: to a score"},
    [W_Y] = {"w_y", ATTN_PARAM | ATTN_GRAD, "A N", "second step: of y"},
    [V_Y] = {"v_y", ATTN_PARAM | ATTN_GRAD, "A D", "second step: of the summary"},
    [U_Y] = {"u_y", ATTN_PARAM | ATTN_GRAD, "A", "second step: to a score"},
    [W_X] = {"w_x", ATTN_PARAM | ATTN_GRAD, "A D", "third step: of x"},
    [V_X] = {"v_x", ATTN_PARAM | ATTN_GRAD, "A N", "third step: of what y gave"},
    [U_X] = {"u_x", ATTN_PARAM | ATTN_GRAD, "A", "third step: to a score"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a row of y"},
    [X_MASK] = {"x_mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "and one of x"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B D", "x, seen from y"},
    [OUT_Y] = {"out_y", ATTN_OUT | ATTN_OPTIONAL | ATTN_GRAD, "B N", "y, seen from x"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL | ATTN_GRAD, "B S", "of y"},
    [X_W] = {"x_weights", ATTN_OUT | ATTN_OPTIONAL | ATTN_GRAD, "B T", "of x, third step"},
    {0}};

/* The three slots of a step: w, v (-1: nothing guides it) and u. */
typedef struct alternating_step {
    int w, v, u, mask;
} alternating_step;

static attn_var alternating_weights(const attn__build *b, alternating_step step, attn_var rows,
                                    attn_var guide)
{
    const attn_var *in = b->in, none = {0};
    const attn_var g =
        step.v < 0 ? none : attn_tape_linear(b->t, guide, in[step.v], none, ATTN_ACT_NONE);
    const attn_var scores = attn__score_additive(b->t, rows, in[step.w], none, g, in[step.u]);
    return attn__pool_weights(b->t, scores, in[step.mask]);
}

static void alternating_coattention_build(const attn__build *b)
{
    static const alternating_step first = {W_S, -1, U_S, X_MASK},
                                  second = {W_Y, V_Y, U_Y, MASK},
                                  third = {W_X, V_X, U_X, X_MASK};
    attn_tape *t = b->t;
    const attn_var none = {0}, x = attn__mask_rows(t, b->in[X], b->in[X_MASK]);
    const attn_var y = attn__mask_rows(t, b->in[Y], b->in[MASK]);
    const attn_var s = attn__pool(t, alternating_weights(b, first, x, none), x);
    b->out[WEIGHTS] = alternating_weights(b, second, y, s);
    b->out[OUT_Y] = attn__pool(t, b->out[WEIGHTS], y);
    b->out[X_W] = alternating_weights(b, third, x, b->out[OUT_Y]);
    b->out[OUT] = attn__pool(t, b->out[X_W], x);
}

const attn_mech attn__mech_alternating_coattention = {
    .name = "alternating_coattention",
    .family = "feature",
    .about = "question, then picture, then question again, each pooled by the last",
    .formula = "out = att(x; att(y; att(x; 0))),  att(z; g) = softmax(u.tanh(w z + v g)) z",
    .cost = "n: time (2 T D + S N) A, memory (T + S) A",
    .source = "1606.00061",
    .sizes = "B=1,T=5,S=6,D=4,N=3,A=4",
    .grows = "TS",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_BATCH_FREE | ATTN_STREAMS,
    .build = alternating_coattention_build,
};
