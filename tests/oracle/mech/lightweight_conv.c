/* SPDX-License-Identifier: MIT
 * Lightweight convolution: every number as a sum over the whole sequence. */
#include "gallery_case.h"

static double lightweight_seen(gallery_call *c, int64_t b, int64_t j)
{
    const double *mask = gallery_at(c, "mask");
    return !mask || mask[b * gallery_size(c, 'T') + j] != 0;
}

/* The tap by which place i sees place j; may lie outside the window. */
static int64_t lightweight_tap(gallery_call *c, int64_t i, int64_t j)
{
    const int64_t K = gallery_size(c, 'K');
    return j - i + (gallery_i(c, "causal") ? K - 1 : K / 2);
}

static double lightweight_sum(gallery_call *c, int64_t b, int64_t i, const double *w)
{
    const int64_t T = gallery_size(c, 'T'), K = gallery_size(c, 'K');
    double sum = 0;
    for (int64_t k = 0; k < K && !gallery_i(c, "renormalise"); k++) sum += exp(w[k]);
    for (int64_t j = 0; j < T && gallery_i(c, "renormalise"); j++) {
        const int64_t k = lightweight_tap(c, i, j);
        if (k >= 0 && k < K && lightweight_seen(c, b, j) != 0) sum += exp(w[k]);
    }
    return sum;
}

static void lightweight_place(gallery_call *c, int64_t b, int64_t i, int64_t h)
{
    const int64_t T = gallery_size(c, 'T'), C = gallery_size(c, 'C'), H = gallery_size(c, 'H');
    const int64_t K = gallery_size(c, 'K'), each = C / H;
    const double *w = gallery_at(c, "w") + h * K;
    const double sum = lightweight_sum(c, b, i, w);
    for (int64_t k = 0; k < K; k++) {
        const int64_t j = i + k - lightweight_tap(c, i, i);
        const bool none = j < 0 || j >= T || lightweight_seen(c, b, j) == 0;
        const double weight = none && gallery_i(c, "renormalise") ? 0 : exp(w[k]) / sum;
        gallery_at(c, "weights")[((b * T + i) * H + h) * K + k] = weight;
        for (int64_t e = h * each; e < (h + 1) * each && !none; e++)
            gallery_at(c, "out")[(b * T + i) * C + e] +=
                weight * gallery_at(c, "x")[(b * T + j) * C + e];
    }
}

static void lightweight_conv_oracle(gallery_call *c)
{
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++)
        for (int64_t i = 0; i < gallery_size(c, 'T'); i++)
            for (int64_t h = 0; h < gallery_size(c, 'H'); h++) lightweight_place(c, b, i, h);
}

static const char *const lightweight_conv_cases[] = {
    "B=2,T=7,C=6,H=3,K=3", "B=1,T=5,K=4;causal=true;mask", "B=2,T=5,H=1,K=5;renormalise=true",
    "B=1,T=6,H=4,K=2;renormalise=true,causal=true;mask", NULL};

const gallery_oracle gallery_oracle_lightweight_conv = {.cases = lightweight_conv_cases,
                                                        .run = lightweight_conv_oracle};
