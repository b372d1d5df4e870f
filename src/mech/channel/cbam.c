/* SPDX-License-Identifier: MIT
 * CBAM, the convolutional block attention module: which channel, then where.
 *
 *     x' = x sigmoid(f(mean over Y X of x) + f(max over Y X of x))           of channels, B C
 *     out = x' sigmoid(gamma norm(conv([max_c x'; mean_c x'])) + beta)       of places, B 1 Y X
 *
 * f(z) = w2 relu(w1 z + b1) + b2; w_map 2 K L. The second gate looks at what the first has
 * left, so the order matters; order=spatial_first turns it round. In a residual net it stands
 * on the branch, before the sum. A series is a picture with Y = K = 1. The two halves alone are
 * cbam_channel and cbam_spatial, which tell about biases, norms and zero weights.
 * Woo et al. 2018 (1807.06521). */
#include "mech/mech.h"

enum { X, W1, B1, W2, B2, W_MAP, GAMMA, BETA, OUT, GATE_C, GATE_S };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B C Y X", "a picture"},
    [W1] = {"w1", ATTN_PARAM | ATTN_GRAD, "R C", "channels: squeezes"},
    [B1] = {"b1", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "R", "its bias"},
    [W2] = {"w2", ATTN_PARAM | ATTN_GRAD, "C R", "channels: excites"},
    [B2] = {"b2", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "C", "its bias"},
    [W_MAP] = {"w_map", ATTN_PARAM | ATTN_GRAD, "2 K L", "places: over maximum and mean"},
    [GAMMA] = {"gamma", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "1", "factor of the map"},
    [BETA] = {"beta", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "1", "added to the map"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B C Y X", "the picture, gated twice"},
    [GATE_C] = {"gate_channel", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B C", "of channels"},
    [GATE_S] = {"gate_spatial", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B 1 Y X", "of places"},
    {0}};

enum { ORDER, BATCH_NORM, EPS };
static const attn_param params[] = {
    [ORDER] = {"order", 'e', "channel_first", "channel_first|spatial_first",
               "which gate comes first"},
    [BATCH_NORM] = {"batch_norm", 'b', "false", NULL, "normalise the map over the batch"},
    [EPS] = {"eps", 'f', "1e-5", NULL, "added to its variance"},
    {0}};

static attn_var cbam_channels(const attn__build *b, attn_var x)
{
    const attn_var *in = b->in;
    const attn__gate_layers layers = {in[W1], in[B1], in[W2], in[B2]};
    b->out[GATE_C] = attn__cbam_channels(b->t, x, &layers);
    return attn__gate_channels(b->t, x, b->out[GATE_C]);
}

static attn_var cbam_places(const attn__build *b, attn_var x)
{
    const attn_var *in = b->in;
    const attn__gate_map map = {.w = in[W_MAP],
                                .gamma = in[GAMMA],
                                .beta = in[BETA],
                                .batch_norm = b->params[BATCH_NORM].i,
                                .eps = b->params[EPS].f};
    b->out[GATE_S] = attn__cbam_places(b->t, x, &map);
    return attn_tape_mul(b->t, x, b->out[GATE_S]);
}

static void cbam_build(const attn__build *b)
{
    const bool spatial_first = b->params[ORDER].i;
    b->out[OUT] = spatial_first ? cbam_channels(b, cbam_places(b, b->in[X]))
                                : cbam_places(b, cbam_channels(b, b->in[X]));
}

const attn_mech attn__mech_cbam = {
    .name = "cbam",
    .family = "channel",
    .about = "gates channels, then places",
    .formula =
        "x' = x sigmoid(f(mean x) + f(max x)); out = x' sigmoid(conv([max_c x'; mean_c x']))",
    .cost = "n: time (C + K L) Y X, memory C Y X",
    .source = "1807.06521",
    .sizes = "B=1,C=4,R=2,Y=4,X=5,K=7,L=7",
    .grows = "YX",
    .slots = slots,
    .params = params,
    .traits = ATTN_STREAMS,
    .build = cbam_build,
};
