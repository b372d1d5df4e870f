/* SPDX-License-Identifier: MIT
 * Audio-guided visual attention: a sound decides which cells of a picture count.
 *
 *     v_j = relu(u_v y_j),  a = relu(u_a x)
 *     weights = softmax_j( w . tanh(w_v v_j + w_a a) )
 *     out = sum_j weights_j y_j
 *
 * x B M is the sound of one segment, y B S E the cells of its picture (7 x 7, row by row). What
 * is pooled are the cells as they came, not their projections. Segments of a video are entries
 * of the batch. A picture of equal cells gives equal weights. mask hides cells; with all hidden
 * out is 0. Tian et al. 2018 (1803.08842). */
#include "mech/mech.h"

enum { X, Y, U_V, U_A, W_V, W_A, W, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B M", "the sound"},
    [Y] = {"y", ATTN_IN | ATTN_GRAD, "B S E", "cells of the picture"},
    [U_V] = {"u_v", ATTN_PARAM | ATTN_GRAD, "P E", "cells, before relu"},
    [U_A] = {"u_a", ATTN_PARAM | ATTN_GRAD, "P M", "the sound, before relu"},
    [W_V] = {"w_v", ATTN_PARAM | ATTN_GRAD, "A P", "cells in the score"},
    [W_A] = {"w_a", ATTN_PARAM | ATTN_GRAD, "A P", "the sound in the score"},
    [W] = {"w", ATTN_PARAM | ATTN_GRAD, "A", "score of their sum"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a cell"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B E", "the picture as it sounds"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B S", "cells that sound"},
    {0}};

static void audio_guided_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0};
    const attn_var y = attn__mask_rows(t, in[Y], in[MASK]);
    const attn_var v = attn_tape_linear(t, y, in[U_V], none, ATTN_ACT_RELU);
    const attn_var a =
        attn_tape_linear(t, attn_tape_unsqueeze(t, in[X], 1), in[U_A], none, ATTN_ACT_RELU);
    const attn_var z =
        attn_tape_additive_scores(t, attn_tape_linear(t, a, in[W_A], none, ATTN_ACT_NONE),
                                  attn_tape_linear(t, v, in[W_V], none, ATTN_ACT_NONE), in[W]);
    b->out[WEIGHTS] = attn__pool_weights(t, attn_tape_squeeze(t, z, 1), in[MASK]);
    b->out[OUT] = attn__pool(t, b->out[WEIGHTS], y);
}

const attn_mech attn__mech_audio_guided = {
    .name = "audio_guided",
    .family = "task",
    .about = "a sound decides which cells of a picture count",
    .formula =
        "weights = softmax(w . tanh(w_v relu(u_v y) + w_a relu(u_a x))), out = weights y",
    .cost = "n: time S (E P + P A), memory S (P + A)",
    .source = "1803.08842",
    .sizes = "B=1,M=4,S=9,E=5,P=4,A=3",
    .grows = "S",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = audio_guided_build,
};
