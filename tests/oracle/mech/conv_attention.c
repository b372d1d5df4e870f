/* SPDX-License-Identifier: MIT
 * Attention and convolution side by side, step by step. */
#include "oracle/mech_loops.h"

typedef struct conv_sizes {
    int64_t T, D, A, P, K, H;
} conv_sizes;

static const double *conv_far(gallery_call *c, const conv_sizes *z, int64_t b, const double *x)
{
    const int64_t T = z->T, a = z->A / z->H, p = z->P / z->H;
    const double *q = loops_linear(c, x, gallery_at(c, "w_q"), NULL, T, z->D, z->A);
    const double *k = loops_linear(c, x, gallery_at(c, "w_k"), NULL, T, z->D, z->A);
    const double *v = loops_linear(c, x, gallery_at(c, "w_v"), NULL, T, z->D, z->P);
    const double *mask = gallery_at(c, "mask");
    double *o = gallery_new(c, T * z->P), *seen = gallery_new(c, T);
    for (int64_t h = 0; h < z->H; h++)
        for (int64_t i = 0; i < T; i++) {
            double *row = gallery_at(c, "weights") + ((b * z->H + h) * T + i) * T;
            for (int64_t j = 0; j < T; j++) {
                seen[j] = (!mask || mask[b * T + j] != 0) && !(gallery_i(c, "causal") && j > i);
                row[j] =
                    loops_dot(q + i * z->A + h * a, k + j * z->A + h * a, a) / sqrt((double)a);
            }
            loops_softmax(row, seen, T);
            for (int64_t j = 0; j < T; j++)
                for (int64_t e = h * p; e < (h + 1) * p; e++)
                    o[i * z->P + e] += row[j] * v[j * z->P + e];
        }
    return loops_linear(c, o, gallery_at(c, "w_o"), NULL, T, z->P, z->D);
}

static const double *conv_near(gallery_call *c, const conv_sizes *z, int64_t b, const double *x)
{
    const int64_t T = z->T, D = z->D, K = z->K;
    const int64_t before = gallery_i(c, "causal") ? K - 1 : K / 2;
    const double *u = loops_linear(c, x, gallery_at(c, "w_p"), NULL, T, D, 2 * D);
    const double *mask = gallery_at(c, "mask");
    double *y = gallery_new(c, T * D);
    for (int64_t i = 0; i < T; i++)
        for (int64_t d = 0; d < D; d++) {
            double sum = 0;
            for (int64_t k = 0; k < K; k++) {
                const int64_t j = i + k - before;
                if (j >= 0 && j < T && (!mask || mask[b * T + j] != 0))
                    sum += gallery_at(c, "w_d")[d * K + k] * u[j * 2 * D + d] *
                           loops_sigmoid(u[j * 2 * D + D + d]);
            }
            y[i * D + d] = sum * loops_sigmoid(sum);
        }
    return loops_linear(c, y, gallery_at(c, "w_n"), NULL, T, D, D);
}

static void conv_attention_oracle(gallery_call *c)
{
    const conv_sizes z = {gallery_size(c, 'T'), gallery_size(c, 'D'), gallery_size(c, 'A'),
                          gallery_size(c, 'P'), gallery_size(c, 'K'), gallery_i(c, "heads")};
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) {
        const double *whole = gallery_at(c, "x") + b * z.T * z.D, *mask = gallery_at(c, "mask");
        double *x = gallery_new(c, z.T * z.D);
        for (int64_t i = 0; i < z.T * z.D; i++)
            x[i] = !mask || mask[b * z.T + i / z.D] != 0 ? whole[i] : 0;
        const double *far = conv_far(c, &z, b, x), *near = conv_near(c, &z, b, x);
        const double *gate =
            loops_linear(c, x, gallery_at(c, "w_g"), gallery_at(c, "b_g"), z.T, z.D, z.D);
        for (int64_t i = 0; i < z.T * z.D; i++) {
            const double g = loops_sigmoid(gate[i]);
            gallery_at(c, "gate")[b * z.T * z.D + i] = g;
            gallery_at(c, "out")[b * z.T * z.D + i] = whole[i] + g * far[i] + (1 - g) * near[i];
        }
    }
}

static const char *const conv_attention_cases[] = {"B=2,T=5", "H=1,T=4,K=2;heads=1;b_g,mask",
                                                   "B=2,T=6,K=4;causal=true",
                                                   "T=5,K=1;causal=true;mask", NULL};

const gallery_oracle gallery_oracle_conv_attention = {.cases = conv_attention_cases,
                                                      .run = conv_attention_oracle};
