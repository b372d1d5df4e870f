/* SPDX-License-Identifier: MIT
 * Normalisers other than softmax, by their definitions, on the scores of one row.
 *
 *   sigmoid  1 / (1 + exp(-(s + a)))      relu2  max(s + a, 0)^2      linear  s + a
 *   entmax   max((alpha - 1) s - tau, 0)^(1 / (alpha - 1)): tau by sorting for alpha 1.5 and 2,
 *            by 200 halvings of an interval for others; alpha below 1.01 is softmax
 *   top_k    leaves all but the k largest out; the rest is softmax
 *
 * Beside a weight stands how far it may be off, as an absolute error in roundings u: what an
 * error e of the argument makes of it, (f(x + e) - f(x - e)) / u, and a few roundings of its
 * own. e of entmax: the score's own error and, through tau, the largest of the row; roundings
 * of (alpha - 1) (s - max s) and of tau, which is within 1 of it. Where a weight or its slope jumps within that error,
 * or two scores that decide are not told apart, the row is at a kink and nothing is compared.
 */
#include "oracle/oracle_call.h"

#include <math.h>
#include <stdlib.h>

enum { NORM_HALVINGS = 200 };

static oracle_real norm_alpha(const oracle_problem *p, int64_t h)
{
    const attn_tensor *t = &p->args->alpha;
    if (t->dtype == ATTN_DTYPE_NONE)
        return p->spec.alpha == 0 ? 1.5L : (oracle_real)p->spec.alpha;
    return (oracle_real)oracle_get(t->dtype, t->data, t->shape[0] == 1 ? 0 : h * t->stride[0]);
}

/* ---- one weight alone -------------------------------------------------------------------- */

static oracle_real norm_sigmoid(oracle_real y)
{
    return 1 / (1 + expl(-y));
}

static void norm_each(const oracle_problem *p, oracle_norm *row, oracle_real seen)
{
    oracle_real shift = (oracle_real)p->spec.norm_shift, part = 1;
    if (p->spec.norm_count) shift = -logl(seen);
    if (p->spec.norm_mean) part = 1 / seen;
    for (int64_t j = 0; j < row->n; j++) {
        oracle_norm_key *key = &row->key[j];
        oracle_real y = key->score + shift, e = key->error + 3 * fabsl(y) + 3 * fabsl(shift);
        oracle_real weight = y, slope = 1, slope_error = 0;
        if (!key->allowed) continue;
        if (p->spec.normaliser == ATTN_NORM_SIGMOID) {
            weight = norm_sigmoid(y);
            slope = weight * norm_sigmoid(-y);
            slope_error = slope * (e + 16);
        } else if (p->spec.normaliser == ATTN_NORM_RELU2) {
            weight = y > 0 ? y * y : 0;
            slope = y > 0 ? 2 * y : 0;
            slope_error = fabsl(y) <= e * p->unit || y > 0 ? 2 * e + 4 * slope : 0;
        }
        key->weight = weight * part;
        key->slope = slope * part;
        key->weight_error = part * (fabsl(slope) * e + e * e * p->unit + 12 * fabsl(weight));
        key->slope_error = part * (slope_error + 4 * slope);
    }
}

/* ---- entmax ------------------------------------------------------------------------------ */

static int norm_descending(const void *a, const void *b)
{
    const oracle_real x = *(const oracle_real *)a, y = *(const oracle_real *)b;
    return (x < y) - (x > y);
}

static oracle_real norm_power(oracle_real x, oracle_real power)
{
    return x > 0 ? powl(x, power) : 0;
}

/* z sorted, times alpha - 1 already: the mass at which the first k alone sum to 1. */
static oracle_real norm_tau_sorted(const oracle_real *z, int64_t n, bool square)
{
    oracle_real sum = 0, squares = 0, best = -(oracle_real)INFINITY;
    for (int64_t k = 1; k <= n; k++) {
        const oracle_real x = z[k - 1] - z[0];
        sum += x;
        squares += x * x;
        const oracle_real mean = sum / (oracle_real)k, spread = squares - sum * mean;
        const oracle_real under = (1 - spread) / (oracle_real)k;
        const oracle_real tau =
            square ? mean - sqrtl(under > 0 ? under : 0) : (sum - 1) / (oracle_real)k;
        if (square ? tau <= x : 1 + (oracle_real)k * x > sum) best = tau + z[0];
    }
    return best;
}

