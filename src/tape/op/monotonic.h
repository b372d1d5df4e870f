/* SPDX-License-Identifier: MIT
 * Alignments that move forward along the keys.
 *   monotonic   every query starts where the one before it stopped and walks along the keys;
 *               at key j it stops with probability p[i][j], else it goes on:
 *                   q[j] = (1 - p[j-1]) q[j-1] + a[i-1][j],  a[i][j] = p[j] q[j]
 *               back, rows last to first, with g = d_a + what row i + 1 sent, l[S] = 0:
 *                   d_p[j] = q[j] (g[j] - l[j+1]),  l[j] = p[j] g[j] + (1 - p[j]) l[j+1]
 *               and l goes to row i - 1. No division, so any p will do.
 *   chunkwise   a[k] is shared out among the w keys that end at k, by the softmax of u there:
 *                   out[j] = sum over k in j .. j+w-1 of a[k] exp(u[j]) / D[k]
 *               w = 0: among all keys up to k. Then, with the running maximum m and sum s,
 *                   r[j] = a[j] / s[j] + exp(m[j] - m[j+1]) r[j+1],  out[j] = exp(u[j] - m[j])
 * r[j] Exponents are never above 0; where u is -inf a key takes nothing. Both in f64, rounded
 * once a number. Raffel et al. 2017 (1704.00784), Chiu and Raffel 2018 (1712.05382),
 * Arivazhagan et al. 2019 (1906.05218). */
#ifndef ATTN__TAPE_OP_MONOTONIC_H
#define ATTN__TAPE_OP_MONOTONIC_H

#include "tape/op/line.h"

/* ---- monotonic --------------------------------------------------------------------------- */

typedef struct monotonic_job {
    int64_t T, S;
    const real *p, *first, *g; /* N T S, N S (NULL: all at key 0), N T S */
    real *a, *dp, *d_first;    /* N T S, N T S, N S; the latter two may be NULL */
    double *room;              /* N rows of 3 S: q, before, carry */
} monotonic_job;

/* The alignment before row i of sequence n. */
static void K(monotonic_before)(const monotonic_job *job, int64_t n, int64_t i, double *before)
{
    const int64_t S = job->S;
    const real *from = i > 0        ? job->a + (n * job->T + i - 1) * S
                       : job->first ? job->first + n * S
                                    : NULL;
    for (int64_t j = 0; j < S; j++) before[j] = from ? (double)from[j] : (double)(j == 0);
}

static void K(monotonic_reach)(int64_t S, const real *p, const double *before, double *q)
{
    for (int64_t j = 0; j < S; j++)
        q[j] = before[j] + (j > 0 ? (1 - (double)p[j - 1]) * q[j - 1] : 0);
}

static void K(monotonic_piece)(void *arg, int64_t from, int64_t to)
{
    const monotonic_job *job = arg;
    const int64_t S = job->S;
    for (int64_t n = from; n < to; n++) {
        double *q = job->room + 3 * n * S;
        for (int64_t i = 0; i < job->T; i++) {
            const real *p = job->p + (n * job->T + i) * S;
            real *a = job->a + (n * job->T + i) * S;
            K(monotonic_before)(job, n, i, q + S);
            K(monotonic_reach)(S, p, q + S, q);
            for (int64_t j = 0; j < S; j++) a[j] = (real)((double)p[j] * q[j]);
        }
    }
}

static attn_status K(monotonic_open)(attn__call *c, monotonic_job *job)
{
    const attn_tensor *p = &c->in[0], *first = &c->in[1];
    const int64_t S = p->shape[p->rank - 1], T = p->shape[p->rank - 2];
    *job = (monotonic_job){.T = T, .S = S, .p = attn__call_reals(c, p), .a = c->out[0].data};
    const int64_t N = attn_tensor_count(*p) / (T * S);
    job->room = attn__call_temp(c, 3 * N * S, sizeof(double));
    if (attn__present(first) && !(job->first = attn__call_reals(c, first)))
        return ATTN_E_MEMORY;
    return job->p && job->room ? ATTN_OK : ATTN_E_MEMORY;
}

static void K(monotonic_run)(attn__call *c, monotonic_job *job,
                             void (*piece)(void *, int64_t, int64_t))
{
    const int64_t each = job->T * job->S, n = attn_tensor_count(c->out[0]);
    attn__call_share(c, n / each, attn__max(ATTN__EACH_GRAIN / each, 1), piece, job);
}

static attn_status K(monotonic_forward)(attn__call *c)
{
    monotonic_job job;
    if (attn_tensor_count(c->in[0]) == 0) return ATTN_OK;
    ATTN_TRY(K(monotonic_open)(c, &job));
    K(monotonic_run)(c, &job, K(monotonic_piece));
    return ATTN_OK;
}

