/* SPDX-License-Identifier: MIT
 * layernorm, rmsnorm, groupnorm and batchnorm. With n elements in a set, xhat = (x - mean) /
 * sigma and g = d_y w:
 *   d_x = (g - sum(g) / n - xhat sum(g xhat) / n) / sigma,  d_w = sum(d_y xhat),  d_b =
 * sum(d_y) without the middle term where there is no mean, and d_x = g / sigma where the
 * statistics are the caller's. The variance is made in a second pass; statistics and sums are
 * f64, and every result is rounded once. A recording forward saves mean and 1 / sigma of every
 * set. */
#ifndef ATTN__TAPE_OP_NORM_H
#define ATTN__TAPE_OP_NORM_H

#include "tape/norm.h"

typedef struct K(norm_job) {
    attn__norm_plan p;
    int64_t all;     /* channels of x */
    bool by_channel; /* statistics: of a channel, else of a row */
    const real *x, *w, *b, *dy;
    real *y;       /* or d_x */
    double *stats; /* mean and 1 / sigma of each set; NULL: not kept */
    double *sums;  /* of d_y xhat for all channels, then of d_y */
} K(norm_job);

/* Operands and statistics. False: out of memory. */
static bool K(norm_begin)(attn__call *c, attn__norm_kind kind, K(norm_job) * job)
{
    *job = (K(norm_job)){.p = attn__norm_plan_of(c, kind),
                         .by_channel = kind == ATTN__NORM_BATCH,
                         .x = attn__call_reals(c, &c->in[0]),
                         .stats = c->saved};
    const bool has_w = attn__present(&c->in[1]);
    const bool has_b = kind != ATTN__NORM_RMS && attn__present(&c->in[2]);
    job->all = job->p.groups * job->p.channels;
    if (has_w) job->w = attn__call_reals(c, &c->in[1]);
    if (has_b) job->b = attn__call_reals(c, &c->in[2]);
    return job->x && !(has_w && !job->w) && !(has_b && !job->b);
}

static int64_t K(norm_grain)(int64_t each)
{
    return 4096 / attn__max(1, each) + 1;
}

/* ---- forward over rows ------------------------------------------------------------------ */

static void K(norm_moments)(const attn__norm_plan *p, const real *x, double *stats)
{
    const int64_t n = p->channels * p->inner;
    double mean = 0, var = 0;
    for (int64_t i = 0; i < n && p->centred; i++) mean += (double)x[i];
    mean /= (double)n;
    for (int64_t i = 0; i < n; i++) {
        const double away = (double)x[i] - mean;
        var += away * away;
    }
    stats[0] = mean;
    stats[1] = 1 / sqrt(var / (double)n + p->eps);
}

/* y of one plane: inner elements of a channel. */
static void K(norm_plane)(const K(norm_job) * job, int64_t plane, int64_t channel,
                          const double *stats)
{
    const int64_t n = job->p.inner;
    const double scale = stats[1] * (job->w ? (double)job->w[channel] : 1);
    const double shift = job->b ? (double)job->b[channel] : 0;
    for (int64_t i = plane * n; i < (plane + 1) * n; i++)
        job->y[i] = (real)(((double)job->x[i] - stats[0]) * scale + shift);
}

static void K(norm_rows)(void *arg, int64_t from, int64_t to)
{
    const K(norm_job) *job = arg;
    const attn__norm_plan *p = &job->p;
    for (int64_t r = from; r < to; r++) {
        const int64_t first = r % p->groups * p->channels;
        double own[2], *stats = job->stats ? job->stats + 2 * r : own;
        K(norm_moments)(p, job->x + r * p->channels * p->inner, stats);
        for (int64_t ch = 0; ch < p->channels; ch++)
            K(norm_plane)(job, r * p->channels + ch, first + ch, stats);
    }
}

static attn_status K(norm_sets_forward)(attn__call *c, attn__norm_kind kind)
{
    K(norm_job) job;
    if (!K(norm_begin)(c, kind, &job)) return ATTN_E_MEMORY;
    job.y = c->out[0].data;
    if (c->recording) {
        job.stats = attn__call_save(c, 2 * job.p.rows, sizeof *job.stats);
        if (!job.stats) return ATTN_E_MEMORY;
    }
    attn__call_share(c, job.p.rows, K(norm_grain)(job.p.channels * job.p.inner), K(norm_rows),
                     &job);
    return ATTN_OK;
}

/* ---- backward over rows ----------------------------------------------------------------- */

/* Of one row: the means of g and of g xhat. */
static void K(norm_d_means)(const K(norm_job) * job, int64_t r, double *sum, double *product)
{
    const attn__norm_plan *p = &job->p;
    const double *s = job->stats + 2 * r;
    const double n = (double)(p->channels * p->inner);
    const int64_t first = r % p->groups * p->channels;
    int64_t at = r * p->channels * p->inner;
    *sum = *product = 0;
    for (int64_t ch = 0; ch < p->channels; ch++) {
        const double w = job->w ? (double)job->w[first + ch] : 1;
        for (const int64_t end = at + p->inner; at < end; at++) {
            const double g = (double)job->dy[at] * w;
            *sum += g;
            *product += g * (((double)job->x[at] - s[0]) * s[1]);
        }
    }
    *sum = p->centred ? *sum / n : 0;
    *product /= n;
}

