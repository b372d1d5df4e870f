/* SPDX-License-Identifier: MIT
 * Operations along rows: what a row is asked (its largest number, sums, sums of exponentials),
 * and how rows reach the bodies and come back. Sums run in f64 by eight strands, element i in
 * strand i mod 8; sums of exponentials add blocks of 512, each summed so, in order. */
#ifndef ATTN__TAPE_OP_LINE_H
#define ATTN__TAPE_OP_LINE_H

#include "tape/op/sums.h"

/* ---- questions to a row ------------------------------------------------------------------ */

/* The largest number, whatever NaN there are beside it; -inf when there is none. */
static real K(line_max)(int64_t n, const real *x)
{
    real m[8], top = -(real)INFINITY;
    for (int j = 0; j < 8; j++) m[j] = top;
    for (int64_t i = 0; i + 8 <= n; i += 8)
        for (int j = 0; j < 8; j++) m[j] = x[i + j] > m[j] ? x[i + j] : m[j];
    for (int64_t i = n / 8 * 8; i < n; i++) top = x[i] > top ? x[i] : top;
    for (int j = 0; j < 8; j++) top = m[j] > top ? m[j] : top;
    return top;
}

static bool K(line_has_nan)(int64_t n, const real *x)
{
    int odd = 0;
    for (int64_t i = 0; i < n; i++) odd |= x[i] != x[i];
    return odd;
}

/* The lowest index of the largest, where a NaN is the largest of all; n > 0. */
static int64_t K(line_top)(int64_t n, const real *x)
{
    const bool odd = K(line_has_nan)(n, x);
    const real top = odd ? 0 : K(line_max)(n, x);
    int64_t i = 0;
    while (i < n - 1 && (odd ? x[i] == x[i] : x[i] != top)) i++;
    return i;
}

static inline double K(line_dot_by)(int64_t n, const real *a, const real *b, const bool careful)
{
    double s[8] = {0};
    for (int64_t i = 0; i + 8 <= n; i += 8)
        for (int j = 0; j < 8; j++) {
            const double product = (double)a[i + j] * (double)b[i + j];
            s[j] += careful && a[i + j] == 0 ? 0 : product;
        }
    for (int64_t i = n / 8 * 8, j = 0; i < n; i++, j++)
        s[j] += careful && a[i] == 0 ? 0 : (double)a[i] * (double)b[i];
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

/* Sum of a b over where a is not 0, so that what has no weight may be anything. A finite sum
 * has seen nothing that it must not see, and a product that is 0 changes no bit of it. */
static double K(line_dot)(int64_t n, const real *a, const real *b)
{
    const double sum = K(line_dot_by)(n, a, b, false);
    return fabs(sum) < (double)INFINITY ? sum : K(line_dot_by)(n, a, b, true);
}

/* y = x - m, what exp is taken of. Where m is infinite: -inf stays, all else is NaN. */
static void K(line_shift)(int64_t n, const real *x, real m, real *y)
{
    const real low = -(real)INFINITY;
    if (m - m == 0)
        for (int64_t i = 0; i < n; i++) y[i] = x[i] - m;
    else
        for (int64_t i = 0; i < n; i++) y[i] = x[i] == low ? low : (real)NAN;
}

/* y = exp(x - m), m the largest; NaN beside a NaN or +inf in x, 0 where x is -inf. */
static void K(line_exp)(const attn__kernels *k, int64_t n, const real *x, real m, real *y)
{
    K(line_shift)(n, x, m, y);
    k->map[ATTN__MAP_exp](n, y, y);
}

static double K(line_exp_sum)(const attn__kernels *k, int64_t n, const real *x, real m)
{
    real room[ATTN__WALK_BLOCK];
    double sum = 0;
    for (int64_t i = 0; i < n; i += ATTN__WALK_BLOCK) {
        const int64_t part = attn__min(ATTN__WALK_BLOCK, n - i);
        K(line_exp)(k, part, x + i, m, room);
        sum += K(sums_strands)(part, room);
    }
    return sum;
}

static double K(line_log)(double x)
{
    return 0x1.62e42fefa39efp-1 * attn__log2(x);
}

/* ---- rows of a call ---------------------------------------------------------------------- */

typedef struct line_job {
    const attn__call *c;
    attn__tape_rows shape; /* how many rows, how long */
    const void *x;         /* operand: rows of reals */
    const void *y;         /* result, and */
    const void *g;         /* gradient of the result: rows, or one number a row */
    void *to;              /* rows to fill or to add to */
    int64_t *index;        /* chosen places in the rows */
    double *room;          /* scratch, one for each element */
    bool masked;
    attn__walk mask; /* bytes, as rows */
} line_job;

/* Every shape rule of these families leaves the dimensions of a row as bits in attr.i[1]. */
static uint32_t K(line_bits)(const attn__call *c)
{
    return (uint32_t)c->attr.i[1];
}

/* The job of operand 0, whose rows go along bits; x only if it is asked for. */
static attn_status K(line_open)(attn__call *c, uint32_t bits, bool x, line_job *job)
{
    *job = (line_job){.c = c, .shape = attn__rows_count(&c->in[0], bits)};
    const attn_tensor view = attn__rows_view(&c->in[0], bits);
    if (x) job->x = attn__call_reals(c, &view);
    return x && !job->x ? ATTN_E_MEMORY : ATTN_OK;
}

/* t along bits as dense rows of reals. */
static attn_status K(line_reals)(attn__call *c, const attn_tensor *t, uint32_t bits,
                                 const void **rows)
{
    const attn_tensor view = attn__rows_view(t, bits);
    *rows = attn__call_reals(c, &view);
    return *rows ? ATTN_OK : ATTN_E_MEMORY;
}

static void K(line_run)(line_job *job, void (*piece)(void *arg, int64_t from, int64_t to))
{
    const int64_t grain = ATTN__EACH_GRAIN / attn__max(job->shape.n, 1);
    attn__call_share(job->c, job->shape.n_rows, attn__max(grain, 1), piece, job);
}

/* Runs piece with rows of out[0] to fill. */
static attn_status K(line_fill)(line_job *job, attn__call *c, uint32_t bits,
                                void (*piece)(void *arg, int64_t from, int64_t to))
{
    attn__tape_rows rows;
    ATTN_TRY(attn__rows_open(c, &c->out[0], bits, &rows));
    job->to = rows.data;
    K(line_run)(job, piece);
    attn__rows_store(&rows);
    return ATTN_OK;
}

/* Runs piece with rows of d_in[0] to add to. */
static attn_status K(line_add)(line_job *job, attn__call *c, uint32_t bits,
                               void (*piece)(void *arg, int64_t from, int64_t to))
{
    attn__tape_rows rows;
    ATTN_TRY(attn__rows_open(c, &c->d_in[0], bits, &rows));
    job->to = rows.data;
    K(line_run)(job, piece);
    if (rows.data == c->d_in[0].data) return ATTN_OK;
    attn__each e = attn__each_of(c, NULL, &c->d_in[0]);
    ATTN_TRY(attn__each_operand(&e, &rows.back));
    return K(sums_add)(&e, 0);
}

#endif
