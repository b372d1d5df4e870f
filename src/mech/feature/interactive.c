/* SPDX-License-Identifier: MIT
 * Interactive attention: two sequences, each weighed by what it has to do with the mean of the
 * other.
 *
 *     out = [sum_i a_i x_i; sum_j c_j y_j]
 *     a = softmax_i(tanh(x_i.(w_x mean(y)) + b_x))
 *     c = softmax_j(tanh(y_j.(w_y mean(x)) + b_y))
 *
 * x B T D is the sentence and y B S D the aspect it is asked about, both after their encoders.
 * Means are over the rows that the masks allow, not over the padded length. tanh bounds the
 * scores, so no weight is more than e^2 times another. Coarse-grained: n scores each way, never
 * n^2. Ma et al. 2017 (1709.00893). */
#include "mech/mech.h"

enum { X, Y, W_X, B_X, W_Y, B_Y, MASK, X_MASK, OUT, WEIGHTS, X_WEIGHTS };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T D", "the sentence"},
    [Y] = {"y", ATTN_IN | ATTN_GRAD, "B S D", "the aspect"},
    [W_X] = {"w_x", ATTN_PARAM | ATTN_GRAD, "D D", "between x and the mean of y"},
    [B_X] = {"b_x", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "1", "added to every score of x"},
    [W_Y] = {"w_y", ATTN_PARAM | ATTN_GRAD, "D D", "between y and the mean of x"},
    [B_Y] = {"b_y", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "1", "added to every score of y"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a row of y"},
    [X_MASK] = {"x_mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "and one of x"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B 2D", "the sentence, then the aspect"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL | ATTN_GRAD, "B S", "of y"},
    [X_WEIGHTS] = {"x_weights", ATTN_OUT | ATTN_OPTIONAL | ATTN_GRAD, "B T", "of x"},
    {0}};

static void interactive_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in;
    const attn_var x = attn__mask_rows(t, in[X], in[X_MASK]);
    const attn_var y = attn__mask_rows(t, in[Y], in[MASK]);
    const attn_var x_mean = attn__pool_mean(t, x, in[X_MASK]);
    const attn_var y_mean = attn__pool_mean(t, y, in[MASK]);
    const attn_var of_x = attn__score_activated(t, x, in[W_X], in[B_X], y_mean);
    const attn_var of_y = attn__score_activated(t, y, in[W_Y], in[B_Y], x_mean);
    b->out[X_WEIGHTS] = attn__pool_weights(t, of_x, in[X_MASK]);
    b->out[WEIGHTS] = attn__pool_weights(t, of_y, in[MASK]);
    const attn_var part[] = {attn__pool(t, b->out[X_WEIGHTS], x),
                             attn__pool(t, b->out[WEIGHTS], y)};
    b->out[OUT] = attn_tape_concat(t, 2, part, 1);
}

const attn_mech attn__mech_interactive = {
    .name = "interactive",
    .family = "feature",
    .about = "two sequences, each pooled by the mean of the other (IAN)",
    .formula =
        "out = [softmax(tanh(x w_x mean(y) + b_x)) x; softmax(tanh(y w_y mean(x) + b_y)) y]",
    .cost = "n: time (T + S) D + D^2, memory T + S",
    .source = "1709.00893",
    .sizes = "B=1,T=6,S=3,D=4",
    .grows = "TS",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_BATCH_FREE | ATTN_STREAMS,
    .build = interactive_build,
};
