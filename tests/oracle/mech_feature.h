/* SPDX-License-Identifier: MIT
 * Plain loops that the oracles of the families feature and context are written with. */
#ifndef ATTN_TESTS_MECH_FEATURE_H
#define ATTN_TESTS_MECH_FEATURE_H

#include "gallery_case.h"

/* softmax of n numbers that lie `step` apart, in place; mask (one number each, or NULL) hides;
 * nothing left: all 0. */
static inline void feature_softmax(double *s, int64_t n, int64_t step, const double *mask)
{
    double top = -GALLERY_INF, sum = 0;
    for (int64_t i = 0; i < n; i++) {
        if (mask && mask[i] == 0) s[i * step] = -GALLERY_INF;
        top = fmax(top, s[i * step]);
    }
    for (int64_t i = 0; i < n; i++)
        sum += s[i * step] = s[i * step] == -GALLERY_INF ? 0 : exp(s[i * step] - top);
    for (int64_t i = 0; i < n && sum > 0; i++) s[i * step] /= sum;
}

static inline double feature_dot(const double *a, const double *b, int64_t n)
{
    double sum = 0;
    for (int64_t d = 0; d < n; d++) sum += a[d] * b[d];
    return sum;
}

/* to += sum_i weight_i row_i, rows of width d. */
static inline void feature_pool(double *to, const double *weight, const double *rows, int64_t n,
                                int64_t d)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t e = 0; e < d; e++) to[e] += weight[i] * rows[i * d + e];
}

/* y[n][to] = x[n][from] w[to][from]^T + b, b may be NULL. */
static inline double *feature_linear(gallery_call *c, const double *x, const double *w,
                                     const double *b, int64_t n, int64_t from, int64_t to)
{
    double *y = gallery_new(c, n * to);
    for (int64_t r = 0; r < n; r++)
        for (int64_t o = 0; o < to; o++)
            y[r * to + o] = feature_dot(x + r * from, w + o * from, from) + (b ? b[o] : 0);
    return y;
}

/* A copy of a slot of n rows with zeros where the mask hides. */
static inline double *feature_rows(gallery_call *c, const char *slot, const char *mask,
                                   int64_t n, int64_t d)
{
    const double *x = gallery_at(c, slot), *m = gallery_at(c, mask);
    double *y = gallery_new(c, n * d);
    for (int64_t i = 0; i < n * d; i++) y[i] = m && m[i / d] == 0 ? 0 : x[i];
    return y;
}

/* The mask of one sequence of n, or NULL. */
static inline const double *feature_mask(gallery_call *c, const char *mask, int64_t b,
                                         int64_t n)
{
    const double *m = gallery_at(c, mask);
    return m ? m + b * n : NULL;
}

/* The mean of the rows that the mask allows; 0 when there is none. */
static inline void feature_mean(double *to, const double *rows, const double *mask, int64_t n,
                                int64_t d)
{
    double count = 0;
    for (int64_t i = 0; i < n; i++) count += !mask || mask[i] != 0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t e = 0; e < d && (!mask || mask[i] != 0); e++)
            to[e] += rows[i * d + e] / count;
}

#endif
