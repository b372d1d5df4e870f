/* SPDX-License-Identifier: MIT
 * The fused engine under its name in the table: grouped heads, a bias, a sink, causal or not.
 * Its other options have an oracle and tests of their own (oracle/softmax.c, test_grid). */
#include "gallery_case.h"

typedef struct softmax_sizes {
    int64_t H, G, T, S, D, E;
} softmax_sizes;

static double softmax_score(gallery_call *c, const softmax_sizes *z, int64_t b, int64_t h,
                            int64_t i, int64_t j)
{
    const double *q = gallery_at(c, "q") + ((b * z->H + h) * z->T + i) * z->D;
    const double *k = gallery_at(c, "k") + ((b * z->G + h / (z->H / z->G)) * z->S + j) * z->D;
    const double *bias = gallery_at(c, "bias");
    double s = 0;
    if (gallery_i(c, "causal") && j > i) return -GALLERY_INF;
    for (int64_t d = 0; d < z->D; d++) s += q[d] * k[d];
    return s / sqrt((double)z->D) + (bias ? bias[((b * z->H + h) * z->T + i) * z->S + j] : 0);
}

static void softmax_row(gallery_call *c, const softmax_sizes *z, int64_t b, int64_t h,
                        int64_t i)
{
    const int64_t row = (b * z->H + h) * z->T + i;
    const double *sink = gallery_at(c, "sink");
    const double *v = gallery_at(c, "v") + (b * z->G + h / (z->H / z->G)) * z->S * z->E;
    double *w = gallery_at(c, "weights") + row * z->S, *out = gallery_at(c, "out") + row * z->E;
    double top = sink ? sink[b * z->H + h] : -GALLERY_INF, sum = 0;
    for (int64_t j = 0; j < z->S; j++) top = fmax(top, w[j] = softmax_score(c, z, b, h, i, j));
    if (sink) sum = exp(sink[b * z->H + h] - top);
    for (int64_t j = 0; j < z->S; j++) sum += w[j] = w[j] == -GALLERY_INF ? 0 : exp(w[j] - top);
    for (int64_t j = 0; j < z->S; j++) {
        w[j] = sum > 0 ? w[j] / sum : 0;
        for (int64_t e = 0; e < z->E; e++) out[e] += w[j] * v[j * z->E + e];
    }
    gallery_at(c, "lse")[row] = sum > 0 ? log(sum) + top : -GALLERY_INF;
}

static void softmax_oracle(gallery_call *c)
{
    const softmax_sizes z = {gallery_size(c, 'H'), gallery_size(c, 'G'), gallery_size(c, 'T'),
                             gallery_size(c, 'S'), gallery_size(c, 'D'), gallery_size(c, 'E')};
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++)
        for (int64_t h = 0; h < z.H; h++)
            for (int64_t i = 0; i < z.T; i++) softmax_row(c, &z, b, h, i);
}

#define SOFTMAX_LEFT_OUT                                                                       \
    "scores,bias_pre,mask,block_mask,alibi,q_start,q_len,k_start,k_len,cu_q,cu_k,offset,"      \
    "prefix,q_seg,k_seg,rel_table,rel_k,rel_v,q_pos,k_pos,rope_cos,rope_sin,positions,"        \
    "score_w,center,alpha,tree"

static const char *const softmax_cases[] = {"B=2,H=4,G=2,T=5,S=7;;" SOFTMAX_LEFT_OUT ",sink",
                                            "T=6,S=6;causal=true;" SOFTMAX_LEFT_OUT ",bias",
                                            "T=3,S=3,E=5;;" SOFTMAX_LEFT_OUT, NULL};

const gallery_oracle gallery_oracle_softmax = {
    .cases = softmax_cases, .run = softmax_oracle, .vary = "BE"};
