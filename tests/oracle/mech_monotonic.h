/* SPDX-License-Identifier: MIT
 * Monotonic alignments for oracles: the walk by its meaning - from every key where the row
 * before may have stopped, the probability to get to j and stop - and its share of a chunk. */
#ifndef ATTN_TESTS_MECH_MONOTONIC_H
#define ATTN_TESTS_MECH_MONOTONIC_H

#include "mech_loops.h"

/* Energies T S of batch entry b by the slots of these names; g and r may be NULL. */
typedef struct monotonic_names {
    const char *w_q, *w_k, *b, *w, *g, *r;
    char width;
} monotonic_names;

static inline double *monotonic_energies(gallery_call *c, const monotonic_names *n, int64_t b)
{
    const int64_t T = gallery_size(c, 'T'), S = gallery_size(c, 'S'),
                  A = gallery_size(c, n->width);
    const int64_t D = gallery_size(c, 'D'), C = gallery_size(c, 'C');
    const double *w = gallery_at(c, n->w);
    double *e = gallery_new(c, T * S), scale = 1;
    const double *q =
        loops_linear(c, gallery_at(c, "q") + b * T * D, gallery_at(c, n->w_q), NULL, T, D, A);
    const double *k = loops_linear(c, gallery_at(c, "k") + b * S * C, gallery_at(c, n->w_k),
                                   gallery_at(c, n->b), S, C, A);
    if (n->g) scale = gallery_at(c, n->g)[0] / sqrt(loops_dot(w, w, A));
    for (int64_t x = 0; x < T * S; x++) {
        e[x] = scale * loops_additive(q + x / S * A, k + x % S * A, w, A);
        if (n->r) e[x] += gallery_at(c, n->r)[0];
    }
    return e;
}

/* p T S -> a T S; start S, or NULL. */
static inline void monotonic_walk(const double *p, const double *start, int64_t T, int64_t S,
                                  double *a)
{
    for (int64_t x = 0; x < T * S; x++) a[x] = 0;
    for (int64_t i = 0; i < T; i++)
        for (int64_t from = 0; from < S; from++) {
            double here = start ? start[from] : from == 0;
            if (i > 0) here = a[(i - 1) * S + from];
            for (int64_t j = from; j < S; j++) {
                a[i * S + j] += here * p[i * S + j];
                here *= 1 - p[i * S + j];
            }
        }
}

/* What a[k] gives to every key of its chunk of w (0: all before it), where mask allows. */
static inline void monotonic_share(const double *a, const double *u, const double *mask,
                                   int64_t S, int64_t w, double *weights)
{
    for (int64_t j = 0; j < S; j++) weights[j] = 0;
    for (int64_t k = 0; k < S; k++) {
        const int64_t first = w == 0 || k < w ? 0 : k - w + 1;
        double sum = 0;
        for (int64_t l = first; l <= k; l++) sum += !mask || mask[l] != 0 ? exp(u[l]) : 0;
        for (int64_t l = first; sum > 0 && l <= k; l++)
            if (!mask || mask[l] != 0) weights[l] += a[k] * exp(u[l]) / sum;
    }
}

#endif
