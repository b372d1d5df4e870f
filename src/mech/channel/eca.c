/* SPDX-License-Identifier: MIT
 * Efficient channel attention: a channel's gate looks at its neighbours among the channels.
 *
 *     z = mean over Y X of x;  gate_c = sigmoid(sum_k w_k z_{c + k - (K-1)/2});  out = x gate
 *
 * x B C Y X; w K, K odd, without bias; beyond the first and the last channel there is 0. The
 * paper derives K from C: t = floor(|log2(C) / 2 + 1/2|), and t + 1 where t is even, so 16 to
 * 64 channels take 3 and 128 to 512 take 5. Any odd K serves here; rule=true insists on that
 * one. A series is a picture with Y = 1. Wang et al. 2020 (1910.03151). */
#include "mech/mech.h"

enum { X, W, OUT, GATE };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B C Y X", "a picture"},
    [W] = {"w", ATTN_PARAM | ATTN_GRAD, "K", "kernel along the channels, K odd"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B C Y X", "the picture, gated"},
    [GATE] = {"gate", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B C", "the gates, 0 to 1"},
    {0}};

enum { RULE };
static const attn_param params[] = {
    [RULE] = {"rule", 'b', "false", NULL, "insist on the K that the paper takes for C"}, {0}};

/* The paper's K for C channels. */
static int64_t eca_kernel(int64_t channels)
{
    int64_t log = 0;
    while (channels >> (log + 1) > 0) log++;
    const int64_t t = (log + 1) / 2;
    return t % 2 ? t : t + 1;
}

static void eca_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var x = b->in[X], none = {0};
    const int64_t K = attn__build_size(b, 'K'), rule = eca_kernel(attn__build_size(b, 'C'));
    if (!attn__build_need(b, !b->params[RULE].i || K == rule, ATTN_E_SHAPE, "w",
                          "its size is not the paper's for these channels", rule, K) ||
        !attn__build_need(b, K % 2 == 1, ATTN_E_SHAPE, "w", "its size must be odd", 3, K))
        return;
    const attn_conv conv = {.padding = {K / 2}};
    const attn_var kernel = attn_tape_unsqueeze(t, attn_tape_unsqueeze(t, b->in[W], 0), 0);
    attn_var z = attn_tape_unsqueeze(t, attn__picture_mean(t, x, ATTN_DIMS(2, 3)), 1);
    z = attn_tape_squeeze(t, attn_tape_conv1d(t, z, kernel, none, &conv), 1);
    b->out[GATE] = attn_tape_sigmoid(t, z);
    b->out[OUT] = attn__gate_channels(t, x, b->out[GATE]);
}

const attn_mech attn__mech_eca = {
    .name = "eca",
    .family = "channel",
    .about = "gates each channel by its neighbours among the channels",
    .formula = "out = x sigmoid(conv over channels of mean(x))",
    .cost = "n: time C (Y X + K), memory C Y X",
    .source = "1910.03151",
    .sizes = "B=1,C=6,K=3,Y=3,X=5",
    .grows = "YX",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_STREAMS,
    .build = eca_build,
};
