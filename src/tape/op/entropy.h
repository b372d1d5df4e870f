/* SPDX-License-Identifier: MIT
 * Cross-entropy from logits, and the log-probability of a class. A row has C logits x and a
 * class y; top is its largest logit, sum that of exp(x - top) in f64, classes ascending.
 *   log p_c    = (x_c - top) - log sum
 *   log_prob   = log p_y
 *   loss       = -(1 - e) log p_y - e/C (sum of log p_c)                e: smoothing
 *   d_x_c      = d (p_c - (1 - e) [c = y] - e/C)
 * A row whose class is the ignored number counts nothing, in the mean either. exp runs in
 * reals, the rest in f64. Kept for the backward: top and sum of each row. */
#ifndef ATTN__TAPE_OP_ENTROPY_H
#define ATTN__TAPE_OP_ENTROPY_H

#include "tape/op/loss.h"

typedef struct entropy_peak {
    double top, sum;
} entropy_peak;

typedef struct entropy_job {
    const attn__call *c;
    int64_t C, rows, ignore, counted;
    double smoothing, sign; /* sign of the loss in the result */
    const real *x;
    const int64_t *ids;
    entropy_peak *peak;
    double *loss;
    real *dx;
} entropy_job;

/* e[i] = exp(x[i] - top) for at most a block. */
static void K(entropy_exps)(const attn__kernels *k, int64_t n, const real *x, double top,
                            real *e)
{
    for (int64_t i = 0; i < n; i++) e[i] = x[i] - (real)top;
    k->map[ATTN__MAP_exp](n, e, e);
}

/* A NaN makes top a NaN. */
static entropy_peak K(entropy_peak_of)(const attn__kernels *k, int64_t C, const real *x)
{
    real e[LOSS_BLOCK], top = -(real)INFINITY;
    entropy_peak peak = {0, 0};
    for (int64_t i = 0; i < C; i++) top = x[i] > top || x[i] != x[i] ? x[i] : top;
    peak.top = (double)top;
    for (int64_t at = 0; at < C; at += LOSS_BLOCK) {
        const int64_t n = attn__min(LOSS_BLOCK, C - at);
        K(entropy_exps)(k, n, x + at, peak.top, e);
        for (int64_t i = 0; i < n; i++) peak.sum += (double)e[i];
    }
    return peak;
}

static void K(entropy_rows)(void *arg, int64_t from, int64_t to)
{
    const double log_2 = 0x1.62e42fefa39efp-1;
    const entropy_job *j = arg;
    for (int64_t row = from; row < to; row++) {
        const real *x = j->x + row * j->C;
        j->loss[row] = 0;
        if (j->ids[row] == j->ignore) continue;
        const entropy_peak p = K(entropy_peak_of)(j->c->k, j->C, x);
        const double log_sum = attn__log2(p.sum) * log_2;
        double below = 0, loss = p.top - (double)x[j->ids[row]];
        for (int64_t i = 0; j->smoothing > 0 && i < j->C; i++) below += p.top - (double)x[i];
        if (j->smoothing > 0)
            loss = (1 - j->smoothing) * loss + j->smoothing * (below / (double)j->C);
        j->loss[row] = loss + log_sum;
        if (j->peak) j->peak[row] = p;
    }
}

static void K(entropy_rows_back)(void *arg, int64_t from, int64_t to)
{
    const entropy_job *j = arg;
    real e[LOSS_BLOCK];
    const double flat = j->smoothing / (double)j->C;
    for (int64_t row = from; row < to; row++) {
        const int64_t first = row * j->C, y = j->ids[row];
        const entropy_peak p = j->peak[row];
        if (y == j->ignore) continue;
        const double d = j->sign * K(loss_reaching)(j->c, row, j->counted), inverse = 1 / p.sum;
        for (int64_t at = 0; at < j->C; at += LOSS_BLOCK) {
            const int64_t n = attn__min(LOSS_BLOCK, j->C - at);
            real *dx = j->dx + first + at;
            K(entropy_exps)(j->c->k, n, j->x + first + at, p.top, e);
            for (int64_t i = 0; i < n; i++) {
                const double hit = at + i == y ? 1 - j->smoothing : 0;
                dx[i] += (real)(d * (((double)e[i] * inverse - flat) - hit));
            }
        }
    }
}

static attn_status K(entropy_operands)(attn__call *c, entropy_job *j)
{
    j->c = c;
    j->rows = attn_tensor_count(c->in[1]);
    j->C = c->in[0].shape[c->in[0].rank - 1];
    j->x = attn__call_reals(c, &c->in[0]);
    j->ids = attn__call_ints(c, &c->in[1]);
    if (!j->x || !j->ids) return ATTN_E_MEMORY;
    for (int64_t row = 0; row < j->rows; row++) j->counted += j->ids[row] != j->ignore;
    return ATTN_OK;
}

static int64_t K(entropy_grain)(const entropy_job *j)
{
    return attn__max(1, 4096 / attn__max(j->C, 1));
}

static attn_status K(entropy_forward)(attn__call *c, entropy_job *j)
{
    ATTN_TRY(K(entropy_operands)(c, j));
    if (c->recording && !(j->peak = attn__call_save(c, j->rows, sizeof *j->peak)))
        return ATTN_E_MEMORY;
    if (!(j->loss = attn__call_temp(c, j->rows, sizeof(double)))) return ATTN_E_MEMORY;
    attn__call_share(c, j->rows, K(entropy_grain)(j), K(entropy_rows), j);
    real *out = c->out[0].data;
    if (c->attr.i[0] != ATTN_REDUCE_NONE)
        K(loss_total)(c, j->loss, j->rows, j->counted);
    else
        for (int64_t i = 0; i < j->rows; i++)
            out[i] = (real)(j->sign < 0 ? 0 - j->loss[i] : j->loss[i]);
    return ATTN_OK;
}

static attn_status K(entropy_backward)(attn__call *c, entropy_job *j)
{
    if (!c->d_in[0].data) return ATTN_OK;
    ATTN_TRY(K(entropy_operands)(c, j));
    j->peak = c->saved;
    j->dx = c->d_in[0].data;
    attn__call_share(c, j->rows, K(entropy_grain)(j), K(entropy_rows_back), j);
    return ATTN_OK;
}

static attn_status K(cross_entropy_forward)(attn__call *c)
{
    entropy_job j = {.smoothing = c->attr.f[0], .ignore = c->attr.i[1], .sign = 1};
    return K(entropy_forward)(c, &j);
}

static attn_status K(cross_entropy_backward)(attn__call *c)
{
    entropy_job j = {.smoothing = c->attr.f[0], .ignore = c->attr.i[1], .sign = 1};
    return K(entropy_backward)(c, &j);
}

/* attr.i[0] says that nothing is reduced; -1 is no class. */
static attn_status K(log_prob_forward)(attn__call *c)
{
    entropy_job j = {.ignore = -1, .sign = -1};
    return K(entropy_forward)(c, &j);
}

static attn_status K(log_prob_backward)(attn__call *c)
{
    entropy_job j = {.ignore = -1, .sign = -1};
    return K(entropy_backward)(c, &j);
}

#endif
