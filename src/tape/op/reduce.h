/* SPDX-License-Identifier: MIT
 * Over the dimensions c->attr.i[1], a bit each: n numbers become one.
 *
 *   sum, mean    in f64 (sums.h); the gradient g, g / n, goes to all
 *   max          the lowest index of the largest, a NaN being the largest; g goes there
 *   logsumexp    m + log sum exp(x - m), m the largest; g exp(x - m) / sum. -inf when all are,
 *                and then the gradient is 0
 *   norm         sqrt of the sum of squares in f64; g x / norm, 0 at 0 */
#ifndef ATTN__TAPE_OP_REDUCE_H
#define ATTN__TAPE_OP_REDUCE_H

#include "tape/op/binary.h"
#include "tape/op/line.h"

/* A number for each row as a tensor that broadcasts to the operand. */
static attn_tensor K(reduce_kept)(const attn__call *c, const attn_tensor *row_numbers)
{
    int64_t shape[ATTN_MAX_RANK];
    const attn_tensor *a = &c->in[0];
    for (int i = 0; i < a->rank; i++) shape[i] = K(line_bits)(c) >> i & 1 ? 1 : a->shape[i];
    return attn_tensor_make(row_numbers->data, row_numbers->dtype, a->rank, shape);
}

/* ---- sum mean ---------------------------------------------------------------------------- */

static attn_status K(sum_forward)(attn__call *c)
{
    const int64_t count = attn_tensor_count(c->out[0]);
    attn__each e = attn__each_of(c, NULL, &c->in[0]);
    real *y = c->out[0].data;
    ATTN_TRY(attn__each_operand(&e, &c->in[0]));
    const double *sum = K(sums_of)(&e, ~K(line_bits)(c), count);
    if (!sum) return ATTN_E_MEMORY;
    for (int64_t i = 0; i < count; i++) y[i] = (real)sum[i];
    return ATTN_OK;
}

static attn_status K(sum_backward)(attn__call *c)
{
    const attn_tensor g = K(reduce_kept)(c, &c->d_out[0]);
    attn__each e = attn__each_of(c, NULL, &c->d_in[0]);
    if (!attn__present(&c->d_in[0])) return ATTN_OK;
    ATTN_TRY(attn__each_operand(&e, &g));
    return K(sums_add)(&e, 0);
}

/* Of nothing it is 0/0. */
static attn_status K(mean_forward)(attn__call *c)
{
    const int64_t count = attn_tensor_count(c->out[0]);
    const int64_t n = attn__rows_count(&c->in[0], K(line_bits)(c)).n;
    attn__each e = attn__each_of(c, NULL, &c->in[0]);
    real *y = c->out[0].data;
    ATTN_TRY(attn__each_operand(&e, &c->in[0]));
    const double *sum = K(sums_of)(&e, ~K(line_bits)(c), count);
    if (!sum) return ATTN_E_MEMORY;
    for (int64_t i = 0; i < count; i++) y[i] = n > 0 ? (real)(sum[i] / (double)n) : (real)NAN;
    return ATTN_OK;
}

static void K(mean_row)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const double count = (double)attn__rows_count(&c->in[0], K(line_bits)(c)).n;
    const real *g = x[0];
    real *restrict to = y;
    for (int64_t i = 0; i < n; i++) to[i] = (real)((double)g[i] / count);
}

static attn_status K(mean_backward)(attn__call *c)
{
    const attn_tensor g = K(reduce_kept)(c, &c->d_out[0]);
    attn__each e = attn__each_of(c, K(mean_row), &c->d_in[0]);
    if (!attn__present(&c->d_in[0])) return ATTN_OK;
    ATTN_TRY(attn__each_operand(&e, &g));
    return K(sums_add)(&e, 0);
}

/* ---- max: saved are the chosen places of the rows --------------------------------------- */

static void K(max_piece)(void *arg, int64_t from, int64_t to)
{
    const line_job *job = arg;
    const int64_t n = job->shape.n;
    real *y = job->to;
    int64_t *index = job->index;
    for (int64_t r = from; r < to; r++) {
        const real *x = (const real *)job->x + r * n;
        const int64_t top = K(line_top)(n, x);
        y[r] = x[top];
        if (index) index[r] = top;
    }
}

static attn_status K(max_forward)(attn__call *c)
{
    line_job job;
    ATTN_TRY(K(line_open)(c, K(line_bits)(c), true, &job));
    if (c->recording) {
        job.index = attn__call_save(c, job.shape.n_rows, sizeof(int64_t));
        if (!job.index) return ATTN_E_MEMORY;
    }
    job.to = c->out[0].data;
    K(line_run)(&job, K(max_piece));
    return ATTN_OK;
}

