/* SPDX-License-Identifier: MIT
 * Two attentions, the second asked by what the first one gave. */
#include "oracle/mech_feature.h"

static void via_row(gallery_call *c, const double *key, const double *rows, const double *mask,
                    int64_t n, int64_t width, double *a, double *to)
{
    const double f = gallery_f(c, "scale"), scale = f == 0 ? 1 / sqrt((double)width) : f;
    for (int64_t j = 0; j < n; j++) a[j] = scale * feature_dot(rows + j * width, key, width);
    feature_softmax(a, n, 1, mask);
    feature_pool(to, a, rows, n, width);
}

static void attention_via_attention_oracle(gallery_call *c)
{
    const int64_t T = gallery_size(c, 'T'), S = gallery_size(c, 'S'), N = gallery_size(c, 'N'),
                  D = gallery_size(c, 'D'), E = gallery_size(c, 'E'), F = gallery_size(c, 'F');
    for (int64_t r = 0; r < gallery_size(c, 'B') * T; r++) {
        const int64_t b = r / T;
        const double *q = gallery_at(c, "q") + r * D;
        double *words = gallery_at(c, "out_words") + r * E;
        via_row(c, feature_linear(c, q, gallery_at(c, "w_x"), NULL, 1, D, E),
                gallery_at(c, "x") + b * S * E, feature_mask(c, "mask", b, S), S, E,
                gallery_at(c, "word_weights") + r * S, words);
        double *key = feature_linear(c, q, gallery_at(c, "w_y"), NULL, 1, D, F);
        const double *more = feature_linear(c, words, gallery_at(c, "u_y"), NULL, 1, E, F);
        for (int64_t i = 0; i < F; i++) key[i] += more[i];
        via_row(c, key, gallery_at(c, "y") + b * N * F, feature_mask(c, "y_mask", b, N), N, F,
                gallery_at(c, "weights") + r * N, gallery_at(c, "out") + r * F);
    }
}

static const char *const via_cases[] = {"B=2,T=3,S=4,N=7,D=3,E=2,F=4",
                                        "T=2,S=3,N=5;scale=0;mask,y_mask", NULL};

const gallery_oracle gallery_oracle_attention_via_attention = {
    .cases = via_cases, .run = attention_via_attention_oracle};
