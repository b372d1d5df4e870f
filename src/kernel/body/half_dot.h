/* SPDX-License-Identifier: MIT
 * The two products of attention in integers of 16 bits with sums of 32, precision = half
 * (docs/numerics.md, section 17). Two neighbours of a chain - two features of a key, two keys
 * of a column - lie in one word, and one instruction adds both products. Nothing overflows, so
 * sums are exact and their order does not show. A number x becomes n = fma(x, f, M) - M. */
#ifndef ATTN__BODY_HALF_DOT_H
#define ATTN__BODY_HALF_DOT_H

#include "body/real.h"

#include "body/exp2.h"

enum { HALF_CHAINS = 4, HALF_LINE = 16 }; /* sums side by side; pairs in a cache line */

/* The largest of positive floats as integers: in their order a NaN is the largest of all. */
static void K(half_sizes)(int64_t n, int w, const void *t, float *most, float *square)
{
    for (int l = 0; l < w; l += V_LANES) {
        const real *x = (const real *)t + l;
        i_vec top = i_zero();
        v_vec sum = v_set(0);
        for (int64_t d = 0; d < n; d++) {
            const v_vec y = v_load(x + d * w);
            top = i_max(top, i_bits(v_abs(y)));
            sum = v_fma(y, y, sum);
        }
        v_store(most + l, i_floats(top));
        v_store(square + l, sum);
    }
}

/* Rows as they lie: the largest is the same in any order. */
static void K(half_most)(int64_t n, int64_t width, const void *rows, int64_t stride,
                         float *most)
{
    for (int64_t j = 0; j < n; j++) {
        const real *x = (const real *)rows + j * stride;
        i_vec top = i_zero();
        for (int64_t e = 0; e < width; e += V_LANES)
            top = i_max(top, i_bits(v_abs(v_load_n(x + e, width - e))));
        most[j] = i_largest(top);
    }
}

static inline v_vec K(half_whole)(v_vec x, v_vec factor)
{
    return v_fma(x, factor, v_set(REAL_MAGIC));
}

static void K(half_queries)(int64_t depth, int w, const void *t, const float *factor,
                            int16_t *pairs)
{
    const real *x = t;
    for (int l = 0; l < w; l += V_LANES) {
        const v_vec f = v_load(factor + l);
        for (int64_t d = 0; d < depth; d += 2) {
            v_vec low = K(half_whole)(v_load(x + d * w + l), f);
            v_vec high = v_set(0);
            if (d + 1 < depth) high = K(half_whole)(v_load(x + (d + 1) * w + l), f);
            i_store(pairs + d * w + 2 * l, i_pairs(low, high));
        }
    }
}

static void K(half_keys)(int64_t n, int64_t depth, const void *k, int64_t k_stride,
                         const float *factor, int16_t *rows)
{
    const int64_t width = depth + depth % 2;
    for (int64_t j = 0; j < n; j++, rows += width) {
        const real *x = (const real *)k + j * k_stride;
        const v_vec f = v_set(factor[j]);
        for (int64_t d = 0; d < depth; d += V_LANES)
            i_store_narrow(rows + d, K(half_whole)(v_load_n(x + d, depth - d), f), width - d);
    }
}

static void K(half_values)(int64_t n, int64_t width, const void *v, int64_t v_stride,
                           const float *factor, int16_t *pairs)
{
    for (int64_t j = 0; j < n; j += 2, pairs += 2 * width) {
        const real *x = (const real *)v + j * v_stride;
        const v_vec f = v_set(factor[j]), g = v_set(j + 1 < n ? factor[j + 1] : 0);
        for (int64_t e = 0; e < width; e += V_LANES) {
            v_vec low = K(half_whole)(v_load_n(x + e, width - e), f), high = v_set(0);
            if (j + 1 < n) high = K(half_whole)(v_load_n(x + v_stride + e, width - e), g);
            i_store_n(pairs + 2 * e, i_pairs(low, high), width - e);
        }
    }
}

/* Keys of a tile against lanes of a panel. */
typedef struct half_keys_tile {
    int64_t n, pairs; /* n below V_TILE_R: the last key stands in for the missing ones */
    const int16_t *k, *q;
    const real *k_unit, *q_unit;
    real *s, *top;
    int ld;
} half_keys_tile;

