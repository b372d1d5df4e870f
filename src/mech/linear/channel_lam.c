/* SPDX-License-Identifier: MIT
 * Channels that attend to channels with the weights 1 + x^.x^: the sister of lam, turned on its
 * side.
 *
 *     w_cd = 1 + x^_c . x^_d,  x^_c = x_c / |x_c| over the places of channel c
 *     o_c = sum_d w_cd x_d / sum_d w_cd;  out = x + gamma o  (o itself without gamma)
 *
 * x B C Y X. The published code divides by the number of places in place of C and takes lengths
 * across channels; then weights do not sum to 1 and may be negative. This is what the formula
 * says: C terms, rows of length 1. A channel of zeros has weight 1 with every other. The matrix
 * of weights is C x C. Li et al. 2020 (2007.14902). */
#include "mech/mech.h"

enum { X, GAMMA, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B C Y X", "a picture"},
    [GAMMA] = {"gamma", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "1",
               "how much is added to it; 0 at the start of training"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B C Y X",
             "the picture with what its channels share"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B C C", "rows sum to 1"},
    {0}};

static void channel_lam_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const int64_t B = attn__build_size(b, 'B'), C = attn__build_size(b, 'C');
    const int64_t Y = attn__build_size(b, 'Y'), N = attn__build_size(b, 'X');
    const attn_var x = attn_tape_reshape(t, b->in[X], ATTN_DIMS(B, C, Y * N));
    const attn_var unit = attn__unit(t, x, -1);
    const attn_var near = attn_tape_add_scalar(
        t, attn_tape_matmul(t, unit, attn_tape_transpose(t, unit, 1, 2)), 1);
    const attn_var w = attn_tape_div(t, near, attn_tape_sum(t, near, ATTN_DIMS(2), true));
    const attn_var o = attn_tape_reshape(t, attn_tape_matmul(t, w, x), ATTN_DIMS(B, C, Y, N));
    b->out[WEIGHTS] = w;
    b->out[OUT] = attn__given(b->in[GAMMA])
                      ? attn_tape_add(t, b->in[X], attn_tape_mul(t, o, b->in[GAMMA]))
                      : o;
}

const attn_mech attn__mech_channel_lam = {
    .name = "channel_lam",
    .family = "linear",
    .about = "lam over the channels of a picture",
    .formula = "out = x + gamma w x,  w_cd = (1 + x^_c.x^_d) / sum_d (1 + x^_c.x^_d)",
    .cost = "n: time C^2 Y X, memory C^2",
    .source = "2007.14902",
    .sizes = "B=1,C=4,Y=3,X=5",
    .grows = "YX",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN_BATCH_FREE | ATTN_STREAMS,
    .build = channel_lam_build,
};
