/* SPDX-License-Identifier: MIT
 * Lightweight convolution: a window with learned weights that sum to 1, shared by the channels
 * of a head.
 *
 *     out_i,c = sum_k softmax_k(w_h(c))_k x_{i + k - K/2},c        k = 0 .. K-1
 *
 * K/2 is rounded down. x B T C, w H K, C / H channels a head. No place is asked anything: it is
 * what dynamic_conv is without its query, and what is said there of causal, renormalise, mask
 * and the ends holds here. Wu et al. 2019 (1901.10430). */
#include "mech/mech.h"

enum { X, W, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T C", "a sequence"},
    [W] = {"w", ATTN_PARAM | ATTN_GRAD, "H K", "scores of the taps, H divides C"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "false hides a place"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T C", "sums over windows"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B T H K", "of the taps"},
    {0}};

enum { CAUSAL, RENORMALISE };
static const attn_param params[] = {
    [CAUSAL] = {"causal", 'b', "false", NULL, "the window ends at its place"},
    [RENORMALISE] = {"renormalise", 'b', "false", NULL, "weights beyond the ends are 0"},
    {0}};

static void lightweight_conv_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const int64_t B = attn__build_size(b, 'B'), T = attn__build_size(b, 'T');
    const int64_t H = attn__build_size(b, 'H'), K = attn__build_size(b, 'K');
    attn_var weights = {0};
    const attn__window window = {.scores =
                                     attn_tape_reshape(t, b->in[W], ATTN_DIMS(1, 1, H, K)),
                                 .mask = b->in[MASK],
                                 .causal = b->params[CAUSAL].i,
                                 .renormalise = b->params[RENORMALISE].i};
    b->out[OUT] = attn__window_attend(t, b->in[X], &window, &weights);
    if (b->wanted[WEIGHTS])
        b->out[WEIGHTS] = attn_tape_expand(t, weights, ATTN_DIMS(B, T, H, K));
}

const attn_mech attn__mech_lightweight_conv = {
    .name = "lightweight_conv",
    .family = "spatial",
    .about = "a window with learned weights that sum to 1",
    .formula = "out_i = sum_k softmax_k(w) x_{i + k - K/2}",
    .cost = "n k: time T C K, memory T C",
    .source = "1901.10430",
    .sizes = "B=1,T=6,C=4,H=2,K=3",
    .grows = "T",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS | ATTN_CAUSAL | ATTN_STEPS,
    .build = lightweight_conv_build,
};
