/* SPDX-License-Identifier: MIT
 * Losses of pairs of numbers, x against y: l(x, y) and its slopes in x and y.
 *   bce    softplus(-|x|) + (x > 0 ? x (1 - y) : -x y)    s(x) - y,  -x     s: logistic
 *   mse    (x - y)^2                                      2 (x - y), and the opposite
 *   l1     |x - y|                                        sign, 0 at 0
 *   huber  d^2 / 2 up to delta, then delta (|d| - delta/2)    d cut to -delta .. delta
 * Each is evaluated in f64 (softplus and s in reals). Sums: chains over blocks of 512 elements,
 * then a chain over the blocks, in f64; the result is rounded once. attr.i[0] is the reduction;
 * the mean over nothing is 0. */
#ifndef ATTN__TAPE_OP_LOSS_H
#define ATTN__TAPE_OP_LOSS_H

#include "tape/op/real.h"

enum { LOSS_BLOCK = 512, LOSS_GRAIN = 16 };

/* ---- what every loss does at its end ----------------------------------------------------- */

/* out = the sum of n parts; the mean is over so many. */
static void K(loss_total)(const attn__call *c, const double *part, int64_t n, int64_t counted)
{
    double total = 0;
    for (int64_t i = 0; i < n; i++) total += part[i];
    if (c->attr.i[0] == ATTN_REDUCE_MEAN) total = counted > 0 ? total / (double)counted : 0;
    *(real *)c->out[0].data = (real)total;
}

/* The gradient that reaches the loss of element i. */
static double K(loss_reaching)(const attn__call *c, int64_t i, int64_t counted)
{
    const real *d = c->d_out[0].data;
    if (c->attr.i[0] == ATTN_REDUCE_NONE) return (double)d[i];
    return c->attr.i[0] == ATTN_REDUCE_MEAN ? (double)d[0] / (double)counted : (double)d[0];
}

/* ---- the kinds --------------------------------------------------------------------------- */

/* At most a block of elements. */
typedef struct loss_piece {
    const attn__kernels *k;
    double delta;
    int64_t n;
    const real *x, *y;
} loss_piece;

static void K(loss_bce)(const loss_piece *p, double *loss)
{
    real soft[LOSS_BLOCK];
    for (int64_t i = 0; i < p->n; i++) soft[i] = -R(fabs)(p->x[i]);
    p->k->map[ATTN__MAP_softplus](p->n, soft, soft);
    for (int64_t i = 0; i < p->n; i++) {
        const double x = (double)p->x[i], y = (double)p->y[i], weight = x > 0 ? 1 - y : -y;
        loss[i] = (double)soft[i] + (weight == 0 ? 0 : x * weight);
    }
}

static void K(loss_bce_slope)(const loss_piece *p, double *dx, double *dy)
{
    real s[LOSS_BLOCK];
    p->k->map[ATTN__MAP_sigmoid](p->n, p->x, s);
    for (int64_t i = 0; i < p->n; i++) {
        dx[i] = (double)s[i] - (double)p->y[i];
        dy[i] = -(double)p->x[i];
    }
}

static void K(loss_mse)(const loss_piece *p, double *loss)
{
    for (int64_t i = 0; i < p->n; i++) {
        const double d = (double)p->x[i] - (double)p->y[i];
        loss[i] = d * d;
    }
}

static void K(loss_mse_slope)(const loss_piece *p, double *dx, double *dy)
{
    for (int64_t i = 0; i < p->n; i++) {
        dx[i] = 2 * ((double)p->x[i] - (double)p->y[i]);
        dy[i] = -dx[i];
    }
}

static void K(loss_l1)(const loss_piece *p, double *loss)
{
    for (int64_t i = 0; i < p->n; i++) loss[i] = fabs((double)p->x[i] - (double)p->y[i]);
}

static void K(loss_l1_slope)(const loss_piece *p, double *dx, double *dy)
{
    for (int64_t i = 0; i < p->n; i++) {
        const real x = p->x[i], y = p->y[i];
        dx[i] = (double)((x > y) - (x < y));
        dy[i] = -dx[i];
    }
}

static void K(loss_huber)(const loss_piece *p, double *loss)
{
    for (int64_t i = 0; i < p->n; i++) {
        const double d = fabs((double)p->x[i] - (double)p->y[i]);
        loss[i] = d > p->delta ? p->delta * (d - 0.5 * p->delta) : 0.5 * d * d;
    }
}

static void K(loss_huber_slope)(const loss_piece *p, double *dx, double *dy)
{
    for (int64_t i = 0; i < p->n; i++) {
        const double d = (double)p->x[i] - (double)p->y[i];
        dx[i] = d > p->delta ? p->delta : d < -p->delta ? -p->delta : d;
        dy[i] = -dx[i];
    }
}

typedef struct loss_kind {
    void (*value)(const loss_piece *p, double *loss);
    void (*slope)(const loss_piece *p, double *dx, double *dy);
} loss_kind;