static void K(norm_d_row)(const K(norm_job) * job, int64_t r)
{
    const attn__norm_plan *p = &job->p;
    const double *s = job->stats + 2 * r;
    const int64_t first = r % p->groups * p->channels;
    int64_t at = r * p->channels * p->inner;
    double sum, product;
    K(norm_d_means)(job, r, &sum, &product);
    for (int64_t ch = 0; ch < p->channels; ch++) {
        const double w = job->w ? (double)job->w[first + ch] : 1;
        for (const int64_t end = at + p->inner; at < end; at++) {
            const double hat = ((double)job->x[at] - s[0]) * s[1];
            const double d = s[1] * ((double)job->dy[at] * w - sum - hat * product);
            job->y[at] = (real)((double)job->y[at] + d);
        }
    }
}

static void K(norm_d_rows)(void *arg, int64_t from, int64_t to)
{
    for (int64_t r = from; r < to; r++) K(norm_d_row)(arg, r);
}

/* Channels [from, to): sample after sample, so that memory is read in order. */
static void K(norm_sums)(void *arg, int64_t from, int64_t to)
{
    const K(norm_job) *job = arg;
    const attn__norm_plan *p = &job->p;
    for (int64_t ch = from; ch < to; ch++) job->sums[ch] = job->sums[job->all + ch] = 0;
    for (int64_t n = 0; n < p->rows / p->groups; n++)
        for (int64_t ch = from; ch < to; ch++) {
            const int64_t group = p->groups == 1 ? 0 : ch / p->channels;
            const int64_t set = job->by_channel ? ch : n * p->groups + group;
            const int64_t first = (n * job->all + ch) * p->inner;
            const double *s = job->stats + 2 * set;
            double product = job->sums[ch], sum = job->sums[job->all + ch];
            for (int64_t i = first; i < first + p->inner; i++) {
                product += (double)job->dy[i] * (((double)job->x[i] - s[0]) * s[1]);
                sum += (double)job->dy[i];
            }
            job->sums[ch] = product;
            job->sums[job->all + ch] = sum;
        }
}

/* Makes the sums and adds them to d_w and d_b, where those are asked for. */
static attn_status K(norm_d_weights)(attn__call *c, K(norm_job) * job)
{
    const int64_t samples = job->p.rows / job->p.groups;
    job->sums = attn__call_temp(c, 2 * job->all, sizeof *job->sums);
    if (!job->sums) return ATTN_E_MEMORY;
    attn__call_share(c, job->all, K(norm_grain)(samples * job->p.inner), K(norm_sums), job);
    for (int i = 1; i <= 2 && i < c->n_in; i++) {
        real *d = c->d_in[i].data;
        const double *sums = job->sums + (i - 1) * job->all;
        for (int64_t ch = 0; ch < job->all && attn__present(&c->d_in[i]); ch++)
            d[ch] = (real)((double)d[ch] + sums[ch]);
    }
    return ATTN_OK;
}

static bool K(norm_idle)(const attn__call *c)
{
    return !attn__present(&c->d_out[0]) || attn_tensor_count(c->d_out[0]) == 0;
}

static attn_status K(norm_sets_backward)(attn__call *c, attn__norm_kind kind)
{
    K(norm_job) job;
    if (K(norm_idle)(c)) return ATTN_OK;
    if (!K(norm_begin)(c, kind, &job)) return ATTN_E_MEMORY;
    job.dy = c->d_out[0].data;
    job.y = c->d_in[0].data;
    if (attn__present(&c->d_in[0]))
        attn__call_share(c, job.p.rows, K(norm_grain)(job.p.channels * job.p.inner),
                         K(norm_d_rows), &job);
    const bool d_b = c->n_in > 2 && attn__present(&c->d_in[2]);
    return d_b || attn__present(&c->d_in[1]) ? K(norm_d_weights)(c, &job) : ATTN_OK;
}

static attn_status K(layernorm_forward)(attn__call *c)
{
    return K(norm_sets_forward)(c, ATTN__NORM_LAYER);
}

static attn_status K(layernorm_backward)(attn__call *c)
{
    return K(norm_sets_backward)(c, ATTN__NORM_LAYER);
}

static attn_status K(rmsnorm_forward)(attn__call *c)
{
    return K(norm_sets_forward)(c, ATTN__NORM_RMS);
}

static attn_status K(rmsnorm_backward)(attn__call *c)
{
    return K(norm_sets_backward)(c, ATTN__NORM_RMS);
}

static attn_status K(groupnorm_forward)(attn__call *c)
{
    return K(norm_sets_forward)(c, ATTN__NORM_GROUP);
}

