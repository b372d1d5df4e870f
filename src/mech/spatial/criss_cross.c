/* SPDX-License-Identifier: MIT
 * Criss-cross attention: a place attends to its row and its column, and after a second round to
 * everything.
 *
 *     q = w_q x, k = w_k x, v = w_v x  at every pixel
 *     y_i = x_i + gamma sum over j in the cross of i of softmax_j(q_i . k_j) v_j
 *
 * x B C Y X; the cross has Y + X - 1 places, its middle counted once (along the row), and one
 * softmax goes over all of them: rows and columns run through the engine by themselves and are
 * joined by their sums of exponentials. mask hides places from all. No 1/sqrt, as published.
 * rounds repeats the step with the same weights; two reach every pair of places. gamma starts
 * at 0, so a new block is the identity; left out, y is what was gathered alone. Huang et al.
 * 2019 (1811.11721). */
#include "mech/mech.h"

#include <math.h>

enum { X, W_Q, B_Q, W_K, B_K, W_V, B_V, GAMMA, MASK, OUT };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B C Y X", "a picture"},
    [W_Q] = {"w_q", ATTN_PARAM | ATTN_GRAD, "R C", "queries"},
    [B_Q] = {"b_q", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "R", "its bias"},
    [W_K] = {"w_k", ATTN_PARAM | ATTN_GRAD, "R C", "keys"},
    [B_K] = {"b_k", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "R", "its bias"},
    [W_V] = {"w_v", ATTN_PARAM | ATTN_GRAD, "C C", "values"},
    [B_V] = {"b_v", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "C", "its bias"},
    [GAMMA] = {"gamma", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "1", "how much is added"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B Y X", "false hides a place"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B C Y X", "x and what was gathered"},
    {0}};

enum { ROUNDS };
static const attn_param params[] = {[ROUNDS] = {"rounds", 'i', "2", NULL, "how often, 1 to 64"},
                                    {0}};

/* n n: -inf where a column would see its own place again. */
static double criss_cross_other(const void *n, int64_t i)
{
    return i % (*(const int64_t *)n + 1) ? 0 : -(double)INFINITY;
}

/* One softmax along the lines of a picture; *lse B 1 Y X. */
static attn_var criss_cross_line(const attn__build *b, const attn_var *qkv, bool along_x,
                                 attn_var *lse)
{
    attn_tape *t = b->t;
    const attn_spec spec = ATTN_SPEC(.scale = 1);
    attn_attention_vars vars = {.q = attn__lines(t, qkv[0], along_x),
                                .k = attn__lines(t, qkv[1], along_x),
                                .v = attn__lines(t, qkv[2], along_x)};
    const attn_var mask = attn__flag_lines(t, b->in[MASK], along_x); /* lines, places */
    if (attn__given(mask))
        vars.mask = attn_tape_unsqueeze(t, attn_tape_unsqueeze(t, mask, 1), 1);
    const int64_t n = attn__build_size(b, 'Y');
    if (!along_x) vars.bias = attn__table(t, ATTN_DIMS(n, n), criss_cross_other, &n);
    const attn_var o = attn_tape_attention(t, &spec, &vars, NULL, lse);
    *lse = attn__lines_back(t, attn_tape_unsqueeze(t, *lse, 2), b->in[X], along_x);
    return attn__lines_back(t, o, b->in[X], along_x);
}

static attn_var criss_cross_round(const attn__build *b, attn_var x)
{
    attn_tape *t = b->t;
    attn_var qkv[3], row_lse, column_lse;
    for (int i = 0; i < 3; i++)
        qkv[i] = attn__conv_1x1(t, x, b->in[W_Q + 2 * i], b->in[B_Q + 2 * i]);
    const attn_var row = criss_cross_line(b, qkv, true, &row_lse);
    const attn_var column = criss_cross_line(b, qkv, false, &column_lse);
    const attn_var none = attn_tape_scalar(t, -1e30); /* -inf less -inf would be no number */
    const attn_var by_row = attn_tape_sub(t, attn_tape_maximum(t, row_lse, none),
                                          attn_tape_maximum(t, column_lse, none));
    const attn_var y =
        attn_tape_add(t, attn_tape_mul(t, row, attn_tape_sigmoid(t, by_row)),
                      attn_tape_mul(t, column, attn_tape_sigmoid(t, attn_tape_neg(t, by_row))));
    if (!attn__given(b->in[GAMMA])) return y;
    return attn_tape_add(t, attn_tape_mul(t, y, b->in[GAMMA]), x);
}

static void criss_cross_build(const attn__build *b)
{
    const int64_t rounds = b->params[ROUNDS].i;
    if (!attn__build_need(b, rounds >= 1 && rounds <= 64, ATTN_E_PARAM, "rounds",
                          "must be 1 to 64", 2, rounds))
        return;
    b->out[OUT] = b->in[X];
    for (int64_t r = 0; r < rounds; r++) b->out[OUT] = criss_cross_round(b, b->out[OUT]);
}

const attn_mech attn__mech_criss_cross = {
    .name = "criss_cross",
    .family = "spatial",
    .about = "a place attends to its row and its column",
    .formula = "y_i = x_i + gamma sum_{j in cross of i} softmax_j(q_i k_j) v_j",
    .cost = "n sqrt n: time Y X (Y + X) (R + C), memory Y X (R + C)",
    .source = "1811.11721",
    .sizes = "B=1,C=3,R=2,Y=3,X=4",
    .grows = "YX",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_STREAMS,
    .build = criss_cross_build,
};
