/* SPDX-License-Identifier: MIT
 * Monotonic heads for oracles: projections, walks and chunks of every head by itself. */
#ifndef ATTN_TESTS_MECH_MONOTONIC_HEADS_H
#define ATTN_TESTS_MECH_MONOTONIC_HEADS_H

#include "mech_monotonic.h"

/* Scores T S of head h: rows of q and k are A wide, a head is a part of them. */
static inline double *heads_scores(gallery_call *c, const char *w_q, const char *w_k, int64_t b,
                                   int64_t h)
{
    const int64_t T = gallery_size(c, 'T'), S = gallery_size(c, 'S'), A = gallery_size(c, 'A'),
                  M = gallery_size(c, 'M'), N = gallery_size(c, 'N');
    const int64_t width = A / gallery_size(c, 'H');
    const double *q =
        loops_linear(c, gallery_at(c, "x") + b * T * M, gallery_at(c, w_q), NULL, T, M, A);
    const double *k =
        loops_linear(c, gallery_at(c, "y") + b * S * N, gallery_at(c, w_k), NULL, S, N, A);
    double *scores = gallery_new(c, T * S);
    for (int64_t x = 0; x < T * S; x++)
        scores[x] = loops_dot(q + x / S * A + h * width, k + x % S * A + h * width, width) /
                    sqrt((double)width);
    return scores;
}

/* Fills stops and weights of head h; o T P, at the head's features, gets scale times its
 * output. */
static inline void heads_walk(gallery_call *c, int64_t b, int64_t h, double scale, double *o)
{
    const int64_t T = gallery_size(c, 'T'), S = gallery_size(c, 'S'), P = gallery_size(c, 'P'),
                  N = gallery_size(c, 'N'), H = gallery_size(c, 'H');
    const double *v =
        loops_linear(c, gallery_at(c, "y") + b * S * N, gallery_at(c, "w_v"), NULL, S, N, P);
    const double *mask = gallery_at(c, "mask");
    double *p = heads_scores(c, "w_q", "w_k", b, h), *u = NULL;
    double *stops = gallery_at(c, "stops") + (b * H + h) * T * S;
    double *weights = gallery_at(c, "weights") + (b * H + h) * T * S;
    if (gallery_i(c, "chunk") != 1) u = heads_scores(c, "w_uq", "w_uk", b, h);
    for (int64_t x = 0; x < T * S; x++) {
        const double e = p[x] + gallery_at(c, "r")[h];
        p[x] = gallery_i(c, "hard") ? e > 0 : loops_sigmoid(e);
        if (mask && mask[b * S + x % S] == 0) p[x] = 0;
    }
    monotonic_walk(p, NULL, T, S, stops);
    for (int64_t x = 0; x < T * S; x++) weights[x] = stops[x];
    for (int64_t i = 0; u && i < T; i++)
        monotonic_share(stops + i * S, u + i * S, mask ? mask + b * S : NULL, S,
                        gallery_i(c, "chunk"), weights + i * S);
    for (int64_t x = 0; x < T * S; x++)
        for (int64_t e = h * (P / H); e < (h + 1) * (P / H); e++)
            o[x / S * P + e] += scale * weights[x] * v[x % S * P + e];
}

/* out T O of entry b = o w_o^T */
static inline void heads_output(gallery_call *c, int64_t b, const double *o)
{
    const int64_t T = gallery_size(c, 'T'), O = gallery_size(c, 'O');
    const double *out =
        loops_linear(c, o, gallery_at(c, "w_o"), NULL, T, gallery_size(c, 'P'), O);
    for (int64_t x = 0; x < T * O; x++) gallery_at(c, "out")[b * T * O + x] = out[x];
}

#endif
