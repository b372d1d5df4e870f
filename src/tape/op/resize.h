/* SPDX-License-Identifier: MIT
 * Upsampling and sampling on a grid, both as taps (op/taps.h), and pixels moved to channels.
 * The gradient to a coordinate is d_y (1 - fy) (I01 - I00) + d_y fy (I11 - I10), summed over
 * channels in f64, by the pixels that a unit of the coordinate spans. */
#ifndef ATTN__TAPE_OP_RESIZE_H
#define ATTN__TAPE_OP_RESIZE_H

#include "tape/op/taps.h"

/* ---- upsampling ------------------------------------------------------------------------- */

static attn_status K(upsample_forward)(attn__call *c)
{
    attn__taps taps[2];
    if (attn_tensor_count(c->out[0]) == 0) return ATTN_OK;
    const real *x = attn__call_reals(c, &c->in[0]);
    if (!x) return ATTN_E_MEMORY;
    for (int axis = 0; axis < 2; axis++)
        if (!attn__resize_taps_make(c, axis, &taps[axis])) return ATTN_E_MEMORY;
    K(taps_write)(c, taps, x, c->out[0].data, attn__picture_planes(&c->out[0]));
    return ATTN_OK;
}

static attn_status K(upsample_backward)(attn__call *c)
{
    attn__taps taps[2], turned[2];
    const attn_tensor *dy = &c->d_out[0], *dx = &c->d_in[0];
    if (!attn__present(dy) || !attn__present(dx) || attn_tensor_count(*dy) == 0) return ATTN_OK;
    for (int axis = 0; axis < 2; axis++) {
        if (!attn__resize_taps_make(c, axis, &taps[axis])) return ATTN_E_MEMORY;
        if (!attn__taps_turned(c, &taps[axis], &turned[axis])) return ATTN_E_MEMORY;
    }
    K(taps_add)(c, turned, dy->data, dx->data, attn__picture_planes(dx));
    return ATTN_OK;
}

static attn_status K(upsample_bilinear_forward)(attn__call *c)
{
    return K(upsample_forward)(c);
}

static attn_status K(upsample_bilinear_backward)(attn__call *c)
{
    return K(upsample_backward)(c);
}

static attn_status K(upsample_nearest_forward)(attn__call *c)
{
    return K(upsample_forward)(c);
}

static attn_status K(upsample_nearest_backward)(attn__call *c)
{
    return K(upsample_backward)(c);
}

/* ---- sampling on a grid ----------------------------------------------------------------- */

typedef struct K(grid_job) {
    int64_t n, channels, size[2], places; /* places: h w of a sample */
    int64_t units;
    const real *x, *grid, *dy;
    real *d_grid;
} K(grid_job);

static K(grid_job) K(grid_job_of)(const attn__call *c)
{
    const attn_tensor *x = &c->in[0], *grid = &c->in[1];
    return (K(grid_job)){.n = x->shape[0],
                         .channels = x->shape[1],
                         .size = {x->shape[2], x->shape[3]},
                         .places = grid->shape[1] * grid->shape[2],
                         .units = c->attr.i[0]};
}

static attn__spot K(grid_spot)(const K(grid_job) * job, int64_t place)
{
    const real *at = job->grid + 2 * place;
    return attn__spot_of((double)at[0], (double)at[1], job->size, job->units);
}

/* The taps of one sample. */
static void K(grid_taps)(const K(grid_job) * job, int64_t sample, bool lost, attn__taps *taps)
{
    for (int64_t o = 0; o < job->places; o++) {
        const attn__spot spot = K(grid_spot)(job, sample * job->places + o);
        attn__spot_taps(&spot, job->size, lost, taps, o);
    }
}

