/* SPDX-License-Identifier: MIT
 * Attention over pairs of a key and a context in heads, written once for its oracles: the score
 * of a pair is given as a number for every query, key, context and head. */
#ifndef ATTN_TESTS_MECH_TRI_H
#define ATTN_TESTS_MECH_TRI_H

#include "oracle/mech_feature.h"

typedef struct tri_case {
    int64_t B, T, S, J, H;
    int64_t D, E; /* of all heads together */
    const double *q, *k, *c, *v, *u;
    double (*score)(gallery_call *c, const double *q, const double *k, const double *x,
                    int64_t n);
    double scale;
} tri_case;

/* One row of weights over S J pairs of one head, then its share of out. */
static inline void tri_row(gallery_call *c, const tri_case *z, int64_t b, int64_t h, int64_t i)
{
    const int64_t n = z->S * z->J, D = z->D / z->H, E = z->E / z->H;
    const double *mask = feature_mask(c, "mask", b, z->S),
                 *c_mask = feature_mask(c, "c_mask", b, z->J);
    double *w = gallery_at(c, "weights") + ((b * z->H + h) * z->T + i) * n;
    double *allowed = gallery_new(c, n),
           *out = gallery_at(c, "out") + (b * z->T + i) * z->E + h * E;
    for (int64_t p = 0; p < n; p++) {
        const int64_t j = p / z->J, x = p % z->J;
        allowed[p] = (!mask || mask[j] != 0) && (!c_mask || c_mask[x] != 0);
        w[p] = z->scale * z->score(c, z->q + (b * z->T + i) * z->D + h * D,
                                   z->k + (b * z->S + j) * z->D + h * D,
                                   z->c + (b * z->J + x) * z->D + h * D, D);
    }
    feature_softmax(w, n, 1, allowed);
    for (int64_t p = 0; p < n; p++)
        for (int64_t e = 0; e < E; e++)
            out[e] += w[p] * z->v[(b * z->S + p / z->J) * z->E + h * E + e] *
                      z->u[(b * z->J + p % z->J) * z->E + h * E + e];
}

static inline void tri_all(gallery_call *c, const tri_case *z)
{
    for (int64_t b = 0; b < z->B; b++)
        for (int64_t h = 0; h < z->H; h++)
            for (int64_t i = 0; i < z->T; i++) tri_row(c, z, b, h, i);
}

static inline tri_case tri_case_of(gallery_call *c)
{
    const double *u = gallery_at(c, "u");
    return (tri_case){.B = gallery_size(c, 'B'),
                      .T = gallery_size(c, 'T'),
                      .S = gallery_size(c, 'S'),
                      .J = gallery_size(c, 'J'),
                      .H = gallery_i(c, "heads"),
                      .D = gallery_size(c, 'D'),
                      .E = gallery_size(c, 'E'),
                      .q = gallery_at(c, "q"),
                      .k = gallery_at(c, "k"),
                      .c = gallery_at(c, "c"),
                      .v = gallery_at(c, "v"),
                      .u = u ? u : gallery_at(c, "c"),
                      .scale = 1};
}

static inline double tri_dot_score(gallery_call *c, const double *q, const double *k,
                                   const double *x, int64_t n)
{
    double sum = 0;
    (void)c;
    for (int64_t d = 0; d < n; d++) sum += q[d] * k[d] * x[d];
    return sum;
}

#endif
