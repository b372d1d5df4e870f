/* SPDX-License-Identifier: MIT
 * Attention rows with coverage, for oracles: one batch entry, pair by pair. */
#ifndef ATTN_TESTS_MECH_COVERAGE_H
#define ATTN_TESTS_MECH_COVERAGE_H

#include "mech_loops.h"

typedef struct coverage_entry {
    int64_t T, S, A;
    const double *q, *k, *w_c, *w, *mask; /* T A, S A, A, A, S or NULL */
    double *covered, *weights, *loss;     /* S, T S, T; loss may be NULL */
} coverage_entry;

static inline void coverage_walk(const coverage_entry *e)
{
    for (int64_t i = 0; i < e->T; i++) {
        double *row = e->weights + i * e->S;
        for (int64_t j = 0; j < e->S; j++) {
            row[j] = 0;
            for (int64_t a = 0; a < e->A; a++)
                row[j] += e->w[a] * tanh(e->q[i * e->A + a] + e->k[j * e->A + a] +
                                         e->w_c[a] * e->covered[j]);
        }
        loops_softmax(row, e->mask, e->S);
        for (int64_t j = 0; j < e->S; j++) {
            if (e->loss) e->loss[i] += fmin(row[j], e->covered[j]);
            e->covered[j] += row[j];
        }
    }
}

#endif
