/* SPDX-License-Identifier: MIT
 * CBAM's spatial attention: one gate a place, from what is largest and what is usual there.
 *
 *     map = conv([max over C of x; mean over C of x]),   2 -> 1 channels, 7 x 7, no bias
 *     gate = sigmoid(gamma norm(map) + beta);   out = x gate
 *
 * x B C Y X; w 2 K L, of which channel 0 sees the maximum; K and L are odd and zeros pad the
 * picture. The published code normalises the map by a batch norm: with batch_norm=true by its
 * own mean and variance over B Y X, so that pictures of a batch know of each other; in use,
 * fold the running statistics into gamma and beta (gamma / sqrt(var + eps), beta - mean of it),
 * or leave both out for no norm at all. Zero weights do not give the identity but sigmoid(beta)
 * x. A series is a picture with Y = 1 and K = 1. Woo et al. 2018 (1807.06521). */
#include "mech/mech.h"

enum { X, W, GAMMA, BETA, OUT, GATE };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B C Y X", "a picture"},
    [W] = {"w", ATTN_PARAM | ATTN_GRAD, "2 K L", "kernel over the maximum and the mean"},
    [GAMMA] = {"gamma", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "1", "factor of the map"},
    [BETA] = {"beta", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "1", "added to the map"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B C Y X", "the picture, gated"},
    [GATE] = {"gate", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B 1 Y X", "the gates, 0 to 1"},
    {0}};

enum { BATCH_NORM, EPS };
static const attn_param params[] = {
    [BATCH_NORM] = {"batch_norm", 'b', "false", NULL, "normalise the map over the batch"},
    [EPS] = {"eps", 'f', "1e-5", NULL, "added to its variance"},
    {0}};

static void cbam_spatial_build(const attn__build *b)
{
    const attn_var *in = b->in;
    const attn__gate_map map = {.w = in[W],
                                .gamma = in[GAMMA],
                                .beta = in[BETA],
                                .batch_norm = b->params[BATCH_NORM].i,
                                .eps = b->params[EPS].f};
    b->out[GATE] = attn__cbam_places(b->t, in[X], &map);
    b->out[OUT] = attn_tape_mul(b->t, in[X], b->out[GATE]);
}

const attn_mech attn__mech_cbam_spatial = {
    .name = "cbam_spatial",
    .family = "spatial",
    .about = "gates every place by the maximum and mean of its channels",
    .formula = "out = x sigmoid(conv([max_c x; mean_c x]))",
    .cost = "n: time (C + K L) Y X, memory C Y X",
    .source = "1807.06521",
    .sizes = "B=1,C=4,Y=5,X=6,K=7,L=7",
    .grows = "YX",
    .slots = slots,
    .params = params,
    .traits = ATTN_STREAMS,
    .build = cbam_spatial_build,
};