/* Row i: q is there; carry holds what row i + 1 sent and leaves with what goes to row i - 1. */
static void K(monotonic_row_back)(const monotonic_job *job, int64_t row, const double *q,
                                  double *carry)
{
    const real *p = job->p + row * job->S, *g = job->g + row * job->S;
    double behind = 0;
    for (int64_t j = job->S - 1; j >= 0; j--) {
        const double slope = (double)g[j] + carry[j], at = (double)p[j];
        if (job->dp) {
            real *d = job->dp + row * job->S + j;
            *d = (real)((double)*d + q[j] * (slope - behind));
        }
        carry[j] = behind = at * slope + (1 - at) * behind;
    }
}

static void K(monotonic_slope)(void *arg, int64_t from, int64_t to)
{
    const monotonic_job *job = arg;
    const int64_t S = job->S;
    for (int64_t n = from; n < to; n++) {
        double *q = job->room + 3 * n * S, *carry = q + 2 * S;
        for (int64_t j = 0; j < S; j++) carry[j] = 0;
        for (int64_t i = job->T - 1; i >= 0; i--) {
            const int64_t row = n * job->T + i;
            K(monotonic_before)(job, n, i, q + S);
            K(monotonic_reach)(S, job->p + row * S, q + S, q);
            K(monotonic_row_back)(job, row, q, carry);
        }
        for (int64_t j = 0; job->d_first && j < S; j++) {
            real *d = job->d_first + n * S + j;
            *d = (real)((double)*d + carry[j]);
        }
    }
}

static attn_status K(monotonic_backward)(attn__call *c)
{
    monotonic_job job;
    if (attn_tensor_count(c->in[0]) == 0) return ATTN_OK;
    ATTN_TRY(K(monotonic_open)(c, &job));
    job.g = c->d_out[0].data, job.dp = c->d_in[0].data, job.d_first = c->d_in[1].data;
    K(monotonic_run)(c, &job, K(monotonic_slope));
    return ATTN_OK;
}

/* ---- chunkwise --------------------------------------------------------------------------- */

typedef struct chunk_job {
    int64_t S, w;
    const real *a, *u, *g;
    real *out, *da, *du;
    double *room; /* rows of S, or of 4 S where w is 0 */
} chunk_job;

static int64_t K(chunk_room)(const chunk_job *job)
{
    return (job->w ? 1 : 4) * job->S;
}

/* exp(x - m), x at most m; -inf gives 0 beside any m. */
static double K(chunk_exp)(double x, double m)
{
    return x == -(double)INFINITY ? 0 : attn__exp2((x - m) * 0x1.71547652b82fep+0);
}

/* The chunk that ends at k: its first key, and the maximum and sum of its weights. */
static int64_t K(chunk_ends)(const chunk_job *job, const real *u, int64_t k, double *m,
                             double *sum)
{
    const int64_t first = attn__max(k - job->w + 1, 0);
    *m = (double)K(line_max)(k - first + 1, u + first);
    *sum = 0;
    for (int64_t l = first; l <= k; l++) *sum += K(chunk_exp)((double)u[l], *m);
    return first;
}

static void K(chunk_row)(const chunk_job *job, int64_t row, double *out)
{
    const real *a = job->a + row * job->S, *u = job->u + row * job->S;
    for (int64_t j = 0; j < job->S; j++) out[j] = 0;
    for (int64_t k = 0; k < job->S; k++) {
        double m, sum;
        const int64_t first = K(chunk_ends)(job, u, k, &m, &sum);
        for (int64_t l = first; sum > 0 && l <= k; l++)
            out[l] += (double)a[k] * (K(chunk_exp)((double)u[l], m) / sum);
    }
}

/* c = sum of the weights times g; then d_a += c, d_u += a weight (g - c). */
static void K(chunk_row_back)(const chunk_job *job, int64_t row, double *du)
{
    const int64_t S = job->S;
    const real *a = job->a + row * S, *u = job->u + row * S, *g = job->g + row * S;
    for (int64_t j = 0; j < S; j++) du[j] = 0;
    for (int64_t k = 0; k < S; k++) {
        double m, sum, mean = 0;
        const int64_t first = K(chunk_ends)(job, u, k, &m, &sum);
        if (!(sum > 0)) continue;
        for (int64_t l = first; l <= k; l++)
            mean += K(chunk_exp)((double)u[l], m) / sum * (double)g[l];
        for (int64_t l = first; l <= k; l++)
            du[l] +=
                (double)a[k] * (K(chunk_exp)((double)u[l], m) / sum) * ((double)g[l] - mean);
        if (job->da) job->da[row * S + k] = (real)((double)job->da[row * S + k] + mean);
    }
}

/* Running maximum m and sum s of exp(u - m): up to each key. */
static void K(chunk_prefix)(int64_t S, const real *u, double *m, double *s)
{
    double top = -(double)INFINITY, sum = 0;
    for (int64_t j = 0; j < S; j++) {
        const double x = (double)u[j];
        if (x > top) sum *= K(chunk_exp)(top, x), top = x;
        sum += K(chunk_exp)(x, top);
        m[j] = top, s[j] = sum;
    }
}

