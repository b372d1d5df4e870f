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

/* ---- channels side by side ---------------------------------------------------------------- */

/* A place sees the same pixels in every channel, so pictures are turned to pixels times channels
 * and a tap is one pass over what lies side by side. The sums are those of taps_write. */
enum { LINES_PLACES = 16, LINES_CHANNELS = 64 };

typedef struct K(lines_job) {
    const attn__taps *taps;
    int64_t channels, n;
    const real *from;
    real *to;
    bool add;
} K(lines_job);

/* Blocks [from, to) of LINES_PLACES columns of channels x n, to n x channels. */
static void K(lines_turn_blocks)(void *arg, int64_t from, int64_t to)
{
    const K(lines_job) *job = arg;
    const int64_t last = attn__min(to * LINES_PLACES, job->n);
    for (int64_t o = from * LINES_PLACES; o < last; o += LINES_PLACES)
        for (int64_t c = 0; c < job->channels; c++)
            for (int64_t i = o; i < attn__min(o + LINES_PLACES, last); i++)
                job->to[i * job->channels + c] = job->from[c * job->n + i];
}

/* Outputs o .. o + n of channels first .. first + width. */
static void K(lines_block)(const K(lines_job) * job, int64_t o, int64_t n, int64_t first,
                           int64_t width)
{
    double sum[LINES_PLACES][LINES_CHANNELS];
    const attn__taps *taps = job->taps;
    for (int64_t i = 0; i < n; i++) {
        for (int64_t c = 0; c < width; c++) sum[i][c] = 0;
        for (int64_t t = taps->begin[o + i]; t < taps->begin[o + i + 1]; t++) {
            const real *x = job->from + taps->index[t] * job->channels + first;
            const double weight = taps->weight[t];
            for (int64_t c = 0; c < width; c++) sum[i][c] += weight * (double)x[c];
        }
    }
    for (int64_t c = 0; c < width; c++) {
        real *y = job->to + (first + c) * taps->n_out + o;
        for (int64_t i = 0; i < n; i++)
            y[i] = (real)(job->add ? (double)y[i] + sum[i][c] : sum[i][c]);
    }
}

static void K(lines_blocks)(void *arg, int64_t from, int64_t to)
{
    const K(lines_job) *job = arg;
    for (int64_t b = from; b < to; b++) {
        const int64_t o = b * LINES_PLACES;
        const int64_t n = attn__min(LINES_PLACES, job->taps->n_out - o);
        for (int64_t c = 0; c < job->channels; c += LINES_CHANNELS)
            K(lines_block)(job, o, n, c, attn__min(LINES_CHANNELS, job->channels - c));
    }
}

static void K(lines_share)(const attn__call *c, K(lines_job) * job,
                           void (*body)(void *, int64_t, int64_t))
{
    const int64_t grain = ATTN__PICTURE_GRAIN / LINES_PLACES / attn__max(1, job->channels) + 1;
    attn__call_share(c, attn__ceil_div(job->n, LINES_PLACES), grain, body, job);
}

/* x channels x n to n x channels. */
static void K(lines_turn)(const attn__call *c, const real *x, int64_t channels, int64_t n,
                          real *turned)
{
    K(lines_job) job = {.channels = channels, .n = n, .from = x, .to = turned};
    K(lines_share)(c, &job, K(lines_turn_blocks));
}

/* y (channels x outputs) = or += taps of x (inputs x channels). */
static void K(lines_taps)(const attn__call *c, const attn__taps *taps, const real *x,
                          int64_t channels, real *y, bool add)
{
    K(lines_job) job = {taps, channels, taps->n_out, x, y, add};
    K(lines_share)(c, &job, K(lines_blocks));
}

static real *K(lines_room)(attn__call *c, int64_t channels, int64_t n)
{
    return attn__call_temp(c, attn__max(1, channels * n), sizeof(real));
}

/* ---- sampling on a grid ----------------------------------------------------------------- */

typedef struct K(grid_job) {
    int64_t n, channels, size[2], pixels, places; /* places: h w of a sample */
    int64_t units;
    const real *x, *grid;
    const real *lines, *dy; /* of one sample: pixels x channels, places x channels */
    real *d_grid;           /* of this sample */
    int64_t sample;
} K(grid_job);

static K(grid_job) K(grid_job_of)(const attn__call *c)
{
    const attn_tensor *x = &c->in[0], *grid = &c->in[1];
    return (K(grid_job)){.n = x->shape[0],
                         .channels = x->shape[1],
                         .size = {x->shape[2], x->shape[3]},
                         .pixels = x->shape[2] * x->shape[3],
                         .places = grid->shape[1] * grid->shape[2],
                         .units = c->attr.i[0]};
}

static attn__spot K(grid_spot)(const K(grid_job) * job, int64_t place)
{
    const real *at = job->grid + 2 * (job->sample * job->places + place);
    return attn__spot_of((double)at[0], (double)at[1], job->size, job->units);
}

/* The taps of one sample. */
static void K(grid_taps)(const K(grid_job) * job, bool lost, attn__taps *taps)
{
    for (int64_t o = 0; o < job->places; o++) {
        const attn__spot spot = K(grid_spot)(job, o);
        attn__spot_taps(&spot, job->size, lost, taps, o);
    }
}