static attn_status K(groupnorm_backward)(attn__call *c)
{
    return K(norm_sets_backward)(c, ATTN__NORM_GROUP);
}

/* ---- batchnorm -------------------------------------------------------------------------- */

/* Channels [from, to): mean and variance over all samples. */
static void K(batch_moments)(void *arg, int64_t from, int64_t to)
{
    const K(norm_job) *job = arg;
    const int64_t inner = job->p.inner;
    const double count = (double)(job->p.rows * inner);
    for (int64_t ch = from; ch < to; ch++) job->stats[2 * ch] = job->stats[2 * ch + 1] = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t n = 0; n < job->p.rows; n++)
            for (int64_t ch = from; ch < to; ch++) {
                const real *x = job->x + (n * job->all + ch) * inner;
                const double mean = pass ? job->stats[2 * ch] : 0;
                double sum = job->stats[2 * ch + pass];
                for (int64_t i = 0; i < inner; i++) {
                    const double away = (double)x[i] - mean;
                    sum += pass ? away * away : away;
                }
                job->stats[2 * ch + pass] = sum;
            }
        for (int64_t ch = from; ch < to; ch++) job->stats[2 * ch + pass] /= count;
    }
}

/* Mean and variance of every channel, the batch's or the caller's. */
static void K(batch_stats)(const attn__call *c, K(norm_job) * job)
{
    const attn_tensor *mean = &c->in[3], *var = &c->in[4];
    const int64_t count = job->p.rows * job->p.inner;
    if (c->attr.i[0]) {
        attn__call_share(c, job->all, K(norm_grain)(count), K(batch_moments), job);
        attn__norm_update(c, count, job->stats);
    }
    for (int64_t ch = 0; ch < job->all; ch++) {
        double *s = job->stats + 2 * ch;
        if (!c->attr.i[0]) {
            s[0] = attn__get(mean->dtype, mean->data, ch * mean->stride[0]);
            s[1] = attn__get(var->dtype, var->data, ch * var->stride[0]);
        }
        s[1] = 1 / sqrt(s[1] + job->p.eps);
    }
}

/* Planes [from, to) of samples channels. */
static void K(batch_planes)(void *arg, int64_t from, int64_t to)
{
    const K(norm_job) *job = arg;
    for (int64_t plane = from; plane < to; plane++) {
        const int64_t ch = plane % job->all;
        K(norm_plane)(job, plane, ch, job->stats + 2 * ch);
    }
}

static attn_status K(batchnorm_forward)(attn__call *c)
{
    K(norm_job) job;
    if (!K(norm_begin)(c, ATTN__NORM_BATCH, &job)) return ATTN_E_MEMORY;
    job.y = c->out[0].data;
    job.stats = c->recording ? attn__call_save(c, 2 * job.all, sizeof *job.stats)
                             : attn__call_temp(c, 2 * job.all, sizeof *job.stats);
    if (!job.stats) return ATTN_E_MEMORY;
    if (attn_tensor_count(c->out[0]) == 0) return ATTN_OK;
    K(batch_stats)(c, &job);
    attn__call_share(c, job.p.rows * job.all, K(norm_grain)(job.p.inner), K(batch_planes),
                     &job);
    return ATTN_OK;
}

typedef struct K(batch_job) {
    K(norm_job) job;
    bool train;
} K(batch_job);

static void K(batch_d_planes)(void *arg, int64_t from, int64_t to)
{
    const K(batch_job) *batch = arg;
    const K(norm_job) *job = &batch->job;
    const int64_t inner = job->p.inner;
    const double count = (double)(job->p.rows * inner);
    for (int64_t plane = from; plane < to; plane++) {
        const int64_t ch = plane % job->all;
        const double *s = job->stats + 2 * ch;
        const double scale = s[1] * (job->w ? (double)job->w[ch] : 1);
        const double product = batch->train ? job->sums[ch] / count : 0;
        const double sum = batch->train ? job->sums[job->all + ch] / count : 0;
        for (int64_t i = plane * inner; i < (plane + 1) * inner; i++) {
            const double hat = ((double)job->x[i] - s[0]) * s[1];
            const double d = scale * ((double)job->dy[i] - sum - hat * product);
            job->y[i] = (real)((double)job->y[i] + d);
        }
    }
}

static attn_status K(batchnorm_backward)(attn__call *c)
{
    K(batch_job) batch = {.train = c->attr.i[0]};
    K(norm_job) *job = &batch.job;
    if (K(norm_idle)(c)) return ATTN_OK;
    if (!K(norm_begin)(c, ATTN__NORM_BATCH, job)) return ATTN_E_MEMORY;
    job->dy = c->d_out[0].data;
    job->y = c->d_in[0].data;
    ATTN_TRY(K(norm_d_weights)(c, job));
    if (!attn__present(&c->d_in[0])) return ATTN_OK;
    attn__call_share(c, job->p.rows * job->all, K(norm_grain)(job->p.inner), K(batch_d_planes),
                     &batch);
    return ATTN_OK;
}

#endif
