/* SPDX-License-Identifier: MIT
 * Graph attention for oracles: scores of one head T T become weights, out and mean. */
#ifndef ATTN_TESTS_MECH_GRAPH_H
#define ATTN_TESTS_MECH_GRAPH_H

#include "mech_loops.h"

static inline double graph_leaky(gallery_call *c, double x)
{
    return x > 0 ? x : gallery_f(c, "slope") * x;
}

/* Weights hold the scores of head h; values T A. */
static inline void graph_sum(gallery_call *c, int64_t b, int64_t h, const double *values)
{
    const int64_t T = gallery_size(c, 'T'), H = gallery_size(c, 'H'), F = gallery_size(c, 'F');
    double *seen = gallery_new(c, T);
    for (int64_t i = 0; i < T; i++) {
        double *row = gallery_at(c, "weights") + ((b * H + h) * T + i) * T;
        for (int64_t j = 0; j < T; j++)
            seen[j] = gallery_at(c, "edges")[(b * T + i) * T + j] != 0 ||
                      (gallery_i(c, "self_loops") && i == j);
        loops_softmax(row, seen, T);
        for (int64_t j = 0; j < T; j++)
            for (int64_t f = 0; f < F; f++) {
                const double part = row[j] * values[(j * H + h) * F + f];
                gallery_at(c, "out")[((b * T + i) * H + h) * F + f] += part;
                gallery_at(c, "mean")[(b * T + i) * F + f] += part / (double)H;
            }
    }
}

#endif
