/* SPDX-License-Identifier: MIT
 * Dynamic convolution, place by place. */
#include "gallery_case.h"
#include "oracle/mech_picture.h"

/* Which place tap k of place i sees, -1 where none may be seen. */
static int64_t dynamic_place(gallery_call *c, int64_t b, int64_t i, int64_t k, int64_t K)
{
    const int64_t T = gallery_size(c, 'T'),
                  j = i + k - (gallery_i(c, "causal") ? K - 1 : K / 2);
    const double *mask = gallery_at(c, "mask");
    return j < 0 || j >= T || (mask && mask[b * T + j] == 0) ? -1 : j;
}

/* A softmax of which taps that see nothing may be left out. */
static void dynamic_weights(gallery_call *c, int64_t b, int64_t i, int64_t K, double *w)
{
    double sum = 0;
    for (int64_t k = 0; k < K; k++) {
        const bool counts = !gallery_i(c, "renormalise") || dynamic_place(c, b, i, k, K) >= 0;
        sum += w[k] = counts ? exp(w[k]) : 0;
    }
    for (int64_t k = 0; k < K && sum > 0; k++) w[k] /= sum;
}

static void dynamic_conv_oracle(gallery_call *c)
{
    const int64_t T = gallery_size(c, 'T'), C = gallery_size(c, 'C'), N = gallery_size(c, 'N');
    const int64_t heads = gallery_i(c, "heads"), K = N / heads;
    for (int64_t r = 0; r < gallery_size(c, 'B') * T; r++) {
        const int64_t b = r / T, i = r % T;
        const double *x = gallery_at(c, "x") + b * T * C;
        double *w = gallery_at(c, "weights") + r * N;
        for (int64_t n = 0; n < N; n++)
            w[n] = picture_row(gallery_at(c, "w"), gallery_at(c, "b"), x + i * C, n, C);
        for (int64_t h = 0; h < heads; h++) dynamic_weights(c, b, i, K, w + h * K);
        for (int64_t e = 0; e < C; e++)
            for (int64_t k = 0; k < K; k++) {
                const int64_t j = dynamic_place(c, b, i, k, K), h = e / (C / heads);
                if (j >= 0) gallery_at(c, "out")[r * C + e] += w[h * K + k] * x[j * C + e];
            }
    }
}

static const char *const dynamic_conv_cases[] = {
    "B=2,T=7,C=6,N=6",
    "B=1,T=5,C=4,N=8;causal=true;b,mask",
    "B=2,T=5,C=3,N=5;heads=1,renormalise=true",
    "B=1,T=6,C=4,N=12;renormalise=true,causal=true;b",
    "B=1,T=4,N=2;;mask",
    NULL};

const gallery_oracle gallery_oracle_dynamic_conv = {.cases = dynamic_conv_cases,
                                                    .run = dynamic_conv_oracle};
