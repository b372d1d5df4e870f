/* SPDX-License-Identifier: MIT
 * Chance without a state: element number e (row-major) of an operation draws word e & 3 of
 * Philox 4x32-10 at counter {e / 4, its high half, 0, kind} with the seed as key. kind keeps
 * operations with one seed apart: 1 dropout, 2 gumbel_softmax, 3 categorical.
 *   dropout          y = word < floor(p 2^32) ? 0 : x / (1 - p)
 *   gumbel_softmax   softmax((x - log(-log u)) / temperature), u = (word + 1/2) / 2^32
 *                    d_x = y (d_y - sum of y d_y) / temperature
 *   categorical      row number e; u = (words 0 and 1 of the block, the upper 52 bits of both,
 *                    + 1/2) / 2^52; the first class where the running sum of exp(x - top)
 *                    exceeds u times the whole; block e, not e / 4
 * Noise and sums are f64, exp runs in reals. A line whose logits are all -inf has weights 0; a
 * row without a class that can be drawn draws 0. */
#ifndef ATTN__TAPE_OP_CHANCE_H
#define ATTN__TAPE_OP_CHANCE_H

#include "tape/op/entropy.h"

enum { CHANCE_DROPOUT = 1, CHANCE_GUMBEL, CHANCE_CATEGORICAL, CHANCE_GRAIN = 4096 };

static void K(chance_block)(const attn__call *c, uint64_t block, uint32_t kind,
                            uint32_t words[4])
{
    const uint64_t seed = (uint64_t)c->attr.i[0];
    const uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), 0, kind};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    attn__philox(counter, key, words);
}

/* ---- dropout ----------------------------------------------------------------------------- */

typedef struct chance_drop {
    const attn__call *c;
    const real *x;
    real *y;
    bool add;
} chance_drop;

static void K(chance_drop_piece)(void *arg, int64_t from, int64_t to)
{
    const chance_drop *j = arg;
    const double p = j->c->attr.f[0];
    const uint64_t limit = (uint64_t)(p * 0x1p32);
    const real scale = (real)(1 / (1 - p));
    uint32_t words[4];
    for (int64_t e = from; e < to; e++) {
        if (e == from || (e & 3) == 0)
            K(chance_block)(j->c, (uint64_t)e >> 2, CHANCE_DROPOUT, words);
        const real kept = words[e & 3] < limit ? 0 : j->x[e] * scale;
        j->y[e] = j->add ? j->y[e] + kept : kept;
    }
}

static attn_status K(dropout_forward)(attn__call *c)
{
    chance_drop j = {c, attn__call_reals(c, &c->in[0]), c->out[0].data, false};
    if (!j.x) return ATTN_E_MEMORY;
    attn__call_share(c, attn_tensor_count(c->out[0]), CHANCE_GRAIN, K(chance_drop_piece), &j);
    return ATTN_OK;
}

static attn_status K(dropout_backward)(attn__call *c)
{
    chance_drop j = {c, c->d_out[0].data, c->d_in[0].data, true};
    attn__call_share(c, attn_tensor_count(c->d_out[0]), CHANCE_GRAIN, K(chance_drop_piece), &j);
    return ATTN_OK;
}

/* ---- gumbel_softmax ---------------------------------------------------------------------- */

typedef struct chance_gumbel {
    const attn__call *c;
    attn__axis axis;
    double temperature;
    const real *x, *dy;
    double *s; /* logits with noise over the temperature */
    real *y, *dx;
} chance_gumbel;

static void K(chance_gumbel_noise)(void *arg, int64_t from, int64_t to)
{
    const double log_2 = 0x1.62e42fefa39efp-1;
    const chance_gumbel *j = arg;
    uint32_t words[4];
    for (int64_t e = from; e < to; e++) {
        if (e == from || (e & 3) == 0)
            K(chance_block)(j->c, (uint64_t)e >> 2, CHANCE_GUMBEL, words);
        const double u = ((double)words[e & 3] + 0.5) * 0x1p-32;
        const double noise = -attn__log2(-attn__log2(u) * log_2) * log_2;
        j->s[e] = ((double)j->x[e] + noise) / j->temperature;
    }
}

/* Lines of n, an element every `after`. */
static void K(chance_gumbel_lines)(void *arg, int64_t from, int64_t to)
{
    const chance_gumbel *j = arg;
    const int64_t n = j->axis.n, step = j->axis.after;
    real e[LOSS_BLOCK];
    for (int64_t line = from; line < to; line++) {
        const int64_t first = line / step * n * step + line % step;
        const double *s = j->s + first;
        real *y = j->y + first;
        double top = -(double)INFINITY, sum = 0;
        for (int64_t i = 0; i < n; i++)
            top = s[i * step] > top || s[i * step] != s[i * step] ? s[i * step] : top;
        const double base = top == -(double)INFINITY ? 0 : top;
        for (int64_t at = 0; at < n; at += LOSS_BLOCK) {
            const int64_t some = attn__min(LOSS_BLOCK, n - at);
            for (int64_t i = 0; i < some; i++) e[i] = (real)(s[(at + i) * step] - base);
            j->c->k->map[ATTN__MAP_exp](some, e, e);
            for (int64_t i = 0; i < some; i++) sum += (double)(y[(at + i) * step] = e[i]);
        }
        for (int64_t i = 0; sum != 0 && i < n; i++)
            y[i * step] = (real)((double)y[i * step] / sum);
    }
}