static attn_status K(grid_sample_forward)(attn__call *c)
{
    attn__taps taps[2]; /* of the picture in a row: one row, all pixels */
    real *y = c->out[0].data;
    if (attn_tensor_count(c->out[0]) == 0) return ATTN_OK;
    K(grid_job) job = K(grid_job_of)(c);
    const int64_t pixels = job.size[0] * job.size[1], planes = job.channels;
    job.x = attn__call_reals(c, &c->in[0]);
    job.grid = attn__call_reals(c, &c->in[1]);
    if (!job.x || !job.grid || !attn__taps_one(c, &taps[0]) ||
        !attn__taps_make(c, &taps[1], job.places, pixels, 4 * job.places))
        return ATTN_E_MEMORY;
    for (int64_t n = 0; n < job.n; n++) {
        K(grid_taps)(&job, n, true, &taps[1]);
        K(taps_write)
        (c, taps, job.x + n * planes * pixels, y + n * planes * job.places, planes);
    }
    return ATTN_OK;
}

static attn_status K(grid_d_x)(attn__call *c, const K(grid_job) * job)
{
    const int64_t pixels = job->size[0] * job->size[1], planes = job->channels;
    real *dx = c->d_in[0].data;
    attn__taps taps, turned[2];
    if (pixels == 0) return ATTN_OK;
    if (!attn__taps_one(c, &turned[0]) ||
        !attn__taps_make(c, &taps, job->places, pixels, 4 * job->places) ||
        !attn__taps_make(c, &turned[1], pixels, job->places, 4 * job->places))
        return ATTN_E_MEMORY;
    for (int64_t n = 0; n < job->n; n++) {
        K(grid_taps)(job, n, false, &taps);
        attn__taps_turn(&taps, &turned[1]);
        K(taps_add)
        (c, turned, job->dy + n * planes * job->places, dx + n * planes * pixels, planes);
    }
    return ATTN_OK;
}

static double K(grid_pixel)(const K(grid_job) * job, const real *plane, int64_t y, int64_t x)
{
    const bool inside = x >= 0 && y >= 0 && x < job->size[1] && y < job->size[0];
    return inside ? (double)plane[y * job->size[1] + x] : 0;
}

/* Places [from, to) of all samples. */
static void K(grid_d_places)(void *arg, int64_t from, int64_t to)
{
    const K(grid_job) *job = arg;
    const int64_t pixels = job->size[0] * job->size[1];
    for (int64_t i = from; i < to; i++) {
        const attn__spot s = K(grid_spot)(job, i);
        const int64_t first = i / job->places * job->channels;
        double dx = s.lost ? (double)NAN : 0, dy = dx;
        for (int64_t c = 0; c < job->channels && s.inside; c++) {
            const real *plane = job->x + (first + c) * pixels;
            const double d = (double)job->dy[(first + c) * job->places + i % job->places];
            const double v00 = K(grid_pixel)(job, plane, s.y, s.x);
            const double v01 = K(grid_pixel)(job, plane, s.y, s.x + 1);
            const double v10 = K(grid_pixel)(job, plane, s.y + 1, s.x);
            const double v11 = K(grid_pixel)(job, plane, s.y + 1, s.x + 1);
            dx += d * ((1 - s.part_y) * (v01 - v00) + s.part_y * (v11 - v10));
            dy += d * ((1 - s.part_x) * (v10 - v00) + s.part_x * (v11 - v01));
        }
        job->d_grid[2 * i] = (real)((double)job->d_grid[2 * i] + dx * s.slope_x);
        job->d_grid[2 * i + 1] = (real)((double)job->d_grid[2 * i + 1] + dy * s.slope_y);
    }
}

static attn_status K(grid_sample_backward)(attn__call *c)
{
    const attn_tensor *dy = &c->d_out[0];
    if (!attn__present(dy) || attn_tensor_count(*dy) == 0) return ATTN_OK;
    K(grid_job) job = K(grid_job_of)(c);
    job.dy = dy->data;
    job.x = attn__call_reals(c, &c->in[0]);
    job.grid = attn__call_reals(c, &c->in[1]);
    if (!job.x || !job.grid) return ATTN_E_MEMORY;
    if (attn__present(&c->d_in[0])) ATTN_TRY(K(grid_d_x)(c, &job));
    if (!attn__present(&c->d_in[1])) return ATTN_OK;
    job.d_grid = c->d_in[1].data;
    attn__call_share(c, job.n * job.places, ATTN__PICTURE_GRAIN / 16 / job.channels + 1,
                     K(grid_d_places), &job);
    return ATTN_OK;
}

