/* SPDX-License-Identifier: MIT
 * CBAM's channel attention: squeeze and excitation that also looks at maxima.
 *
 *     f(z) = w2 relu(w1 z + b1) + b2
 *     gate = sigmoid(f(mean over Y X of x) + f(max over Y X of x));   out = x gate
 *
 * x B C Y X; both descriptions go through the same f, whose output bias therefore counts twice.
 * The published code has both biases, others have none: leave them out. The gradient of a
 * maximum goes to the first place that has it. Zero weights give gates of 1/2, which halve the
 * signal: start b2 above 0 when it joins a trained net. Woo et al. 2018 (1807.06521). */
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

static void cbam_channel_build(const attn__build *b)
{
    const attn_var *in = b->in;
    const attn__gate_layers layers = {in[W1], in[B1], in[W2], in[B2]};
    b->out[GATE] = attn__cbam_channels(b->t, in[X], &layers);
    b->out[OUT] = attn__gate_channels(b->t, in[X], b->out[GATE]);
}

const attn_mech attn__mech_cbam_channel = {
    .name = "cbam_channel",
    .family = "channel",
    .about = "gates each channel by the mean and the maximum of all",
    .formula = "out = x sigmoid(f(mean x) + f(max x)), f(z) = w2 relu(w1 z + b1) + b2",
    .cost = "n: time C Y X, memory C Y X",
    .source = "1807.06521",
    .sizes = "B=1,C=4,R=2,Y=3,X=5",
    .grows = "YX",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN_BATCH_FREE | ATTN_STREAMS,
    .build = cbam_channel_build,
};