static inline __attribute__((always_inline)) void
K(half_scores_store)(const half_keys_tile *t, const i_vec *sum, const int nv, const bool whole)
{
#pragma GCC unroll 3
    for (int v = 0; v < V_TILE_V; v++) {
        if (v >= nv) break;
        const v_vec of_q = v_load(t->q_unit + v * V_LANES);
        v_vec most = v_load(t->top + v * V_LANES);
#pragma GCC unroll 8
        for (int r = 0; r < V_TILE_R; r++) {
            if (!whole && r >= t->n) break;
            const v_vec x = v_mul(i_real(sum[r * V_TILE_V + v]), v_set(t->k_unit[r]));
            const v_vec score = v_mul(x, of_q);
            most = v_max(score, most);
            v_store(t->s + r * t->ld + v * V_LANES, score);
        }
        v_store(t->top + v * V_LANES, most);
    }
}

static inline __attribute__((always_inline)) void K(half_scores_tile)(const half_keys_tile *t,
                                                                      const int nv)
{
    const int16_t *row[V_TILE_R], *q = t->q;
    i_vec sum[V_TILE_R * V_TILE_V];
#pragma GCC unroll 8
    for (int r = 0; r < V_TILE_R; r++) row[r] = t->k + 2 * t->pairs * (r < t->n ? r : t->n - 1);
#pragma GCC unroll 32
    for (int a = 0; a < V_TILE_R * V_TILE_V; a++) sum[a] = i_zero();
    for (int64_t d = 0; d < t->pairs; d++, q += 2 * t->ld) {
        i_vec x[V_TILE_V];
        if (d % HALF_LINE == 0) /* the next tile */
#pragma GCC unroll 8
            for (int r = 0; r < V_TILE_R; r++)
                __builtin_prefetch(row[r] + 2 * (V_TILE_R * t->pairs + d));
#pragma GCC unroll 3
        for (int v = 0; v < V_TILE_V; v++)
            if (v < nv) x[v] = i_load(q + 2 * v * V_LANES);
#pragma GCC unroll 8
        for (int r = 0; r < V_TILE_R; r++) {
            const i_vec b = i_spread(row[r] + 2 * d);
#pragma GCC unroll 3
            for (int v = 0; v < V_TILE_V; v++)
                if (v < nv) sum[r * V_TILE_V + v] = i_dot(sum[r * V_TILE_V + v], x[v], b);
        }
    }
    if (t->n >= V_TILE_R)
        K(half_scores_store)(t, sum, nv, true);
    else
        K(half_scores_store)(t, sum, nv, false);
}

/* Functions of their own, here and below, so that what lives around them takes no registers. */
static __attribute__((noinline)) void K(half_scores_3)(const half_keys_tile *t)
{
    K(half_scores_tile)(t, 3);
}

static __attribute__((noinline)) void K(half_scores_2)(const half_keys_tile *t)
{
    K(half_scores_tile)(t, 2);
}

static __attribute__((noinline)) void K(half_scores_1)(const half_keys_tile *t)
{
    K(half_scores_tile)(t, 1);
}

static void K(half_scores)(int64_t n, int w, int64_t pairs, const int16_t *k,
                           const float *k_unit, const int16_t *q, const float *q_unit, int ld,
                           void *s, float *top)
{
    static void (*const tiles[])(const half_keys_tile *) = {NULL, K(half_scores_1),
                                                            K(half_scores_2), K(half_scores_3)};
    half_keys_tile t = {.pairs = pairs, .ld = ld};
    for (int64_t j = 0; j < n; j += V_TILE_R) {
        t.n = n - j;
        t.k = k + 2 * j * pairs;
        t.k_unit = k_unit + j;
        for (int l = 0, step; l < w; l += step * V_LANES) {
            step = w - l >= V_TILE_V * V_LANES ? V_TILE_V : (w - l) / V_LANES;
            t.q = q + 2 * l;
            t.q_unit = q_unit + l;
            t.s = (real *)s + j * ld + l;
            t.top = top + l;
            tiles[step](&t);
        }
    }
}