static void K(max_slope)(void *arg, int64_t from, int64_t to)
{
    const line_job *job = arg;
    const int64_t *index = job->index;
    const real *g = job->g;
    for (int64_t r = from; r < to; r++) ((real *)job->to)[r * job->shape.n + index[r]] += g[r];
}

static attn_status K(max_backward)(attn__call *c)
{
    line_job job;
    if (!attn__present(&c->d_in[0])) return ATTN_OK;
    ATTN_TRY(K(line_open)(c, K(line_bits)(c), false, &job));
    job.g = c->d_out[0].data;
    job.index = c->saved;
    return K(line_add)(&job, c, K(line_bits)(c), K(max_slope));
}

/* ---- logsumexp --------------------------------------------------------------------------- */

static void K(logsumexp_piece)(void *arg, int64_t from, int64_t to)
{
    const line_job *job = arg;
    const int64_t n = job->shape.n;
    for (int64_t r = from; r < to; r++) {
        const real *x = (const real *)job->x + r * n, m = K(line_max)(n, x);
        const double sum = K(line_exp_sum)(job->c->k, n, x, m);
        const double lse = (double)m + K(line_log)(sum);
        const bool bare = m - m != 0 && !K(line_has_nan)(n, x);
        ((real *)job->to)[r] = bare ? m : (real)lse;
    }
}

static attn_status K(logsumexp_forward)(attn__call *c)
{
    line_job job;
    ATTN_TRY(K(line_open)(c, K(line_bits)(c), true, &job));
    job.to = c->out[0].data;
    K(line_run)(&job, K(logsumexp_piece));
    return ATTN_OK;
}

static void K(logsumexp_row)(const attn__kernels *k, int64_t n, const real *x, real g,
                             real *restrict to)
{
    const real m = K(line_max)(n, x);
    if (m == -(real)INFINITY && !K(line_has_nan)(n, x)) return;
    const double gain = (double)g / K(line_exp_sum)(k, n, x, m);
    real room[ATTN__WALK_BLOCK];
    for (int64_t i = 0; i < n; i += ATTN__WALK_BLOCK) {
        const int64_t part = attn__min(ATTN__WALK_BLOCK, n - i);
        K(line_exp)(k, part, x + i, m, room);
        for (int64_t j = 0; j < part; j++) to[i + j] += (real)((double)room[j] * gain);
    }
}

static void K(logsumexp_slope)(void *arg, int64_t from, int64_t to)
{
    const line_job *job = arg;
    const int64_t n = job->shape.n;
    for (int64_t r = from; r < to; r++) K(logsumexp_row)
    (job->c->k, n, (const real *)job->x + r * n, ((const real *)job->g)[r],
     (real *)job->to + r * n);
}

static attn_status K(logsumexp_backward)(attn__call *c)
{
    line_job job;
    if (!attn__present(&c->d_in[0])) return ATTN_OK;
    ATTN_TRY(K(line_open)(c, K(line_bits)(c), true, &job));
    job.g = c->d_out[0].data;
    return K(line_add)(&job, c, K(line_bits)(c), K(logsumexp_slope));
}

/* ---- norm -------------------------------------------------------------------------------- */

static void K(norm_piece)(void *arg, int64_t from, int64_t to)
{
    const line_job *job = arg;
    const int64_t n = job->shape.n;
    for (int64_t r = from; r < to; r++) {
        const real *x = (const real *)job->x + r * n;
        ((real *)job->to)[r] = (real)sqrt(K(line_dot)(n, x, x));
    }
}

static attn_status K(norm_forward)(attn__call *c)
{
    line_job job;
    ATTN_TRY(K(line_open)(c, K(line_bits)(c), true, &job));
    job.to = c->out[0].data;
    K(line_run)(&job, K(norm_piece));
    return ATTN_OK;
}

static void K(norm_row)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real *g = x[0], *norm = x[1], *from = x[2];
    real *restrict to = y;
    (void)c;
    for (int64_t i = 0; i < n; i++)
        to[i] = norm[i] == 0 ? 0 : (real)((double)g[i] * (double)from[i] / (double)norm[i]);
}

static attn_status K(norm_backward)(attn__call *c)
{
    const attn_tensor g = K(reduce_kept)(c, &c->d_out[0]);
    const attn_tensor norm = K(reduce_kept)(c, &c->out[0]);
    attn__each e = attn__each_of(c, K(norm_row), &c->d_in[0]);
    if (!attn__present(&c->d_in[0])) return ATTN_OK;
    ATTN_TRY(attn__each_operand(&e, &g));
    ATTN_TRY(attn__each_operand(&e, &norm));
    ATTN_TRY(attn__each_operand(&e, &c->in[0]));
    return K(sums_add)(&e, 0);
}

#endif
