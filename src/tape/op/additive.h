/* SPDX-License-Identifier: MIT
 * Additive scores of all pairs without the sums of all pairs:
 *   y[i][j] = sum over a of w[a] tanh(q[i][a] + k[j][a])
 *   back, h once more:  t = g w (1 - h h),  d_q[i] += sum over j of t,  d_k[j] += sum over i,
 *   d_w += g h;  pairs whose g is 0 are left out, whatever stands there
 * tanh runs in reals, a block of keys at a time; sums in f64, each rounded once: those over a in
 * the strands of line.h, the others rows ascending, then keys, and d_w over the leading dims last.
 * A batch entry is one piece of work, forward a row of it. */
#ifndef ATTN__TAPE_OP_ADDITIVE_H
#define ATTN__TAPE_OP_ADDITIVE_H

#include "tape/op/line.h"

typedef struct additive_job {
    const attn__call *c;
    int64_t N, T, S, A, block; /* keys of a block */
    const real *q, *k, *w, *g; /* N T A, N S A, A, N T S */
    real *y;
    double *dq, *dk, *dw; /* N A (a row's), N S A, N A */
    real *h, *d_q;        /* N block A, N T A or NULL */
} additive_job;

/* h = tanh(q + k) of one row and n keys. */
static void K(additive_bend)(const additive_job *j, const real *q, const real *k, int64_t n,
                             real *h)
{
    for (int64_t s = 0; s < n; s++)
        for (int64_t a = 0; a < j->A; a++) h[s * j->A + a] = q[a] + k[s * j->A + a];
    j->c->k->map[ATTN__MAP_tanh](n * j->A, h, h);
}

static attn_status K(additive_open)(attn__call *c, additive_job *j)
{
    const attn_tensor *q = &c->in[0], *k = &c->in[1];
    *j = (additive_job){.c = c,
                        .T = q->shape[q->rank - 2],
                        .S = k->shape[k->rank - 2],
                        .A = q->shape[q->rank - 1],
                        .N = 1,
                        .q = attn__call_reals(c, q),
                        .k = attn__call_reals(c, k),
                        .w = attn__call_reals(c, &c->in[2])};
    for (int d = 0; d + 2 < q->rank; d++) j->N *= q->shape[d];
    j->block = attn__max(1, ATTN__WALK_BLOCK / attn__max(j->A, 1));
    return j->q && j->k && j->w ? ATTN_OK : ATTN_E_MEMORY;
}

/* ---- forward ----------------------------------------------------------------------------- */

/* One pair of more features than a block holds: blocks of its features, in order. */
static double K(additive_long)(const additive_job *j, const real *q, const real *k)
{
    real room[ATTN__WALK_BLOCK];
    double sum = 0;
    for (int64_t a = 0; a < j->A; a += ATTN__WALK_BLOCK) {
        const int64_t n = attn__min(ATTN__WALK_BLOCK, j->A - a);
        for (int64_t i = 0; i < n; i++) room[i] = q[a + i] + k[a + i];
        j->c->k->map[ATTN__MAP_tanh](n, room, room);
        sum += K(line_dot)(n, j->w + a, room);
    }
    return sum;
}

static void K(additive_row)(const additive_job *j, const real *q, const real *k, real *y)
{
    real room[ATTN__WALK_BLOCK];
    if (j->A > ATTN__WALK_BLOCK) {
        for (int64_t s = 0; s < j->S; s++) y[s] = (real)K(additive_long)(j, q, k + s * j->A);
        return;
    }
    for (int64_t from = 0; from < j->S; from += j->block) {
        const int64_t n = attn__min(j->block, j->S - from);
        K(additive_bend)(j, q, k + from * j->A, n, room);
        for (int64_t s = 0; s < n; s++)
            y[from + s] = (real)K(line_dot)(j->A, j->w, room + s * j->A);
    }
}

static void K(additive_piece)(void *arg, int64_t from, int64_t to)
{
    const additive_job *j = arg;
    for (int64_t r = from; r < to; r++)
        K(additive_row)(j, j->q + r * j->A, j->k + r / j->T * j->S * j->A, j->y + r * j->S);
}