/* exp_sum of softmax.h over a whole block, with the sums that weigh wants on the way. */
static void K(half_exp)(const attn__half_block *b, int w, int64_t width, double coef, void *s,
                        const float *m, float *l, float *sum)
{
    const int16_t *ahead = b->v;
    const int64_t lines =
        width * (ATTN__BLOCK / 2) / HALF_LINE * V_LANES * HALF_CHAINS / w / ATTN__BLOCK;
    const v_vec c = v_set((real)coef);
    for (int x = 0; x < w; x += V_LANES) {
        real *at = (real *)s + x;
        v_vec total = v_set(0), big[HALF_CHAINS] = {v_set(0), v_set(0), v_set(0), v_set(0)};
        v_vec top = v_load(m + x);
        top = v_select(v_lt(top, v_set(-REAL_MAX)), v_set(0), top);
        for (int j = 0; j < ATTN__BLOCK; j += HALF_CHAINS, at += HALF_CHAINS * w) {
            v_vec p[HALF_CHAINS];
#pragma GCC unroll 4
            for (int i = 0; i < HALF_CHAINS; i++)
                p[i] = v_mul(v_sub(v_load(at + i * w), top), c);
            for (int64_t i = 0; i < lines; i++, ahead += 2 * HALF_LINE)
                __builtin_prefetch(ahead);
            K(v_exp2)(p, HALF_CHAINS);
#pragma GCC unroll 4
            for (int i = 0; i < HALF_CHAINS; i++) {
                total = v_add(total, p[i]);
                big[i] = v_fma(p[i], v_set(b->unit[j + i]), big[i]);
                v_store(at + i * w, p[i]);
            }
        }
        v_store(l + x, v_add(v_load(l + x), total));
        v_store(sum + x, v_add(v_add(big[0], big[1]), v_add(big[2], big[3])));
    }
}

/* The weight of a key of the block; p is that of key first, and what lies outside counts 0. */
static inline __attribute__((always_inline)) v_vec
K(half_weight)(const attn__half_block *b, const real *p, int ld, int key, const bool whole)
{
    if (!whole && (key < b->first || key >= b->first + b->n)) return v_set(0);
    return v_load(p + (key - b->first) * ld);
}

/* The sum of the weights of one vector of lanes times their units. */
static inline __attribute__((always_inline)) v_vec
K(half_sum)(const attn__half_block *b, const real *p, int ld, const bool whole)
{
    v_vec sum[HALF_CHAINS] = {v_set(0), v_set(0), v_set(0), v_set(0)};
    for (int j = b->first & -HALF_CHAINS; j < b->first + b->n; j += HALF_CHAINS)
#pragma GCC unroll 4
        for (int i = 0; i < HALF_CHAINS; i++)
            sum[i] =
                v_fma(K(half_weight)(b, p, ld, j + i, whole), v_set(b->unit[j + i]), sum[i]);
    return v_add(v_add(sum[0], sum[1]), v_add(sum[2], sum[3]));
}

/* These weights as pairs, and what one of them is worth. */
static inline __attribute__((always_inline)) void K(half_round)(const attn__half_block *b,
                                                                const real *p, int ld,
                                                                v_vec sum, int16_t *pairs,
                                                                real *gain, const bool whole)
{
    const v_mask none = v_lt(sum, v_set(0x1p-100f));
    const v_vec all = v_set(ATTN__HALF_SUM), total = v_select(none, v_set(0), sum);
    const v_vec factor = v_select(none, v_set(0), v_div(all, total));
    v_store(gain, v_div(total, all));
    for (int j = b->first & -2; j < b->first + b->n; j += 2) {
        v_vec low = v_mul(K(half_weight)(b, p, ld, j, whole), v_set(b->unit[j]));
        v_vec high = v_mul(K(half_weight)(b, p, ld, j + 1, whole), v_set(b->unit[j + 1]));
        i_store(pairs + j * ATTN__PANEL,
                i_pairs(K(half_whole)(low, factor), K(half_whole)(high, factor)));
    }
}

static inline __attribute__((always_inline)) void
K(half_lanes)(const attn__half_block *b, const real *p, int ld, const float *sum,
              int16_t *pairs, real *gain, const bool whole)
{
    const v_vec total = sum ? v_load(sum) : K(half_sum)(b, p, ld, whole);
    K(half_round)(b, p, ld, total, pairs, gain, whole);
}

/* Columns of v that one tile makes, over the pairs of a block. */
typedef struct half_columns {
    int64_t begin, end, width;
    const int16_t *v, *p; /* of pair 0: [pairs][width], [pairs][ATTN__PANEL] */
    const real *gain;
    real *acc;
    int ld;
    bool fresh;
} half_columns;