static void K(chance_gumbel_back)(void *arg, int64_t from, int64_t to)
{
    const chance_gumbel *j = arg;
    const int64_t n = j->axis.n, step = j->axis.after;
    for (int64_t line = from; line < to; line++) {
        const int64_t first = line / step * n * step + line % step;
        const real *y = j->y + first, *dy = j->dy + first;
        real *dx = j->dx + first;
        double mean = 0;
        for (int64_t i = 0; i < n * step; i += step) mean += (double)y[i] * (double)dy[i];
        for (int64_t i = 0; i < n * step; i += step)
            dx[i] += (real)((double)y[i] * ((double)dy[i] - mean) / j->temperature);
    }
}

static chance_gumbel K(chance_gumbel_make)(const attn__call *c, const attn_tensor *of)
{
    return (chance_gumbel){.c = c,
                           .axis = attn__axis_of(of, (int)c->attr.i[1]),
                           .temperature = c->attr.f[0],
                           .y = c->out[0].data};
}

static attn_status K(gumbel_softmax_forward)(attn__call *c)
{
    chance_gumbel j = K(chance_gumbel_make)(c, &c->in[0]);
    const int64_t count = attn_tensor_count(c->in[0]);
    j.x = attn__call_reals(c, &c->in[0]);
    j.s = attn__call_temp(c, count, sizeof(double));
    if (!j.x || !j.s) return ATTN_E_MEMORY;
    if (count == 0) return ATTN_OK;
    attn__call_share(c, count, CHANCE_GRAIN / 4, K(chance_gumbel_noise), &j);
    attn__call_share(c, count / j.axis.n, attn__max(1, CHANCE_GRAIN / j.axis.n),
                     K(chance_gumbel_lines), &j);
    return ATTN_OK;
}

static attn_status K(gumbel_softmax_backward)(attn__call *c)
{
    chance_gumbel j = K(chance_gumbel_make)(c, &c->d_out[0]);
    const int64_t count = attn_tensor_count(c->d_out[0]);
    j.dy = c->d_out[0].data;
    j.dx = c->d_in[0].data;
    if (count == 0) return ATTN_OK;
    attn__call_share(c, count / j.axis.n, attn__max(1, CHANCE_GRAIN / j.axis.n),
                     K(chance_gumbel_back), &j);
    return ATTN_OK;
}

/* ---- categorical ------------------------------------------------------------------------- */

typedef struct chance_draws {
    const attn__call *c;
    int64_t C;
    const real *x;
    int64_t *ids;
} chance_draws;

/* The first class whose running sum exceeds limit; 0 when there is none. */
static int64_t K(chance_find)(const chance_draws *j, const real *x, double top, double limit)
{
    real e[LOSS_BLOCK];
    double sum = 0;
    for (int64_t at = 0; at < j->C; at += LOSS_BLOCK) {
        const int64_t n = attn__min(LOSS_BLOCK, j->C - at);
        K(entropy_exps)(j->c->k, n, x + at, top, e);
        for (int64_t i = 0; i < n; i++)
            if ((sum += (double)e[i]) > limit) return at + i;
    }
    return 0;
}

static void K(chance_draw_rows)(void *arg, int64_t from, int64_t to)
{
    const chance_draws *j = arg;
    uint32_t words[4];
    for (int64_t row = from; row < to; row++) {
        const real *x = j->x + row * j->C;
        const entropy_peak p = K(entropy_peak_of)(j->c->k, j->C, x);
        K(chance_block)(j->c, (uint64_t)row, CHANCE_CATEGORICAL, words);
        const uint64_t bits = ((uint64_t)words[0] << 32 | words[1]) >> 12;
        const double u = ((double)bits + 0.5) * 0x1p-52;
        j->ids[row] = K(chance_find)(j, x, p.top, u * p.sum);
    }
}

static attn_status K(categorical_forward)(attn__call *c)
{
    const attn_tensor *x = &c->in[0];
    chance_draws j = {c, x->shape[x->rank - 1], attn__call_reals(c, x), c->out[0].data};
    if (!j.x) return ATTN_E_MEMORY;
    attn__call_share(c, attn_tensor_count(c->out[0]), attn__max(1, CHANCE_GRAIN / j.C),
                     K(chance_draw_rows), &j);
    return ATTN_OK;
}

#endif
