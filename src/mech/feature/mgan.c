/* SPDX-License-Identifier: MIT
 * Multi-grained attention: a sentence and an aspect pooled by each other's mean (coarse) and by
 * their best single match (fine).
 *
 *     s_ij = w_u.[x_i; y_j; x_i y_j],   x scaled by `location` first
 *     coarse of x: softmax_i(x_i.(w_x mean(y)))     fine of x: softmax_i(max_j s_ij)
 *     coarse of y: softmax_j(y_j.(w_y mean(x)))     fine of y: softmax_j(max_i s_ij)
 *     out = [coarse x; fine x; fine y; coarse y]
 *
 * x B T D is the sentence, y B S D the aspect, after their encoders. location B T holds a
 * factor of each word, in the paper 1 - distance / (n - words of the aspect); without it all
 * are 1. Means, maxima and softmaxes leave out what the masks hide (a public implementation has
 * no mask). Maxima: ties go to the lowest index; the scores are not stored. The paper's loss on
 * the alignment of several aspects is no part of this. Fan et al. 2018 (EMNLP D18-1380). */
#include "mech/mech.h"

enum { X, Y, W_U, W_X, W_Y, LOCATION, MASK, X_MASK, OUT };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T D", "the sentence"},
    [Y] = {"y", ATTN_IN | ATTN_GRAD, "B S D", "the aspect"},
    [W_U] = {"w_u", ATTN_PARAM | ATTN_GRAD, "3D", "of x, of y and of their product"},
    [W_X] = {"w_x", ATTN_PARAM | ATTN_GRAD, "D D", "between x and the mean of y"},
    [W_Y] = {"w_y", ATTN_PARAM | ATTN_GRAD, "D D", "between y and the mean of x"},
    [LOCATION] = {"location", ATTN_IN | ATTN_OPTIONAL | ATTN_GRAD, "B T",
                  "factor of each word of x"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a row of y"},
    [X_MASK] = {"x_mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "and one of x"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B 4D", "coarse x; fine x; fine y; coarse y"},
    {0}};

/* Rows weighed by their score against the mean of the others. */
static attn_var mgan_coarse(attn_tape *t, attn__sequence own, attn_var w, attn__sequence other)
{
    const attn_var mean = attn__pool_mean(t, other.rows, other.mask);
    const attn_var scores = attn__score_general(t, own.rows, w, mean);
    return attn__pool(t, attn__pool_weights(t, scores, own.mask), own.rows);
}

/* Rows weighed by their best match among the others. swap: own is y. */
static attn_var mgan_fine(attn_tape *t, attn__sequence own, attn_var w, attn__sequence other,
                          bool swap)
{
    const attn__trilinear s = attn__trilinear_of(t, own.rows, w, swap);
    const attn_var top =
        attn_tape_add(t, attn__score_max(t, s.row, other.rows, other.mask), s.own);
    return attn__pool(t, attn__pool_weights(t, top, own.mask), own.rows);
}

static void mgan_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in;
    attn__sequence x = attn__sequence_of(b, X, X_MASK);
    const attn__sequence y = attn__sequence_of(b, Y, MASK);
    if (attn__given(in[LOCATION]))
        x.rows = attn_tape_mul(t, x.rows, attn_tape_unsqueeze(t, in[LOCATION], 2));
    x.rows = attn__mask_rows(t, x.rows, x.mask);
    const attn_var part[] = {mgan_coarse(t, x, in[W_X], y), mgan_fine(t, x, in[W_U], y, false),
                             mgan_fine(t, y, in[W_U], x, true), mgan_coarse(t, y, in[W_Y], x)};
    b->out[OUT] = attn_tape_concat(t, 4, part, 1);
}

const attn_mech attn__mech_mgan = {
    .name = "mgan",
    .family = "feature",
    .about = "multi-grained attention: by means and by best matches, both ways",
    .formula = "out = [softmax(x w_x mean(y)) x; softmax(max_j s) x; softmax(max_i s) y; "
               "softmax(y w_y mean(x)) y]",
    .cost = "n^2: time 2 T S D, memory (T + S) D",
    .source = "D18-1380",
    .sizes = "B=1,T=6,S=3,D=4",
    .grows = "TS",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_BATCH_FREE | ATTN_STREAMS,
    .build = mgan_build,
};