static oracle_real norm_tau_halved(const oracle_real *z, int64_t n, oracle_real power)
{
    oracle_real low = z[0] - 1, high = z[0];
    for (int step = 0; step < NORM_HALVINGS; step++) {
        const oracle_real tau = (low + high) / 2;
        oracle_real sum = 0;
        for (int64_t j = 0; j < n; j++) sum += norm_power(z[j] - tau, power);
        if (sum >= 1)
            low = tau;
        else
            high = tau;
    }
    return low;
}

static oracle_real norm_tau(oracle_real *z, int64_t n, oracle_real alpha)
{
    qsort(z, (size_t)n, sizeof *z, norm_descending);
    if (alpha == 2 || alpha == 1.5L) return norm_tau_sorted(z, n, alpha != 2);
    return norm_tau_halved(z, n, 1 / (alpha - 1));
}

static void norm_edge(oracle_norm *row, oracle_real x, oracle_real power, oracle_real e)
{
    if (power <= 1 && fabsl(x) <= 4 * e) row->kink = true;
}

/* A key or a sink with x = (alpha - 1) s - tau. */
static void norm_entmax_key(oracle_norm *row, oracle_norm_key *key, oracle_real x,
                            oracle_real power, oracle_real e, oracle_real unit)
{
    const oracle_real below = norm_power(x - e, power), above = norm_power(x + e, power);
    const oracle_real log = x > 0 ? fabsl(logl(x)) : 0;
    norm_edge(row, x, power, e);
    key->weight = norm_power(x, power);
    key->weight_error = (above - below) / unit + key->weight * (16 + 8 * power * log);
    key->slope = power == 1 ? (oracle_real)(x > 0) : x > 0 ? powl(x, power - 1) : 0;
    if (power != 1) {
        const oracle_real a = x > e ? powl(x - e, power - 1) : 0;
        const oracle_real b = x + e > 0 ? powl(x + e, power - 1) : 0;
        key->slope_error = fabsl(b - a) / unit + key->slope * (16 + 8 * power * log);
    }
}

/* Softmax by the keys of the row alone. */
static void norm_soft_key(oracle_norm_key *key, oracle_real x, oracle_real sum, oracle_real e)
{
    key->weight = key->slope = expl(x) / sum;
    key->weight_error = key->slope_error = key->weight * (2 * e + 24 + 4 * fabsl(x));
}

static void norm_entmax(const oracle_problem *p, oracle_norm *row, oracle_real *z)
{
    const oracle_real less = row->alpha - 1, unit = p->unit;
    const bool soft = row->alpha < (oracle_real)1.01;
    oracle_real worst = 0, top = -(oracle_real)INFINITY, sum = 0, tau = 0;
    int64_t n = 0;
    oracle_norm_key *key = row->key;
    for (int64_t j = 0; j < row->n + row->sinks; j++) {
        if (!key[j].allowed) continue;
        if (key[j].error > worst) worst = key[j].error;
        if (key[j].score > top) top = key[j].score;
        z[n++] = less * key[j].score;
    }
    if (n == 0) return;
    for (int64_t j = 0; j < row->n + row->sinks && soft; j++)
        if (key[j].allowed) sum += expl(key[j].score - top);
    if (!soft) tau = norm_tau(z, n, row->alpha);
    for (int64_t j = 0; j < row->n + row->sinks; j++) {
        const oracle_real s = key[j].score;
        const oracle_real e = less * (key[j].error + worst) + 3 * fabsl(less * (s - top)) + 8;
        if (!key[j].allowed) continue;
        if (soft)
            norm_soft_key(&key[j], s - top, sum, worst);
        else
            norm_entmax_key(row, &key[j], less * s - tau, 1 / less, e * unit, unit);
    }
}

/* Sums over the row that its derivative by alpha takes. */
static void norm_sums(oracle_norm *row)
{
    row->total = row->h = row->hl = row->worst = 0;
    for (int64_t j = 0; j < row->n + row->sinks; j++) {
        const oracle_norm_key *key = &row->key[j];
        const oracle_real ln = key->weight > 0 ? logl(key->weight) : 0;
        if (!key->allowed) continue;
        row->total += key->slope;
        row->h -= key->weight * ln;
        row->hl -= key->weight * ln * ln;
        if (key->error > row->worst) row->worst = key->error;
    }
}