static attn_status K(grid_sample_forward)(attn__call *c)
{
    attn__taps taps;
    if (attn_tensor_count(c->out[0]) == 0) return ATTN_OK;
    K(grid_job) job = K(grid_job_of)(c);
    const int64_t channels = job.channels;
    real *y = c->out[0].data, *lines = K(lines_room)(c, channels, job.pixels);
    job.x = attn__call_reals(c, &c->in[0]);
    job.grid = attn__call_reals(c, &c->in[1]);
    if (!lines || !job.x || !job.grid ||
        !attn__taps_make(c, &taps, job.places, job.pixels, 4 * job.places))
        return ATTN_E_MEMORY;
    for (; job.sample < job.n; job.sample++) {
        K(grid_taps)(&job, true, &taps);
        K(lines_turn)
        (c, job.x + job.sample * channels * job.pixels, channels, job.pixels, lines);
        K(lines_taps)(c, &taps, lines, channels, y + job.sample * channels * job.places, false);
    }
    return ATTN_OK;
}

/* The pixel that all channels have at y x; NULL: outside, 0. */
static const real *K(grid_pixel)(const K(grid_job) * job, int64_t y, int64_t x)
{
    const bool inside = x >= 0 && y >= 0 && x < job->size[1] && y < job->size[0];
    return inside ? job->lines + (y * job->size[1] + x) * job->channels : NULL;
}

/* Places [from, to) of a sample. */
static void K(grid_d_places)(void *arg, int64_t from, int64_t to)
{
    const K(grid_job) *job = arg;
    for (int64_t i = from; i < to; i++) {
        const attn__spot s = K(grid_spot)(job, i);
        const real *p00 = K(grid_pixel)(job, s.y, s.x), *p01 = K(grid_pixel)(job, s.y, s.x + 1);
        const real *p10 = K(grid_pixel)(job, s.y + 1, s.x);
        const real *p11 = K(grid_pixel)(job, s.y + 1, s.x + 1);
        double dx = s.lost ? (double)NAN : 0, dy = dx;
        for (int64_t c = 0; c < job->channels && s.inside; c++) {
            const double d = (double)job->dy[i * job->channels + c];
            const double v00 = p00 ? (double)p00[c] : 0, v01 = p01 ? (double)p01[c] : 0;
            const double v10 = p10 ? (double)p10[c] : 0, v11 = p11 ? (double)p11[c] : 0;
            dx += d * ((1 - s.part_y) * (v01 - v00) + s.part_y * (v11 - v10));
            dy += d * ((1 - s.part_x) * (v10 - v00) + s.part_x * (v11 - v01));
        }
        job->d_grid[2 * i] = (real)((double)job->d_grid[2 * i] + dx * s.slope_x);
        job->d_grid[2 * i + 1] = (real)((double)job->d_grid[2 * i + 1] + dy * s.slope_y);
    }
}

/* Of one sample, whose dy lies as places x channels. */
static void K(grid_d_x)(const attn__call *c, const K(grid_job) * job, attn__taps *taps,
                        attn__taps *turned)
{
    real *dx = c->d_in[0].data;
    if (job->pixels == 0) return;
    K(grid_taps)(job, false, taps);
    attn__taps_turn(taps, turned);
    K(lines_taps)
    (c, turned, job->dy, job->channels, dx + job->sample * job->channels * job->pixels, true);
}

static void K(grid_d_grid)(const attn__call *c, K(grid_job) * job, real *lines)
{
    const int64_t grain = ATTN__PICTURE_GRAIN / 16 / job->channels + 1;
    K(lines_turn)
    (c, job->x + job->sample * job->channels * job->pixels, job->channels, job->pixels, lines);
    job->lines = lines;
    job->d_grid = (real *)c->d_in[1].data + 2 * job->sample * job->places;
    attn__call_share(c, job->places, grain, K(grid_d_places), job);
}

static attn_status K(grid_sample_backward)(attn__call *c)
{
    attn__taps taps = {0}, turned = {0};
    const attn_tensor *dy = &c->d_out[0];
    if (!attn__present(dy) || attn_tensor_count(*dy) == 0) return ATTN_OK;
    K(grid_job) job = K(grid_job_of)(c);
    const bool to_x = attn__present(&c->d_in[0]), to_grid = attn__present(&c->d_in[1]);
    real *d = K(lines_room)(c, job.channels, job.places);
    real *lines = K(lines_room)(c, job.channels, to_grid ? job.pixels : 0);
    job.x = attn__call_reals(c, &c->in[0]);
    job.grid = attn__call_reals(c, &c->in[1]);
    if (!d || !lines || !job.x || !job.grid) return ATTN_E_MEMORY;
    if (to_x && (!attn__taps_make(c, &taps, job.places, job.pixels, 4 * job.places) ||
                 !attn__taps_make(c, &turned, job.pixels, job.places, 4 * job.places)))
        return ATTN_E_MEMORY;
    for (job.dy = d; job.sample < job.n; job.sample++) {
        const int64_t at = job.sample * job.channels * job.places;
        K(lines_turn)(c, (const real *)dy->data + at, job.channels, job.places, d);
        if (to_x) K(grid_d_x)(c, &job, &taps, &turned);
        if (to_grid) K(grid_d_grid)(c, &job, lines);
    }
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
