/* SPDX-License-Identifier: MIT
 * Coordinate attention: channel gates that know the row and the column they stand in.
 *
 *     z = [mean over X of x; mean over Y of x]          B C (Y + X)
 *     h = hswish(w1 z + b1),  hswish(a) = a clamp(a + 3, 0, 6) / 6
 *     out = x sigmoid(w_y h_Y + b_y) sigmoid(w_x h_X + b_x)
 *
 * x B C Y X; rows and columns share w1 R C and then have w_y and w_x, C R. A batch norm behind
 * w1 folds into w1 and b1. Zero w_y, w_x give gates of 1/2 each. Hou et al. 2021 (2103.02907).
 */
#include "mech/mech.h"

enum { X, W1, B1, W_Y, B_Y, W_X, B_X, OUT, GATE_Y, GATE_X };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B C Y X", "a picture"},
    [W1] = {"w1", ATTN_PARAM | ATTN_GRAD, "R C", "squeezes rows and columns"},
    [B1] = {"b1", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "R", "its bias"},
    [W_Y] = {"w_y", ATTN_PARAM | ATTN_GRAD, "C R", "to the gates of rows"},
    [B_Y] = {"b_y", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "C", "its bias"},
    [W_X] = {"w_x", ATTN_PARAM | ATTN_GRAD, "C R", "to the gates of columns"},
    [B_X] = {"b_x", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "C", "its bias"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B C Y X", "the picture, gated"},
    [GATE_Y] = {"gate_y", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B C Y", "of rows"},
    [GATE_X] = {"gate_x", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B C X", "of columns"},
    {0}};

/* The gates of one axis, B C n: dim is the one that is averaged away. */
static attn_var coordinate_gate(const attn__build *b, int64_t dim, int w)
{
    attn_tape *t = b->t;
    const attn_var mean = attn__picture_mean(t, b->in[X], ATTN_DIMS(dim));
    const attn_var a = attn_tape_linear(t, attn_tape_transpose(t, mean, 1, 2), b->in[W1],
                                        b->in[B1], ATTN_ACT_NONE);
    const attn_var six = attn_tape_clamp(t, attn_tape_add_scalar(t, a, 3), 0, 6);
    const attn_var h = attn_tape_mul_scalar(t, attn_tape_mul(t, a, six), 1.0 / 6);
    const attn_var gate = attn_tape_linear(t, h, b->in[w], b->in[w + 1], ATTN_ACT_SIGMOID);
    return attn_tape_transpose(t, gate, 1, 2);
}

static void coordinate_attention_build(const attn__build *b)
{
    attn_tape *t = b->t;
    b->out[GATE_Y] = coordinate_gate(b, 3, W_Y);
    b->out[GATE_X] = coordinate_gate(b, 2, W_X);
    const attn_var rows = attn_tape_mul(t, b->in[X], attn_tape_unsqueeze(t, b->out[GATE_Y], 3));
    b->out[OUT] = attn_tape_mul(t, rows, attn_tape_unsqueeze(t, b->out[GATE_X], 2));
}

const attn_mech attn__mech_coordinate_attention = {
    .name = "coordinate_attention",
    .family = "spatial",
    .about = "gates channels by row and by column",
    .formula = "out = x sigmoid(w_y hswish(w1 mean_X x)) sigmoid(w_x hswish(w1 mean_Y x))",
    .cost = "n: time C Y X, memory C Y X",
    .source = "2103.02907",
    .sizes = "B=1,C=4,R=2,Y=3,X=5",
    .grows = "YX",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN_BATCH_FREE | ATTN_STREAMS,
    .build = coordinate_attention_build,
};
