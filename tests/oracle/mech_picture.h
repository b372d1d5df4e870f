/* SPDX-License-Identifier: MIT
 * For the oracles of the families spatial and channel: one picture, channels times Y times X in
 * rows, as plain loops. */
#ifndef ATTN_TESTS_ORACLE_MECH_PICTURE_H
#define ATTN_TESTS_ORACLE_MECH_PICTURE_H

#include <math.h>
#include <stdint.h>

typedef struct picture {
    int64_t C, Y, X;
} picture;

static inline double picture_sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* w[row] . x + b[row] */
static inline double picture_row(const double *w, const double *b, const double *x, int64_t row,
                                 int64_t n)
{
    double sum = b ? b[row] : 0;
    for (int64_t i = 0; i < n; i++) sum += w[row * n + i] * x[i];
    return sum;
}

/* y M Y X = w M C applied at every pixel. */
static inline void picture_1x1(picture p, const double *x, const double *w, const double *b,
                               int64_t M, double *y)
{
    const int64_t n = p.Y * p.X;
    for (int64_t m = 0; m < M; m++)
        for (int64_t i = 0; i < n; i++) {
            y[m * n + i] = b ? b[m] : 0;
            for (int64_t c = 0; c < p.C; c++) y[m * n + i] += w[m * p.C + c] * x[c * n + i];
        }
}

/* What a pixel holds; 0 outside. */
static inline double picture_at(const double *plane, picture p, int64_t y, int64_t x)
{
    return y >= 0 && y < p.Y && x >= 0 && x < p.X ? plane[y * p.X + x] : 0;
}

/* Between pixels. */
static inline double picture_between(const double *plane, picture p, double y, double x)
{
    double sum = 0;
    for (int64_t i = 0; i < p.Y; i++)
        for (int64_t j = 0; j < p.X; j++) {
            const double high = 1 - fabs(y - (double)i), wide = 1 - fabs(x - (double)j);
            if (high > 0 && wide > 0) sum += high * wide * plane[i * p.X + j];
        }
    return sum;
}

/* y M Y X = w M C K L over x, zeros around it. */
static inline void picture_conv(picture p, const double *x, const double *w, const double *b,
                                int64_t M, int64_t K, int64_t L, int64_t rate, double *y)
{
    for (int64_t m = 0; m < M; m++)
        for (int64_t i = 0; i < p.Y * p.X; i++) {
            double sum = b ? b[m] : 0;
            for (int64_t c = 0; c < p.C; c++)
                for (int64_t k = 0; k < K * L; k++)
                    sum += w[(m * p.C + c) * K * L + k] *
                           picture_at(x + c * p.Y * p.X, p, i / p.X + (k / L - K / 2) * rate,
                                      i % p.X + (k % L - L / 2) * rate);
            y[m * p.Y * p.X + i] = sum;
        }
}

/* x where it is positive, slope x where not. */
static inline void picture_leaky(double *x, int64_t n, double slope)
{
    for (int64_t i = 0; i < n; i++)
        if (x[i] < 0) x[i] *= slope;
}

/* Softmax of s[0 .. n), in place; all -inf gives 0. */
static inline void picture_softmax(double *s, int64_t n)
{
    double top = -(double)INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++) top = fmax(top, s[i]);
    for (int64_t i = 0; i < n; i++)
        sum += s[i] = s[i] == -(double)INFINITY ? 0 : exp(s[i] - top);
    for (int64_t i = 0; i < n && sum > 0; i++) s[i] /= sum;
}

#endif
