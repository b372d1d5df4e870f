/* SPDX-License-Identifier: MIT
 * Along the dimension whose bit is c->attr.i[1], line by line.
 *
 *   cumsum       running sum in f64; the gradient is the running sum from the other end
 *   cumprod      running product in f64. dx[k] = (x[0] .. x[k-1]) s[k] with
 *                s[k] = g[k] + x[k+1] s[k+1]: no division, so zeros do no harm
 *   softmax      exp(x - m) / sum; forbidden elements count as -inf, and -inf gives 0, whatever
 *                the line is; +inf makes all else of its line NaN, as a NaN does. dx = y (g -
 * sum y g); where y is 0 g is not looked at log_softmax  x - m - log sum; dx = g - exp(y) sum
 * g; where y is -inf g is not looked at */
#ifndef ATTN__TAPE_OP_SCAN_H
#define ATTN__TAPE_OP_SCAN_H

#include "tape/op/line.h"

/* Most of these: lines of the operand in, lines of the result out. */
static attn_status K(scan_run)(attn__call *c, void (*piece)(void *, int64_t, int64_t))
{
    line_job job;
    ATTN_TRY(K(line_open)(c, K(line_bits)(c), true, &job));
    return K(line_fill)(&job, c, K(line_bits)(c), piece);
}

/* And back: lines of g, and of the operand or the result when the piece reads them. */
static attn_status K(scan_back)(attn__call *c, bool x, bool y,
                                void (*piece)(void *, int64_t, int64_t))
{
    const uint32_t bits = K(line_bits)(c);
    line_job job;
    if (!attn__present(&c->d_in[0])) return ATTN_OK;
    ATTN_TRY(K(line_open)(c, bits, x, &job));
    ATTN_TRY(K(line_reals)(c, &c->d_out[0], bits, &job.g));
    if (y) ATTN_TRY(K(line_reals)(c, &c->out[0], bits, &job.y));
    return K(line_add)(&job, c, bits, piece);
}

/* ---- cumsum ------------------------------------------------------------------------------ */

static void K(cumsum_piece)(void *arg, int64_t from, int64_t to)
{
    const line_job *job = arg;
    const int64_t n = job->shape.n;
    for (int64_t r = from; r < to; r++) {
        const real *x = (const real *)job->x + r * n;
        real *y = (real *)job->to + r * n;
        double sum = 0;
        for (int64_t i = 0; i < n; i++) y[i] = (real)(sum += (double)x[i]);
    }
}

static attn_status K(cumsum_forward)(attn__call *c)
{
    return K(scan_run)(c, K(cumsum_piece));
}

static void K(cumsum_slope)(void *arg, int64_t from, int64_t to)
{
    const line_job *job = arg;
    const int64_t n = job->shape.n;
    for (int64_t r = from; r < to; r++) {
        const real *g = (const real *)job->g + r * n;
        real *d = (real *)job->to + r * n;
        double sum = 0;
        for (int64_t i = n - 1; i >= 0; i--)
            d[i] = (real)((double)d[i] + (sum += (double)g[i]));
    }
}

static attn_status K(cumsum_backward)(attn__call *c)
{
    return K(scan_back)(c, false, false, K(cumsum_slope));
}

/* ---- cumprod ----------------------------------------------------------------------------- */

static void K(cumprod_piece)(void *arg, int64_t from, int64_t to)
{
    const line_job *job = arg;
    const int64_t n = job->shape.n;
    for (int64_t r = from; r < to; r++) {
        const real *x = (const real *)job->x + r * n;
        real *y = (real *)job->to + r * n;
        double product = 1;
        for (int64_t i = 0; i < n; i++) y[i] = (real)(product *= (double)x[i]);
    }
}

static attn_status K(cumprod_forward)(attn__call *c)
{
    return K(scan_run)(c, K(cumprod_piece));
}

static void K(cumprod_slope)(void *arg, int64_t from, int64_t to)
{
    const line_job *job = arg;
    const int64_t n = job->shape.n;
    for (int64_t r = from; r < to; r++) {
        const real *x = (const real *)job->x + r * n, *g = (const real *)job->g + r * n;
        real *d = (real *)job->to + r * n;
        double *s = job->room + r * n, behind = 0, before = 1;
        for (int64_t i = n - 1; i >= 0; i--) {
            s[i] = (double)g[i] + behind;
            behind = (double)x[i] * s[i];
        }
        for (int64_t i = 0; i < n; i++) {
            d[i] = (real)((double)d[i] + before * s[i]);
            before *= (double)x[i];
        }
    }
}

static attn_status K(cumprod_backward)(attn__call *c)
{
    const uint32_t bits = K(line_bits)(c);
    line_job job;
    if (!attn__present(&c->d_in[0])) return ATTN_OK;
    ATTN_TRY(K(line_open)(c, bits, true, &job));
    ATTN_TRY(K(line_reals)(c, &c->d_out[0], bits, &job.g));
    job.room = attn__call_temp(c, attn_tensor_count(c->in[0]), sizeof(double));
    if (!job.room) return ATTN_E_MEMORY;
    return K(line_add)(&job, c, bits, K(cumprod_slope));
}

/* ---- softmax ----------------------------------------------------------------------------- */

