/* SPDX-License-Identifier: MIT
 * Pixel attention: every number of a picture has a gate of its own, found from its own pixel.
 *
 *     gate = sigmoid(w x + b) at every pixel;  out = x gate
 *
 * x B C Y X; w C C is a 1 x 1 convolution. Nothing is pooled, so pixels do not know of each
 * other. Zero weights give gates of 1/2. Zhao et al. 2020 (2010.01073), used by 2104.09497. */
#include "mech/mech.h"

enum { X, W, BIAS, OUT, GATE };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B C Y X", "a picture"},
    [W] = {"w", ATTN_PARAM | ATTN_GRAD, "C C", "from the channels of a pixel to its gates"},
    [BIAS] = {"b", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "C", "its bias"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B C Y X", "the picture, gated"},
    [GATE] = {"gate", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B C Y X", "the gates, 0 to 1"},
    {0}};

static void pixel_attention_build(const attn__build *b)
{
    const attn_var *in = b->in;
    b->out[GATE] = attn_tape_sigmoid(b->t, attn__conv_1x1(b->t, in[X], in[W], in[BIAS]));
    b->out[OUT] = attn_tape_mul(b->t, in[X], b->out[GATE]);
}

const attn_mech attn__mech_pixel_attention = {
    .name = "pixel_attention",
    .family = "spatial",
    .about = "gates every number of a picture by its own pixel",
    .formula = "out = x sigmoid(w x + b)",
    .cost = "n: time C C Y X, memory C Y X",
    .source = "2010.01073",
    .sizes = "B=1,C=4,Y=3,X=5",
    .grows = "YX",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN_BATCH_FREE | ATTN_STREAMS,
    .build = pixel_attention_build,
};
