/* SPDX-License-Identifier: MIT
 * conv1d, conv2d and their transposes. An image and a grid (picture.h) are joined by three
 * products, of which the forward is one and the gradients are the others:
 *   gather   grid  += w columns(image)         conv forward, d_x of a transpose
 *   scatter  image += columns^T(w^T grid)      d_x of conv, a transpose forward
 *   weigh    w     += grid columns(image)^T    d_w of both
 * columns(image) is image_c taps x positions: row (channel, tap) holds the pixels that the
 * positions see through that tap, 0 where they see padding. It is made piece by piece: some
 * whole samples, or some positions of one, about 2^19 reals; products are attn__matmul's.
 * Pieces follow from the sizes alone. Sums over samples and pieces (d_w, d_b) are kept in f64.
 */
#ifndef ATTN__TAPE_OP_CONV_H
#define ATTN__TAPE_OP_CONV_H

#include "tape/op/conv_bias.h"

typedef struct K(conv_job) {
    attn__call *c;
    attn__conv_plan g;
    const real *w;
    real *image, *grid;          /* a step adds to one of them, or to neither */
    bool fresh;                  /* gather: the grid holds nothing yet, it is only written */
    real *columns, *products;    /* batch rows width; batch grid_c rows/groups */
    double *sums;                /* grid_c rows/groups: d_w */
    int64_t sample, n, p, width; /* the piece: first sample and how many, first position ... */
} K(conv_job);

/* ---- columns ---------------------------------------------------------------------------- */

static void K(conv_read_row)(const attn__conv_plan *g, const real *image, int64_t tap,
                             int64_t p, int64_t width, real *row)
{
    for (int64_t done = 0; done < width;) {
        const attn__conv_run run = attn__conv_run_of(g, tap, p + done, width - done);
        const int64_t stride = g->stride[1], n = run.hi - run.lo;
        real *to = row + done;
        for (int64_t l = 0; l < run.lo; l++) to[l] = 0;
        if (stride == 1)
            memcpy(to + run.lo, image + run.at, (size_t)n * sizeof *to);
        else
            for (int64_t l = 0; l < n; l++) to[run.lo + l] = image[run.at + l * stride];
        for (int64_t l = run.hi; l < run.n; l++) to[l] = 0;
        done += run.n;
    }
}

static void K(conv_add_row)(const attn__conv_plan *g, real *image, int64_t tap, int64_t p,
                            int64_t width, const real *row)
{
    for (int64_t done = 0; done < width;) {
        const attn__conv_run run = attn__conv_run_of(g, tap, p + done, width - done);
        const int64_t stride = g->stride[1], n = run.hi - run.lo;
        const real *from = row + done + run.lo;
        for (int64_t l = 0; l < n; l++) image[run.at + l * stride] += from[l];
        done += run.n;
    }
}

/* Rows [from, to) of n image_c taps. */
static void K(conv_read_rows)(void *arg, int64_t from, int64_t to)
{
    const K(conv_job) *job = arg;
    const attn__conv_plan *g = &job->g;
    const real *image = job->image + job->sample * g->image_c * g->pixels;
    for (int64_t r = from; r < to; r++) K(conv_read_row)
    (g, image + r / g->taps * g->pixels, r % g->taps, job->p, job->width,
     job->columns + r * job->width);
}

/* Planes [from, to) of n image_c: all taps of a plane are added by one thread, in order. */
static void K(conv_add_planes)(void *arg, int64_t from, int64_t to)
{
    const K(conv_job) *job = arg;
    const attn__conv_plan *g = &job->g;
    real *image = job->image + job->sample * g->image_c * g->pixels;
    for (int64_t plane = from; plane < to; plane++)
        for (int64_t tap = 0; tap < g->taps; tap++) K(conv_add_row)
    (g, image + plane * g->pixels, tap, job->p, job->width,
     job->columns + (plane * g->taps + tap) * job->width);
}

/* ---- a piece as matrices: samples, groups, rows, columns -------------------------------- */

static attn_tensor K(conv_matrix)(const real *data, const int64_t *shape, const int64_t *stride)
{
    attn_tensor t = {.data = (void *)data, .dtype = REAL_DTYPE, .rank = 4};
    memcpy(t.shape, shape, 4 * sizeof *shape);
    memcpy(t.stride, stride, 4 * sizeof *stride);
    return t;
}

