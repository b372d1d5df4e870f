/* SPDX-License-Identifier: MIT
 * Plain loops that oracles of several mechanisms are made of: an affine map, a softmax, a
 * sigmoid, an additive score. No code of the library stands behind any of it. */
#ifndef ATTN_TESTS_MECH_LOOPS_H
#define ATTN_TESTS_MECH_LOOPS_H

#include "gallery_case.h"

/* y[r][o] = b[o] + sum over i of x[r][i] w[o][i]; b may be NULL. */
static inline double *loops_linear(gallery_call *c, const double *x, const double *w,
                                   const double *b, int64_t rows, int64_t from, int64_t to)
{
    double *y = gallery_new(c, rows * to);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t o = 0; o < to; o++) {
            double *at = &y[r * to + o];
            *at = b ? b[o] : 0;
            for (int64_t i = 0; i < from; i++) *at += x[r * from + i] * w[o * from + i];
        }
    return y;
}

/* In place, over those of n that mask (or NULL) allows; the others become 0. */
static inline void loops_softmax(double *row, const double *mask, int64_t n)
{
    double top = -GALLERY_INF, sum = 0;
    for (int64_t j = 0; j < n; j++)
        if (!mask || mask[j] != 0) top = fmax(top, row[j]);
    for (int64_t j = 0; j < n; j++)
        sum += row[j] = !mask || mask[j] != 0 ? exp(row[j] - top) : 0;
    for (int64_t j = 0; j < n && sum > 0; j++) row[j] /= sum;
}

static inline double loops_sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static inline double loops_dot(const double *a, const double *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* sum over a of w[a] tanh(q[a] + k[a]) */
static inline double loops_additive(const double *q, const double *k, const double *w,
                                    int64_t A)
{
    double sum = 0;
    for (int64_t a = 0; a < A; a++) sum += w[a] * tanh(q[a] + k[a]);
    return sum;
}

/* out[e] += sum over j of a[j] v[j][e] */
static inline void loops_mix(const double *a, const double *v, int64_t S, int64_t E,
                             double *out)
{
    for (int64_t j = 0; j < S; j++)
        for (int64_t e = 0; e < E; e++) out[e] += a[j] * v[j * E + e];
}

#endif