/* What keys j .. S-1 carry back: r[j] = x[j] / s[j] + exp(m[j] - m[j+1]) r[j+1]. */
static double K(chunk_carry)(double x, double s, double m, double m_next, double behind)
{
    return (s > 0 ? x / s : 0) + (m == m_next ? behind : K(chunk_exp)(m, m_next) * behind);
}

static void K(prefix_row)(const chunk_job *job, int64_t row, double *out)
{
    const int64_t S = job->S;
    const real *a = job->a + row * S, *u = job->u + row * S;
    double *m = out + S, *s = m + S, r = 0;
    K(chunk_prefix)(S, u, m, s);
    for (int64_t j = S - 1; j >= 0; j--) {
        r = K(chunk_carry)((double)a[j], s[j], m[j], m[j + 1 < S ? j + 1 : j], r);
        out[j] = K(chunk_exp)((double)u[j], m[j]) * r;
    }
}

/* mean[k] runs forward as s does; r as above, and z the same of a mean. */
static void K(prefix_row_back)(const chunk_job *job, int64_t row, double *du)
{
    const int64_t S = job->S;
    const real *a = job->a + row * S, *u = job->u + row * S, *g = job->g + row * S;
    double *m = du + S, *s = m + S, *mean = s + S, sum = 0, r = 0, z = 0;
    K(chunk_prefix)(S, u, m, s);
    for (int64_t k = 0; k < S; k++) {
        if (k > 0 && m[k] > m[k - 1]) sum *= K(chunk_exp)(m[k - 1], m[k]);
        sum += K(chunk_exp)((double)u[k], m[k]) * (double)g[k];
        mean[k] = s[k] > 0 ? sum / s[k] : 0;
        if (job->da) job->da[row * S + k] = (real)((double)job->da[row * S + k] + mean[k]);
    }
    for (int64_t j = S - 1; j >= 0; j--) {
        const double next = m[j + 1 < S ? j + 1 : j];
        r = K(chunk_carry)((double)a[j], s[j], m[j], next, r);
        z = K(chunk_carry)((double)a[j] * mean[j], s[j], m[j], next, z);
        du[j] = K(chunk_exp)((double)u[j], m[j]) * ((double)g[j] * r - z);
    }
}

static void K(chunk_piece)(void *arg, int64_t from, int64_t to)
{
    const chunk_job *job = arg;
    for (int64_t r = from; r < to; r++) {
        double *out = job->room + r * K(chunk_room)(job);
        (job->w ? K(chunk_row) : K(prefix_row))(job, r, out);
        for (int64_t j = 0; j < job->S; j++) job->out[r * job->S + j] = (real)out[j];
    }
}

static void K(chunk_slope)(void *arg, int64_t from, int64_t to)
{
    const chunk_job *job = arg;
    for (int64_t r = from; r < to; r++) {
        double *du = job->room + r * K(chunk_room)(job);
        (job->w ? K(chunk_row_back) : K(prefix_row_back))(job, r, du);
        for (int64_t j = 0; job->du && j < job->S; j++) {
            real *d = job->du + r * job->S + j;
            *d = (real)((double)*d + du[j]);
        }
    }
}

static attn_status K(chunk_open)(attn__call *c, chunk_job *job)
{
    const attn_tensor *a = &c->in[0];
    *job = (chunk_job){.S = a->shape[a->rank - 1],
                       .w = c->attr.i[0],
                       .a = attn__call_reals(c, a),
                       .u = attn__call_reals(c, &c->in[1]),
                       .out = c->out[0].data};
    job->room = attn__call_temp(c, (job->w ? 1 : 4) * attn_tensor_count(*a), sizeof(double));
    return job->a && job->u && job->room ? ATTN_OK : ATTN_E_MEMORY;
}

static void K(chunk_run)(attn__call *c, chunk_job *job, void (*piece)(void *, int64_t, int64_t))
{
    const int64_t grain = ATTN__EACH_GRAIN / job->S / attn__max(job->w, 1);
    attn__call_share(c, attn_tensor_count(c->in[0]) / job->S, attn__max(grain, 1), piece, job);
}

static attn_status K(chunkwise_forward)(attn__call *c)
{
    chunk_job job;
    if (attn_tensor_count(c->in[0]) == 0) return ATTN_OK;
    ATTN_TRY(K(chunk_open)(c, &job));
    K(chunk_run)(c, &job, K(chunk_piece));
    return ATTN_OK;
}

static attn_status K(chunkwise_backward)(attn__call *c)
{
    chunk_job job;
    if (attn_tensor_count(c->in[0]) == 0) return ATTN_OK;
    ATTN_TRY(K(chunk_open)(c, &job));
    job.g = c->d_out[0].data, job.da = c->d_in[0].data, job.du = c->d_in[1].data;
    K(chunk_run)(c, &job, K(chunk_slope));
    return ATTN_OK;
}

#endif