/* The piece of x, N channels positions. */
static attn_tensor K(conv_planes)(const K(conv_job) * job, real *x, int64_t channels)
{
    const int64_t positions = job->g.positions, each = channels / job->g.groups;
    return K(conv_matrix)(
        x + job->sample * channels * positions + job->p,
        (const int64_t[]){job->n, job->g.groups, each, job->width},
        (const int64_t[]){channels * positions, each * positions, positions, 1});
}

static attn_tensor K(conv_columns)(const K(conv_job) * job)
{
    if (job->g.direct) return K(conv_planes)(job, job->image, job->g.image_c);
    const int64_t rows = job->g.rows, each = rows / job->g.groups, width = job->width;
    return K(conv_matrix)(job->columns, (const int64_t[]){job->n, job->g.groups, each, width},
                          (const int64_t[]){rows * width, each * width, width, 1});
}

static attn_tensor K(conv_weights)(const K(conv_job) * job)
{
    const int64_t rows = job->g.grid_c / job->g.groups, each = job->g.rows / job->g.groups;
    return K(conv_matrix)(job->w, (const int64_t[]){job->n, job->g.groups, rows, each},
                          (const int64_t[]){0, rows * each, each, 1});
}

static attn_tensor K(conv_turned)(attn_tensor t)
{
    return attn_tensor_permute(t, (const int[]){0, 1, 3, 2});
}

static void K(conv_share)(const K(conv_job) * job, int64_t n, int64_t each,
                          void (*body)(void *, int64_t, int64_t))
{
    K(conv_job) copy = *job;
    attn__call_share(job->c, n, attn__max(1, ATTN__PICTURE_GRAIN / attn__max(1, each)), body,
                     &copy);
}

static void K(conv_read)(const K(conv_job) * job)
{
    if (!job->g.direct) K(conv_share)(job, job->n * job->g.rows, job->width, K(conv_read_rows));
}

/* ---- the three products ----------------------------------------------------------------- */

static attn_status K(conv_gather)(K(conv_job) * job)
{
    K(conv_read)(job);
    return attn__matmul(job->c->ctx, job->c->k, K(conv_weights)(job), K(conv_columns)(job),
                        K(conv_planes)(job, job->grid, job->g.grid_c), !job->fresh);
}

static attn_status K(conv_scatter)(K(conv_job) * job)
{
    const bool direct = job->g.direct;
    ATTN_TRY(attn__matmul(job->c->ctx, job->c->k, K(conv_turned)(K(conv_weights)(job)),
                          K(conv_planes)(job, job->grid, job->g.grid_c), K(conv_columns)(job),
                          direct));
    if (!direct) K(conv_share)
    (job, job->n * job->g.image_c, job->g.taps * job->width, K(conv_add_planes));
    return ATTN_OK;
}

/* sums[from .. to) += the products of every sample of the piece, in order. */
static void K(conv_fold)(void *arg, int64_t from, int64_t to)
{
    const K(conv_job) *job = arg;
    const int64_t size = job->g.grid_c * (job->g.rows / job->g.groups);
    for (int64_t n = 0; n < job->n; n++)
        for (int64_t i = from; i < to; i++) job->sums[i] += (double)job->products[n * size + i];
}

static attn_status K(conv_weigh)(K(conv_job) * job)
{
    const int64_t rows = job->g.grid_c / job->g.groups, each = job->g.rows / job->g.groups;
    K(conv_read)(job);
    const attn_tensor products =
        K(conv_matrix)(job->products, (const int64_t[]){job->n, job->g.groups, rows, each},
                       (const int64_t[]){job->g.grid_c * each, rows * each, each, 1});
    ATTN_TRY(attn__matmul(job->c->ctx, job->c->k, K(conv_planes)(job, job->grid, job->g.grid_c),
                          K(conv_turned)(K(conv_columns)(job)), products, false));
    K(conv_share)(job, job->g.grid_c * each, job->n, K(conv_fold));
    return ATTN_OK;
}

static attn_status K(conv_walk)(K(conv_job) * job, attn_status (*step)(K(conv_job) *))
{
    const attn__conv_plan *g = &job->g;
    for (job->sample = 0; job->sample < g->n; job->sample += g->batch)
        for (job->p = 0; job->p < g->positions; job->p += g->width) {
            job->n = attn__min(g->batch, g->n - job->sample);
            job->width = attn__min(g->width, g->positions - job->p);
            ATTN_TRY(step(job));
        }
    return ATTN_OK;
}

static bool K(conv_room)(K(conv_job) * job)
{
    const attn__conv_plan *g = &job->g;
    if (g->direct) return true;
    job->columns = attn__call_temp(job->c, g->batch * g->rows * g->width, sizeof *job->columns);
    return job->columns != NULL;
}