static inline __attribute__((always_inline)) void K(half_weigh_tile)(const half_columns *c,
                                                                     const int nr, const int nv)
{
    const int16_t *v = c->v + 2 * c->begin * c->width, *p = c->p + 2 * c->begin * ATTN__PANEL;
    i_vec sum[V_TILE_R * V_TILE_V];
#pragma GCC unroll 32
    for (int a = 0; a < V_TILE_R * V_TILE_V; a++) sum[a] = i_zero();
    for (int64_t j = c->end - c->begin; j > 0; j--, v += 2 * c->width, p += 2 * ATTN__PANEL) {
        i_vec x[V_TILE_V];
#pragma GCC unroll 3
        for (int i = 0; i < V_TILE_V; i++)
            if (i < nv) x[i] = i_load(p + 2 * i * V_LANES);
#pragma GCC unroll 8
        for (int r = 0; r < V_TILE_R; r++) {
            if (r >= nr) break;
            const i_vec b = i_spread(v + 2 * r);
#pragma GCC unroll 3
            for (int i = 0; i < V_TILE_V; i++)
                if (i < nv) sum[r * V_TILE_V + i] = i_dot(sum[r * V_TILE_V + i], x[i], b);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < V_TILE_R; r++)
#pragma GCC unroll 3
        for (int i = 0; i < V_TILE_V; i++) {
            if (r >= nr || i >= nv) continue;
            real *at = c->acc + r * c->ld + i * V_LANES;
            const v_vec before = c->fresh ? v_set(0) : v_load(at);
            const v_vec total = i_real(sum[r * V_TILE_V + i]);
            v_store(at, v_fma(total, v_load(c->gain + i * V_LANES), before));
        }
}

static __attribute__((noinline)) void K(half_weigh_3)(const half_columns *c)
{
    K(half_weigh_tile)(c, V_TILE_R, 3);
}

static __attribute__((noinline)) void K(half_weigh_2)(const half_columns *c)
{
    K(half_weigh_tile)(c, V_TILE_R, 2);
}

static __attribute__((noinline)) void K(half_weigh_1)(const half_columns *c)
{
    K(half_weigh_tile)(c, V_TILE_R, 1);
}

static __attribute__((noinline)) void K(half_weigh_one)(const half_columns *c)
{
    K(half_weigh_tile)(c, 1, 1);
}

static void K(half_weigh)(const attn__half_block *b, int w, int64_t width, const void *p,
                          int ld, bool fresh, void *acc)
{
    static void (*const tiles[])(const half_columns *) = {NULL, K(half_weigh_1),
                                                          K(half_weigh_2), K(half_weigh_3)};
    int16_t pairs[ATTN__BLOCK * ATTN__PANEL];
    real gain[ATTN__PANEL];
    half_columns c = {.begin = b->first / 2,
                      .end = (b->first + b->n + 1) / 2,
                      .width = width,
                      .ld = ld,
                      .fresh = fresh};
    for (int l = 0; l < w; l += V_LANES) {
        const real *x = (const real *)p + l;
        if (b->n == ATTN__BLOCK)
            K(half_lanes)(b, x, ld, b->sum ? b->sum + l : NULL, pairs + 2 * l, gain + l, true);
        else
            K(half_lanes)(b, x, ld, NULL, pairs + 2 * l, gain + l, false);
    }
    for (int l = 0, step; l < w; l += step * V_LANES) {
        step = w - l >= V_TILE_V * V_LANES ? V_TILE_V : (w - l) / V_LANES;
        c.p = pairs + 2 * l;
        c.gain = gain + l;
        int64_t e = 0;
        for (; e + V_TILE_R <= width; e += V_TILE_R) {
            c.v = b->v + 2 * e;
            c.acc = (real *)acc + e * ld + l;
            tiles[step](&c);
        }
        for (; e < width; e++)
            for (int i = 0; i < step; i++) {
                half_columns one = c;
                one.v = b->v + 2 * e;
                one.p += 2 * i * V_LANES;
                one.gain += i * V_LANES;
                one.acc = (real *)acc + e * ld + l + i * V_LANES;
                K(half_weigh_one)(&one);
            }
    }
}

const attn__half GLUE(attn__half, REAL_NAME, VEC_NAME) = {
    .sizes = K(half_sizes),
    .most = K(half_most),
    .queries = K(half_queries),
    .keys = K(half_keys),
    .values = K(half_values),
    .scores = K(half_scores),
    .exp = K(half_exp),
    .weigh = K(half_weigh),
};

#endif