/* ---- pixels to channels and back -------------------------------------------------------- */

typedef struct K(pixel_job) {
    int64_t factor, high, wide; /* of the coarse planes */
    const real *from;
    real *to;
    bool add;
} K(pixel_job);

/* Rows [from, to) of fine planes: row h f + i of one is made of f coarse rows. */
static void K(pixel_rows)(void *arg, int64_t from, int64_t to, const bool to_fine)
{
    const K(pixel_job) *job = arg;
    const int64_t f = job->factor, wide = job->wide, high = job->high;
    for (int64_t r = from; r < to; r++) {
        const int64_t plane = r / (high * f), h = r % (high * f) / f, i = r % f;
        for (int64_t j = 0; j < f; j++) {
            const int64_t coarse = (((plane * f + i) * f + j) * high + h) * wide;
            const int64_t fine = r * wide * f + j;
            for (int64_t w = 0; w < wide; w++) {
                const real x = job->from[to_fine ? coarse + w : fine + w * f];
                real *y = &job->to[to_fine ? fine + w * f : coarse + w];
                *y = job->add ? *y + x : x;
            }
        }
    }
}

static void K(pixel_to_fine)(void *arg, int64_t from, int64_t to)
{
    K(pixel_rows)(arg, from, to, true);
}

static void K(pixel_to_coarse)(void *arg, int64_t from, int64_t to)
{
    K(pixel_rows)(arg, from, to, false);
}

static void K(pixel_run)(const attn__call *c, const attn_tensor *coarse, K(pixel_job) job,
                         bool to_fine)
{
    if (attn_tensor_count(*coarse) == 0) return;
    job.factor = c->attr.i[0];
    job.high = coarse->shape[2];
    job.wide = coarse->shape[3];
    const int64_t planes = attn__picture_planes(coarse) / (job.factor * job.factor);
    attn__call_share(c, planes * job.high * job.factor,
                     ATTN__PICTURE_GRAIN / (job.wide * job.factor) + 1,
                     to_fine ? K(pixel_to_fine) : K(pixel_to_coarse), &job);
}

static attn_status K(pixel_forward)(attn__call *c, const attn_tensor *coarse, bool to_fine)
{
    const real *x = attn__call_reals(c, &c->in[0]);
    if (!x) return ATTN_E_MEMORY;
    K(pixel_run)(c, coarse, (K(pixel_job)){.from = x, .to = c->out[0].data}, to_fine);
    return ATTN_OK;
}

static attn_status K(pixel_backward)(attn__call *c, const attn_tensor *coarse, bool to_fine)
{
    const attn_tensor *dy = &c->d_out[0], *dx = &c->d_in[0];
    if (attn__present(dy) && attn__present(dx)) K(pixel_run)
    (c, coarse, (K(pixel_job)){.from = dy->data, .to = dx->data, .add = true}, to_fine);
    return ATTN_OK;
}

static attn_status K(pixel_shuffle_forward)(attn__call *c)
{
    return K(pixel_forward)(c, &c->in[0], true);
}

static attn_status K(pixel_shuffle_backward)(attn__call *c)
{
    return K(pixel_backward)(c, &c->in[0], false);
}

static attn_status K(pixel_unshuffle_forward)(attn__call *c)
{
    return K(pixel_forward)(c, &c->out[0], false);
}

static attn_status K(pixel_unshuffle_backward)(attn__call *c)
{
    return K(pixel_backward)(c, &c->d_out[0], true);
}

#endif