static const loss_kind loss_kind_bce = {K(loss_bce), K(loss_bce_slope)};
static const loss_kind loss_kind_mse = {K(loss_mse), K(loss_mse_slope)};
static const loss_kind loss_kind_l1 = {K(loss_l1), K(loss_l1_slope)};
static const loss_kind loss_kind_huber = {K(loss_huber), K(loss_huber_slope)};

/* ---- over all elements ------------------------------------------------------------------- */

typedef struct loss_job {
    const attn__call *c;
    const loss_kind *kind;
    int64_t n;
    const real *x, *y;
    real *each;    /* n, or NULL: sums are wanted */
    double *sum;   /* of each block */
    real *dx, *dy; /* n, or NULL */
} loss_job;

static loss_piece K(loss_piece_of)(const loss_job *j, int64_t block)
{
    const int64_t at = block * LOSS_BLOCK;
    return (loss_piece){.k = j->c->k,
                        .delta = j->c->attr.f[0],
                        .n = attn__min(LOSS_BLOCK, j->n - at),
                        .x = j->x + at,
                        .y = j->y + at};
}

static void K(loss_blocks)(void *arg, int64_t from, int64_t to)
{
    const loss_job *j = arg;
    double loss[LOSS_BLOCK];
    for (int64_t block = from; block < to; block++) {
        const loss_piece p = K(loss_piece_of)(j, block);
        j->kind->value(&p, loss);
        double sum = 0;
        for (int64_t i = 0; i < p.n; i++) sum += loss[i];
        if (j->each)
            for (int64_t i = 0; i < p.n; i++) j->each[block * LOSS_BLOCK + i] = (real)loss[i];
        else
            j->sum[block] = sum;
    }
}

static void K(loss_blocks_back)(void *arg, int64_t from, int64_t to)
{
    const loss_job *j = arg;
    double dx[LOSS_BLOCK], dy[LOSS_BLOCK];
    for (int64_t block = from; block < to; block++) {
        const loss_piece p = K(loss_piece_of)(j, block);
        j->kind->slope(&p, dx, dy);
        for (int64_t i = 0; i < p.n; i++) {
            const int64_t at = block * LOSS_BLOCK + i;
            const double d = K(loss_reaching)(j->c, at, j->n);
            if (j->dx) j->dx[at] += (real)(d * dx[i]);
            if (j->dy) j->dy[at] += (real)(d * dy[i]);
        }
    }
}

static attn_status K(loss_operands)(attn__call *c, loss_job *j)
{
    j->c = c;
    j->n = attn_tensor_count(c->in[0]);
    j->x = attn__call_reals(c, &c->in[0]);
    j->y = attn__call_reals(c, &c->in[1]);
    return j->x && j->y ? ATTN_OK : ATTN_E_MEMORY;
}

static attn_status K(loss_forward)(attn__call *c, const loss_kind *kind)
{
    loss_job j = {.kind = kind};
    ATTN_TRY(K(loss_operands)(c, &j));
    const int64_t blocks = attn__ceil_div(j.n, LOSS_BLOCK);
    const bool each = c->attr.i[0] == ATTN_REDUCE_NONE;
    if (each)
        j.each = c->out[0].data;
    else if (!(j.sum = attn__call_temp(c, blocks, sizeof(double))))
        return ATTN_E_MEMORY;
    attn__call_share(c, blocks, LOSS_GRAIN, K(loss_blocks), &j);
    if (!each) K(loss_total)(c, j.sum, blocks, j.n);
    return ATTN_OK;
}

static attn_status K(loss_backward)(attn__call *c, const loss_kind *kind)
{
    loss_job j = {.kind = kind, .dx = c->d_in[0].data, .dy = c->d_in[1].data};
    ATTN_TRY(K(loss_operands)(c, &j));
    attn__call_share(c, attn__ceil_div(j.n, LOSS_BLOCK), LOSS_GRAIN, K(loss_blocks_back), &j);
    return ATTN_OK;
}

static attn_status K(bce_forward)(attn__call *c)
{
    return K(loss_forward)(c, &loss_kind_bce);
}

static attn_status K(bce_backward)(attn__call *c)
{
    return K(loss_backward)(c, &loss_kind_bce);
}

static attn_status K(mse_forward)(attn__call *c)
{
    return K(loss_forward)(c, &loss_kind_mse);
}

static attn_status K(mse_backward)(attn__call *c)
{
    return K(loss_backward)(c, &loss_kind_mse);
}

static attn_status K(l1_forward)(attn__call *c)
{
    return K(loss_forward)(c, &loss_kind_l1);
}

static attn_status K(l1_backward)(attn__call *c)
{
    return K(loss_backward)(c, &loss_kind_l1);
}

static attn_status K(huber_forward)(attn__call *c)
{
    return K(loss_forward)(c, &loss_kind_huber);
}

static attn_status K(huber_backward)(attn__call *c)
{
    return K(loss_backward)(c, &loss_kind_huber);
}

#endif