/* (A - P) / (alpha - 1)^2 + (h - P sum h) / (alpha - 1), P the slopes over their sum and h = -A
 * ln A; near 1 (h ln A - A sum of h ln A) / 2. */
oracle_sum oracle_norm_by_alpha(const oracle_norm *row, int64_t j)
{
    const oracle_norm_key *key = &row->key[j];
    const oracle_real a = key->weight, ln = a > 0 ? logl(a) : 0, less = row->alpha - 1;
    const oracle_real p = row->total == 0 ? 0 : key->slope / row->total;
    const oracle_real far = 1 + fabsl(ln);
    return (oracle_sum){row->alpha < (oracle_real)1.01
                            ? (-a * ln * ln - a * row->hl) / 2
                            : ((a - p) / less + (-a * ln - p * row->h)) / less,
                        (a + p) * far * far + p * row->h + a * fabsl(row->hl), row->worst + 8};
}

/* ---- top_k ------------------------------------------------------------------------------- */

static bool norm_before(const oracle_norm_key *key, int64_t a, int64_t b)
{
    if (key[a].score != key[b].score) return key[a].score > key[b].score;
    return a < b;
}

static void norm_top(const oracle_problem *p, oracle_norm *row)
{
    oracle_norm_key *key = row->key;
    for (int64_t j = 0; j < row->n; j++) {
        int64_t before = 0;
        for (int64_t i = 0; i < row->n; i++)
            before += key[i].allowed && i != j && norm_before(key, i, j);
        key[j].weight = (oracle_real)(before < p->spec.top_k);
    }
    for (int64_t j = 0; j < row->n; j++)
        for (int64_t i = 0; i < row->n && key[j].allowed && key[j].weight == 0; i++) {
            if (!key[i].allowed || key[i].weight == 0) continue;
            const oracle_real gap = key[i].score - key[j].score;
            const oracle_real e = 2 * (key[i].error + key[j].error);
            if (gap > 0 && gap <= e * p->unit) row->kink = true;
        }
    for (int64_t j = 0; j < row->n; j++) key[j].allowed = key[j].allowed && key[j].weight > 0;
}

/* ---- a row ------------------------------------------------------------------------------- */

static void norm_sinks(const oracle_problem *p, int64_t n, int64_t h, oracle_norm *row)
{
    row->sinks = 2;
    oracle_norm_key *key = row->key + row->n;
    key[0] = (oracle_norm_key){.allowed = p->spec.softmax1};
    key[1] = (oracle_norm_key){.allowed = p->sink.data != NULL};
    if (!p->sink.data) return;
    key[1].score = (oracle_real)oracle_read(&p->sink, n, h, 0, 0);
    key[1].error = 4 * fabsl(key[1].score);
}

bool oracle_norm_row(const oracle_problem *p, int64_t n, int64_t h, oracle_norm *row)
{
    oracle_real seen = 0;
    row->kink = false;
    row->alpha = norm_alpha(p, h);
    for (int64_t j = 0; j < row->n; j++) {
        oracle_norm_key *key = &row->key[j];
        seen += key->allowed;
        key->weight = key->weight_error = key->slope = key->slope_error = 0;
    }
    norm_sinks(p, n, h, row);
    if (p->spec.normaliser == ATTN_NORM_TOP_K) {
        norm_top(p, row);
        return true;
    }
    if (p->spec.normaliser != ATTN_NORM_ENTMAX) {
        norm_each(p, row, seen);
        return true;
    }
    oracle_real *z = malloc(((size_t)row->n + 2) * sizeof *z);
    if (z) norm_entmax(p, row, z);
    if (z) norm_sums(row);
    free(z);
    return z != NULL;
}

bool oracle_norm_make(oracle_norm *row, int64_t keys)
{
    *row = (oracle_norm){.n = keys};
    row->key = malloc(((size_t)keys + 2) * sizeof *row->key);
    return row->key != NULL;
}

void oracle_norm_free(oracle_norm *row)
{
    free(row->key);
    row->key = NULL;
}
