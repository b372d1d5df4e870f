/* SPDX-License-Identifier: MIT
 * Squeeze and excitation: gate each channel by what the whole picture says about it.
 *
 *     z = mean over Y X of x;  s = sigmoid(w2 relu(w1 z + b1) + b2);  out = s x
 *
 * x B C Y X; R is C over the reduction, usually 16. The biases may be left out. Zero weights
 * give gates of 1/2. Hu et al. 2018 (1709.01507). */
#include "mech/mech.h"

enum { X, W1, B1, W2, B2, OUT, GATE };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B C Y X", "a picture"},
    [W1] = {"w1", ATTN_PARAM | ATTN_GRAD, "R C", "squeezes"},
    [B1] = {"b1", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "R", "its bias"},
    [W2] = {"w2", ATTN_PARAM | ATTN_GRAD, "C R", "excites"},
    [B2] = {"b2", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "C", "its bias"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B C Y X", "the picture, gated"},
    [GATE] = {"gate", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B C", "the gates, 0 to 1"},
    {0}};

static void squeeze_excite_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in;
    const attn_var z = attn__picture_mean(t, in[X], ATTN_DIMS(2, 3));
    const attn_var h = attn_tape_linear(t, z, in[W1], in[B1], ATTN_ACT_RELU);
    const attn_var s = attn_tape_linear(t, h, in[W2], in[B2], ATTN_ACT_SIGMOID);
    b->out[GATE] = s;
    b->out[OUT] =
        attn_tape_mul(t, in[X], attn_tape_unsqueeze(t, attn_tape_unsqueeze(t, s, 2), 3));
}

const attn_mech attn__mech_squeeze_excite = {
    .name = "squeeze_excite",
    .family = "channel",
    .about = "gates each channel by the mean of all",
    .formula = "out = x sigmoid(w2 relu(w1 mean(x) + b1) + b2)",
    .cost = "n: time C Y X, memory C",
    .source = "1709.01507",
    .sizes = "B=1,C=4,R=2,Y=3,X=5",
    .grows = "YX",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN_BATCH_FREE | ATTN_STREAMS,
    .build = squeeze_excite_build,
};