/* to = x, -inf where the mask forbids. */
static void K(softmax_allow)(const line_job *job, int64_t row, real *restrict to)
{
    const int64_t n = job->shape.n;
    const real *x = (const real *)job->x + row * n;
    uint8_t room[ATTN__WALK_BLOCK];
    for (int64_t i = 0; i < n; i += ATTN__WALK_BLOCK) {
        const int64_t part = attn__min(ATTN__WALK_BLOCK, n - i);
        const uint8_t *allowed = attn__walk_block(&job->mask, row * n + i, part, room);
        for (int64_t j = 0; j < part; j++) to[i + j] = allowed[j] ? x[i + j] : -(real)INFINITY;
    }
}

/* to = x - m of one row, or -inf: what exp is taken of. */
static void K(softmax_shift)(const line_job *job, int64_t row, real *to)
{
    const int64_t n = job->shape.n;
    const real *x = (const real *)job->x + row * n;
    if (job->masked) {
        K(softmax_allow)(job, row, to);
        x = to;
    }
    K(line_shift)(n, x, K(line_max)(n, x), to);
}

/* y / sum y; what is 0 stays so beside a NaN, and in a line of zeros. */
static void K(softmax_scale)(int64_t n, real *y)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i += ATTN__WALK_BLOCK)
        sum += K(sums_strands)(attn__min(ATTN__WALK_BLOCK, n - i), y + i);
    const double gain = 1 / sum;
    if (sum > 0)
        for (int64_t i = 0; i < n; i++) y[i] = (real)((double)y[i] * gain);
    else
        for (int64_t i = 0; i < n; i++) y[i] = y[i] == 0 ? 0 : (real)NAN;
}

/* Short rows share a call of the map, which sees one element at a time. */
static void K(softmax_piece)(void *arg, int64_t from, int64_t to)
{
    const line_job *job = arg;
    const int64_t n = job->shape.n, many = attn__max(ATTN__WALK_BLOCK / attn__max(n, 1), 1);
    for (int64_t r = from, rows; r < to; r += rows) {
        real *y = (real *)job->to + r * n;
        rows = attn__min(many, to - r);
        for (int64_t i = 0; i < rows; i++) K(softmax_shift)(job, r + i, y + i * n);
        job->c->k->map[ATTN__MAP_exp](rows * n, y, y);
        for (int64_t i = 0; i < rows; i++) K(softmax_scale)(n, y + i * n);
    }
}

static attn_status K(softmax_forward)(attn__call *c)
{
    const uint32_t bits = K(line_bits)(c);
    line_job job;
    ATTN_TRY(K(line_open)(c, bits, true, &job));
    job.masked = attn__present(&c->in[1]);
    if (job.masked) {
        const attn_tensor wide = attn__spread(&c->in[1], &c->in[0]);
        const attn_tensor view = attn__rows_view(&wide, bits);
        job.mask = attn__walk_of(&view, &view);
    }
    return K(line_fill)(&job, c, bits, K(softmax_piece));
}

static void K(softmax_slope)(void *arg, int64_t from, int64_t to)
{
    const line_job *job = arg;
    const int64_t n = job->shape.n;
    for (int64_t r = from; r < to; r++) {
        const real *y = (const real *)job->y + r * n, *g = (const real *)job->g + r * n;
        real *restrict d = (real *)job->to + r * n;
        const double mean = K(line_dot)(n, y, g);
        for (int64_t i = 0; i < n; i++) {
            const double slope = (double)y[i] * ((double)g[i] - mean);
            d[i] += y[i] == 0 ? 0 : (real)slope;
        }
    }
}

static attn_status K(softmax_backward)(attn__call *c)
{
    return K(scan_back)(c, false, true, K(softmax_slope));
}

/* ---- log_softmax ------------------------------------------------------------------------- */

static void K(log_softmax_piece)(void *arg, int64_t from, int64_t to)
{
    const line_job *job = arg;
    const int64_t n = job->shape.n;
    const real low = -(real)INFINITY;
    for (int64_t r = from; r < to; r++) {
        const real *x = (const real *)job->x + r * n, m = K(line_max)(n, x);
        const double lse = (double)m + K(line_log)(K(line_exp_sum)(job->c->k, n, x, m));
        real *y = (real *)job->to + r * n;
        for (int64_t i = 0; i < n; i++) y[i] = x[i] == low ? low : (real)((double)x[i] - lse);
    }
}

static attn_status K(log_softmax_forward)(attn__call *c)
{
    return K(scan_run)(c, K(log_softmax_piece));
}

static void K(log_softmax_block)(const attn__kernels *k, int64_t n, const real *y,
                                 const real *g, double sum, real *restrict d)
{
    real room[ATTN__WALK_BLOCK];
    k->map[ATTN__MAP_exp](n, y, room);
    for (int64_t i = 0; i < n; i++)
        d[i] += y[i] == -(real)INFINITY ? 0 : (real)((double)g[i] - (double)room[i] * sum);
}

static void K(log_softmax_slope)(void *arg, int64_t from, int64_t to)
{
    const line_job *job = arg;
    const int64_t n = job->shape.n;
    for (int64_t r = from; r < to; r++) {
        const real *y = (const real *)job->y + r * n, *g = (const real *)job->g + r * n;
        real *d = (real *)job->to + r * n;
        double sum = 0;
        for (int64_t i = 0; i < n; i++) sum += y[i] == -(real)INFINITY ? 0 : (double)g[i];
        for (int64_t i = 0; i < n; i += ATTN__WALK_BLOCK) K(log_softmax_block)
        (job->c->k, attn__min(ATTN__WALK_BLOCK, n - i), y + i, g + i, sum, d + i);
    }
}

static attn_status K(log_softmax_backward)(attn__call *c)
{
    return K(scan_back)(c, false, true, K(log_softmax_slope));
}

#endif