static attn_status K(additive_scores_forward)(attn__call *c)
{
    additive_job j;
    if (attn_tensor_count(c->out[0]) == 0) return ATTN_OK;
    ATTN_TRY(K(additive_open)(c, &j));
    j.y = c->out[0].data;
    attn__call_share(c, j.N * j.T, attn__max(1, ATTN__EACH_GRAIN / attn__max(j.S * j.A, 1)),
                     K(additive_piece), &j);
    return ATTN_OK;
}

/* ---- backward ---------------------------------------------------------------------------- */

/* One pair of batch entry n. */
static void K(additive_pair)(const additive_job *j, int64_t n, int64_t key, const real *h,
                             double g)
{
    double *restrict dq = j->dq + n * j->A, *restrict dw = j->dw + n * j->A,
                     *restrict dk = j->dk + (n * j->S + key) * j->A;
    if (g == 0) return;
    for (int64_t a = 0; a < j->A; a++) {
        const double bent = (double)h[a], slope = g * (double)j->w[a] * (1 - bent * bent);
        dq[a] += slope;
        dk[a] += slope;
        dw[a] += g * bent;
    }
}

static void K(additive_row_back)(const additive_job *j, int64_t n, int64_t row)
{
    const int64_t A = j->A;
    const real *k = j->k + n * j->S * A, *g = j->g + row * j->S;
    real *h = j->h + n * j->block * A;
    for (int64_t from = 0; from < j->S; from += j->block) {
        const int64_t many = attn__min(j->block, j->S - from);
        K(additive_bend)(j, j->q + row * A, k + from * A, many, h);
        for (int64_t s = 0; s < many; s++) {
            const double slope = (double)g[from + s];
            K(additive_pair)(j, n, from + s, h + s * A, slope);
        }
    }
}

static void K(additive_slope)(void *arg, int64_t from, int64_t to)
{
    const additive_job *j = arg;
    for (int64_t n = from; n < to; n++)
        for (int64_t row = n * j->T; row < (n + 1) * j->T; row++) {
            double *dq = j->dq + n * j->A;
            for (int64_t a = 0; a < j->A; a++) dq[a] = 0;
            K(additive_row_back)(j, n, row);
            for (int64_t a = 0; j->d_q && a < j->A; a++) {
                real *d = j->d_q + row * j->A + a;
                *d = (real)((double)*d + dq[a]);
            }
        }
}

/* d += x, n numbers; d may be NULL. */
static void K(additive_give)(real *d, const double *x, int64_t n)
{
    for (int64_t i = 0; d && i < n; i++) d[i] = (real)((double)d[i] + x[i]);
}

static attn_status K(additive_scores_backward)(attn__call *c)
{
    additive_job j;
    if (attn_tensor_count(c->d_out[0]) == 0) return ATTN_OK;
    ATTN_TRY(K(additive_open)(c, &j));
    const int64_t keys = j.N * j.S * j.A, sums = j.N * j.A;
    j.g = c->d_out[0].data, j.d_q = c->d_in[0].data;
    j.h = attn__call_temp(c, j.N * j.block * j.A, sizeof(real));
    double *room = attn__call_temp(c, keys + 2 * sums, sizeof(double));
    if (!j.h || !room) return ATTN_E_MEMORY;
    for (int64_t i = 0; i < keys + 2 * sums; i++) room[i] = 0;
    j.dk = room, j.dq = room + keys, j.dw = j.dq + sums;
    attn__call_share(c, j.N, 1, K(additive_slope), &j);
    K(additive_give)(c->d_in[1].data, j.dk, keys);
    for (int64_t n = 1; n < j.N; n++)
        for (int64_t a = 0; a < j.A; a++) j.dw[a] += j.dw[n * j.A + a];
    K(additive_give)(c->d_in[2].data, j.dw, j.A);
    return ATTN_OK;
}

#endif