/* One of gather and scatter. */
static attn_status K(conv_product)(K(conv_job) * job, bool gather)
{
    attn__call *c = job->c;
    if (job->g.empty) return ATTN_OK;
    job->w = attn__call_reals(c, &c->in[1]);
    if (!job->w || !K(conv_room)(job)) return ATTN_E_MEMORY;
    if (job->g.direct) { /* no columns, so one piece */
        job->g.batch = job->g.n;
        job->g.width = job->g.positions;
    }
    return K(conv_walk)(job, gather ? K(conv_gather) : K(conv_scatter));
}

/* d_w: products of as many samples as both they and the columns find room for. */
static attn_status K(conv_d_weights)(K(conv_job) * job)
{
    if (job->g.empty) return ATTN_OK;
    const int64_t size = job->g.grid_c * (job->g.rows / job->g.groups);
    real *d = job->c->d_in[1].data;
    job->g.batch = attn__min(job->g.batch, attn__max(1, ATTN__PICTURE_PIECE / size));
    job->sums = attn__call_temp(job->c, size, sizeof *job->sums);
    job->products = attn__call_temp(job->c, size * job->g.batch, sizeof *job->products);
    if (!job->sums || !job->products || !K(conv_room)(job)) return ATTN_E_MEMORY;
    for (int64_t i = 0; i < size; i++) job->sums[i] = 0;
    ATTN_TRY(K(conv_walk)(job, K(conv_weigh)));
    for (int64_t i = 0; i < size; i++) d[i] = (real)((double)d[i] + job->sums[i]);
    return ATTN_OK;
}

/* ---- the operations --------------------------------------------------------------------- */

/* y: the result or its gradient; side: x or its gradient. */
static K(conv_job)
    K(conv_job_of)(attn__call *c, bool transpose, const attn_tensor *y, real *side)
{
    const attn_tensor *x = &c->in[0];
    return (K(conv_job)){.c = c,
                         .g = attn__conv_plan_of(c, transpose ? y : x, transpose ? x : y),
                         .image = transpose ? y->data : side,
                         .grid = transpose ? side : y->data};
}

static attn_status K(conv_forward)(attn__call *c, bool transpose)
{
    real *x = (real *)attn__call_reals(c, &c->in[0]);
    if (!x) return ATTN_E_MEMORY;
    K(conv_job) job = K(conv_job_of)(c, transpose, &c->out[0], x);
    job.fresh = !transpose && !attn__present(&c->in[2]);
    if (!job.fresh || job.g.empty) ATTN_TRY(K(conv_begin)(c));
    return K(conv_product)(&job, !transpose);
}

static attn_status K(conv_backward)(attn__call *c, bool transpose)
{
    const attn_tensor *dy = &c->d_out[0];
    if (!attn__present(dy)) return ATTN_OK;
    if (attn__present(&c->d_in[0])) {
        K(conv_job) job = K(conv_job_of)(c, transpose, dy, c->d_in[0].data);
        ATTN_TRY(K(conv_product)(&job, transpose));
    }
    if (attn__present(&c->d_in[1])) {
        real *x = (real *)attn__call_reals(c, &c->in[0]);
        if (!x) return ATTN_E_MEMORY;
        K(conv_job) job = K(conv_job_of)(c, transpose, dy, x);
        ATTN_TRY(K(conv_d_weights)(&job));
    }
    if (attn__present(&c->d_in[2])) K(conv_d_bias)(c);
    return ATTN_OK;
}

static attn_status K(conv1d_forward)(attn__call *c)
{
    return K(conv_forward)(c, false);
}

static attn_status K(conv1d_backward)(attn__call *c)
{
    return K(conv_backward)(c, false);
}

static attn_status K(conv2d_forward)(attn__call *c)
{
    return K(conv_forward)(c, false);
}

static attn_status K(conv2d_backward)(attn__call *c)
{
    return K(conv_backward)(c, false);
}

static attn_status K(conv1d_transpose_forward)(attn__call *c)
{
    return K(conv_forward)(c, true);
}

static attn_status K(conv1d_transpose_backward)(attn__call *c)
{
    return K(conv_backward)(c, true);
}

static attn_status K(conv2d_transpose_forward)(attn__call *c)
{
    return K(conv_forward)(c, true);
}

static attn_status K(conv2d_transpose_backward)(attn__call *c)
{
    return K(conv_backward)(c, true);
}

#endif
