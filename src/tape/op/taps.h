/* SPDX-License-Identifier: MIT
 * Taps along both axes of many planes (picture.h): for every plane of x
 *   y[o][p] = sum over taps t of o, u of p: weight[t] weight[u] x[index[t]][index[u]]
 * in f64, t and u ascending, rounded once. Called by the bodies of pool and resize, which get
 * their gradients by the turned taps. */
#ifndef ATTN__TAPE_OP_TAPS_H
#define ATTN__TAPE_OP_TAPS_H

#include "tape/picture.h"

typedef struct K(taps_job) {
    const attn__taps *high, *wide;
    const real *x; /* planes, high->n_in, wide->n_in */
    real *y;       /* planes, high->n_out, wide->n_out */
    bool add;
} K(taps_job);

static double K(taps_sum)(const attn__taps *high, const attn__taps *wide, const real *x,
                          int64_t o, int64_t p)
{
    double sum = 0;
    for (int64_t t = high->begin[o]; t < high->begin[o + 1]; t++) {
        const real *row = x + high->index[t] * wide->n_in;
        const double weight = high->weight[t];
        for (int64_t u = wide->begin[p]; u < wide->begin[p + 1]; u++)
            sum += weight * wide->weight[u] * (double)row[wide->index[u]];
    }
    return sum;
}

/* Rows [from, to) of planes high->n_out. */
static void K(taps_rows)(void *arg, int64_t from, int64_t to)
{
    const K(taps_job) *job = arg;
    const attn__taps *high = job->high, *wide = job->wide;
    for (int64_t r = from; r < to; r++) {
        const real *x = job->x + r / high->n_out * high->n_in * wide->n_in;
        real *y = job->y + r * wide->n_out;
        for (int64_t p = 0; p < wide->n_out; p++) {
            const double sum = K(taps_sum)(high, wide, x, r % high->n_out, p);
            y[p] = (real)(job->add ? (double)y[p] + sum : sum);
        }
    }
}

static void K(taps_share)(const attn__call *c, K(taps_job) * job, int64_t planes)
{
    const int64_t n = job->wide->n_out, rows = job->high->n_out;
    if (n == 0 || rows == 0 || planes == 0) return;
    attn__call_share(c, planes * rows, ATTN__PICTURE_GRAIN / 4 / n + 1, K(taps_rows), job);
}

/* y = taps of x, along H and W. */
static void K(taps_write)(const attn__call *c, const attn__taps *taps, const real *x, real *y,
                          int64_t planes)
{
    K(taps_job) job = {.high = &taps[0], .wide = &taps[1], .x = x, .y = y};
    K(taps_share)(c, &job, planes);
}

/* y += taps of x. */
static void K(taps_add)(const attn__call *c, const attn__taps *taps, const real *x, real *y,
                        int64_t planes)
{
    K(taps_job) job = {.high = &taps[0], .wide = &taps[1], .x = x, .y = y, .add = true};
    K(taps_share)(c, &job, planes);
}

#endif
