/* SPDX-License-Identifier: MIT
 * max_pool, avg_pool and their adaptive forms. A mean is taps along both axes (op/taps.h). A
 * maximum remembers where it was found, the lowest pixel of those that tie, and a NaN before
 * all; its gradient goes there. */
#ifndef ATTN__TAPE_OP_POOL_H
#define ATTN__TAPE_OP_POOL_H

#include "tape/op/taps.h"

/* ---- maxima ----------------------------------------------------------------------------- */

typedef struct K(pool_job) {
    attn__pool_axis axis[2];
    const real *x; /* planes H W; backward d_out */
    real *y;       /* planes h w; backward d_x */
    int64_t *at;   /* planes h w: pixel of the plane; NULL: nobody asks */
} K(pool_job);

/* Of the window (o, p): the pixel of the plane x that wins. */
static int64_t K(pool_winner)(const attn__pool_axis *high, const attn__pool_axis *wide,
                              const real *x, int64_t o, int64_t p)
{
    int64_t best = high->first[o] * wide->n_in + wide->first[p];
    for (int64_t t = 0; t < high->n[o]; t++) {
        const int64_t row = (high->first[o] + t * high->step) * wide->n_in + wide->first[p];
        for (int64_t u = 0; u < wide->n[p]; u++) {
            const int64_t at = row + u * wide->step;
            if (x[at] > x[best] || (isnan(x[at]) && !isnan(x[best]))) best = at;
        }
    }
    return best;
}

/* Rows [from, to) of planes h. */
static void K(pool_rows)(void *arg, int64_t from, int64_t to)
{
    const K(pool_job) *job = arg;
    const attn__pool_axis *high = &job->axis[0], *wide = &job->axis[1];
    for (int64_t r = from; r < to; r++) {
        const real *x = job->x + r / high->n_out * high->n_in * wide->n_in;
        for (int64_t p = 0; p < wide->n_out; p++) {
            const int64_t best = K(pool_winner)(high, wide, x, r % high->n_out, p);
            job->y[r * wide->n_out + p] = x[best];
            if (job->at) job->at[r * wide->n_out + p] = best;
        }
    }
}

/* Planes [from, to): windows in order, so that a pixel is one chain. */
static void K(pool_return)(void *arg, int64_t from, int64_t to)
{
    const K(pool_job) *job = arg;
    const int64_t pixels = job->axis[0].n_in * job->axis[1].n_in;
    const int64_t windows = job->axis[0].n_out * job->axis[1].n_out;
    for (int64_t i = from * windows; i < to * windows; i++)
        job->y[i / windows * pixels + job->at[i]] += job->x[i];
}

static attn_status K(pool_max_forward)(attn__call *c, bool adaptive)
{
    const attn_tensor *y = &c->out[0];
    K(pool_job) job = {.x = attn__call_reals(c, &c->in[0]), .y = y->data};
    const int64_t count = attn_tensor_count(*y);
    if (!job.x) return ATTN_E_MEMORY;
    if (c->recording) {
        job.at = attn__call_save(c, count, sizeof *job.at);
        if (!job.at) return ATTN_E_MEMORY;
    }
    if (count == 0) return ATTN_OK;
    for (int axis = 0; axis < 2; axis++)
        if (!attn__pool_axis_make(c, axis, adaptive, &job.axis[axis])) return ATTN_E_MEMORY;
    attn__call_share(c, attn__picture_planes(y) * job.axis[0].n_out,
                     ATTN__PICTURE_GRAIN / 4 / job.axis[1].n_out + 1, K(pool_rows), &job);
    return ATTN_OK;
}

static attn_status K(pool_max_backward)(attn__call *c)
{
    const attn_tensor *x = &c->in[0], *dy = &c->d_out[0];
    if (!attn__present(dy) || !attn__present(&c->d_in[0]) || attn_tensor_count(*dy) == 0)
        return ATTN_OK;
    K(pool_job) job = {.x = dy->data, .y = c->d_in[0].data, .at = c->saved};
    for (int axis = 0; axis < 2; axis++) {
        job.axis[axis].n_in = attn__picture_size(x, axis);
        job.axis[axis].n_out = attn__picture_size(dy, axis);
    }
    const int64_t windows = job.axis[0].n_out * job.axis[1].n_out;
    attn__call_share(c, attn__picture_planes(x), ATTN__PICTURE_GRAIN / windows + 1,
                     K(pool_return), &job);
    return ATTN_OK;
}

static attn_status K(max_pool_forward)(attn__call *c)
{
    return K(pool_max_forward)(c, false);
}

static attn_status K(max_pool_backward)(attn__call *c)
{
    return K(pool_max_backward)(c);
}

static attn_status K(adaptive_max_pool_forward)(attn__call *c)
{
    return K(pool_max_forward)(c, true);
}

static attn_status K(adaptive_max_pool_backward)(attn__call *c)
{
    return K(pool_max_backward)(c);
}

/* ---- means ------------------------------------------------------------------------------ */

static attn_status K(pool_mean_forward)(attn__call *c, bool adaptive)
{
    attn__taps taps[2];
    if (attn_tensor_count(c->out[0]) == 0) return ATTN_OK;
    const real *x = attn__call_reals(c, &c->in[0]);
    if (!x) return ATTN_E_MEMORY;
    for (int axis = 0; axis < 2; axis++)
        if (!attn__pool_taps_make(c, axis, adaptive, &taps[axis])) return ATTN_E_MEMORY;
    K(taps_write)(c, taps, x, c->out[0].data, attn__picture_planes(&c->out[0]));
    return ATTN_OK;
}

static attn_status K(pool_mean_backward)(attn__call *c, bool adaptive)
{
    attn__taps taps[2], turned[2];
    const attn_tensor *dy = &c->d_out[0], *dx = &c->d_in[0];
    if (!attn__present(dy) || !attn__present(dx) || attn_tensor_count(*dy) == 0) return ATTN_OK;
    for (int axis = 0; axis < 2; axis++) {
        if (!attn__pool_taps_make(c, axis, adaptive, &taps[axis])) return ATTN_E_MEMORY;
        if (!attn__taps_turned(c, &taps[axis], &turned[axis])) return ATTN_E_MEMORY;
    }
    K(taps_add)(c, turned, dy->data, dx->data, attn__picture_planes(dx));
    return ATTN_OK;
}

static attn_status K(avg_pool_forward)(attn__call *c)
{
    return K(pool_mean_forward)(c, false);
}

static attn_status K(avg_pool_backward)(attn__call *c)
{
    return K(pool_mean_backward)(c, false);
}

static attn_status K(adaptive_avg_pool_forward)(attn__call *c)
{
    return K(pool_mean_forward)(c, true);
}

static attn_status K(adaptive_avg_pool_backward)(attn__call *c)
{
    return K(pool_mean_backward)(c, true);
}

#endif
