/* SPDX-License-Identifier: MIT
 * Dynamic convolution: attention within a window whose weights come from the query alone.
 *
 *     w_i = softmax over k of W x_i + b,   a K for each of H heads
 *     out_i,c = sum_k w_i,h(c),k x_{i + k - K/2},c        k = 0 .. K-1, K/2 rounded down
 *
 * x B T C; W is N x C with N = H K, head after head; the channels of a head share its weights.
 * causal=true takes the window that ends at i. Beyond the ends there are zeros, which are part
 * of the window, so the first and last places get less; renormalise=true leaves them out of the
 * softmax. mask B T: hidden places count as zeros too. In the paper a gated linear unit comes
 * before and a linear layer after it. Zero W is a mean over the window; K = 1 is the identity.
 * Its twin with weights that do not depend on x is lightweight_conv. Wu et al. 2019
 * (1901.10430). */
#include "mech/mech.h"

enum { X, W, BIAS, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T C", "a sequence"},
    [W] = {"w", ATTN_PARAM | ATTN_GRAD, "N C", "from a place to its weights, N = heads K"},
    [BIAS] = {"b", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "N", "its bias"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "false hides a place"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T C", "sums over windows"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B T N",
                 "of the taps, head after head"},
    {0}};

enum { HEADS, CAUSAL, RENORMALISE };
static const attn_param params[] = {
    [HEADS] = {"heads", 'i', "2", NULL, "they share the channels and the rows of w evenly"},
    [CAUSAL] = {"causal", 'b', "false", NULL, "the window ends at its place"},
    [RENORMALISE] = {"renormalise", 'b', "false", NULL, "weights beyond the ends are 0"},
    {0}};

static void dynamic_conv_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in;
    const int64_t heads = b->params[HEADS].i, N = attn__build_size(b, 'N');
    const int64_t B = attn__build_size(b, 'B'), T = attn__build_size(b, 'T');
    if (!attn__build_need(b, heads > 0 && N % heads == 0, ATTN_E_HEADS, "heads",
                          "the rows of w must divide among the heads", heads, N))
        return;
    attn_var weights = {0};
    const attn_var scores = attn_tape_linear(t, in[X], in[W], in[BIAS], ATTN_ACT_NONE);
    const attn__window window = {
        .scores = attn_tape_reshape(t, scores, ATTN_DIMS(B, T, heads, N / heads)),
        .mask = in[MASK],
        .causal = b->params[CAUSAL].i,
        .renormalise = b->params[RENORMALISE].i};
    b->out[OUT] = attn__window_attend(t, in[X], &window, &weights);
    b->out[WEIGHTS] = attn_tape_reshape(t, weights, ATTN_DIMS(B, T, N));
}

const attn_mech attn__mech_dynamic_conv = {
    .name = "dynamic_conv",
    .family = "spatial",
    .about = "a window whose weights come from the query alone",
    .formula = "out_i = sum_k softmax_k(W x_i) x_{i + k - K/2}",
    .cost = "n k: time T (C N + C K), memory T (C + N)",
    .source = "1901.10430",
    .sizes = "B=1,T=6,C=4,N=6",
    .grows = "T",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS | ATTN_CAUSAL | ATTN_STEPS,
    .build = dynamic_conv_build,
};
