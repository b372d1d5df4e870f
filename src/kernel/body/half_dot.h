/* SPDX-License-Identifier: MIT
 * The two products of attention in integers of 16 bits with sums of 32, precision = half
 * (docs/numerics.md, section 17). Two neighbours of a chain - two features of a key, two keys
 * of a column - lie in one word, and one instruction adds both products. Nothing overflows, so
 * sums are exact and their order does not show. A number x becomes n = fma(x, f, M) - M. */
#ifndef ATTN__BODY_HALF_DOT_H
#define ATTN__BODY_HALF_DOT_H

#include "body/real.h"

#include "body/half_exp.h"
#include "body/half_row.h"

enum { HALF_LINE = ATTN__LINE / 4 }; /* pairs in a cache line */
_Static_assert((int)V_TILE_R == ATTN__HALF_GROUP, "a tile is a group");

/* Keys of a tile against lanes of a panel. */
typedef struct half_keys_tile {
    int64_t n, pairs; /* n below V_TILE_R: the last key stands in for the missing ones */
    const int16_t *k, *q;
    const real *k_unit, *q_unit;
    real *s, *top;
    int ld;
} half_keys_tile;

static inline __attribute__((always_inline)) void
K(half_scores_store)(const half_keys_tile t, const i_vec *sum, const int nv, const bool whole)
{
#pragma GCC unroll 3
    for (int v = 0; v < V_TILE_V; v++) {
        if (v >= nv) break;
        const v_vec of_q = v_load(t.q_unit + v * V_LANES);
        v_vec most = v_load(t.top + v * V_LANES);
#pragma GCC unroll 8
        for (int r = 0; r < V_TILE_R; r++) {
            if (!whole && r >= t.n) break;
            const v_vec x = v_mul(i_real(sum[r * V_TILE_V + v]), v_set(t.k_unit[r]));
            const v_vec score = v_mul(x, of_q);
            most = v_max(score, most);
            v_store(t.s + r * t.ld + v * V_LANES, score);
        }
        v_store(t.top + v * V_LANES, most);
    }
}

static inline __attribute__((always_inline)) void
K(half_scores_tile)(const half_keys_tile *t, const int nv, const bool whole)
{
    const int16_t *row[V_TILE_R], *q = t->q;
    i_vec sum[V_TILE_R * V_TILE_V];
#pragma GCC unroll 8
    for (int r = 0; r < V_TILE_R; r++)
        row[r] = t->k + 2 * t->pairs * (whole || r < t->n ? r : t->n - 1);
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
    K(half_scores_store)(*t, sum, nv, whole);
}

static inline __attribute__((always_inline)) void K(half_scores_any)(const half_keys_tile *t,
                                                                     const int nv)
{
    if (t->n >= V_TILE_R)
        K(half_scores_tile)(t, nv, true);
    else
        K(half_scores_tile)(t, nv, false);
}

/* Functions of their own, here and below, so that what lives around them takes no registers. */
static __attribute__((noinline)) void K(half_scores_3)(const half_keys_tile *t)
{
    K(half_scores_any)(t, 3);
}

static __attribute__((noinline)) void K(half_scores_2)(const half_keys_tile *t)
{
    K(half_scores_any)(t, 2);
}

static __attribute__((noinline)) void K(half_scores_1)(const half_keys_tile *t)
{
    K(half_scores_any)(t, 1);
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

/* What a block of weights is: cut at its ends, whole, or already multiplied by the units. */
typedef enum half_block_is { HALF_CUT, HALF_WHOLE, HALF_TIMES } half_block_is;

/* x_j of a key of the block; p is that of key first, and what lies outside counts 0. */
static inline __attribute__((always_inline)) v_vec K(half_weight)(const attn__half_block *b,
                                                                  const real *p, int ld,
                                                                  int key,
                                                                  const half_block_is is)
{
    if (is == HALF_CUT && (key < b->first || key >= b->first + b->n)) return v_set(0);
    const v_vec x = v_load(p + (key - b->first) * ld);
    return is == HALF_TIMES ? x : v_mul(x, v_set(b->unit[key]));
}

/* sum and most of one vector of lanes, as exp makes them of the halves of the block. */
static inline __attribute__((always_inline)) v_vec
K(half_total)(const attn__half_block *b, const real *p, int ld, v_vec *most)
{
    v_vec total = v_set(0);
    *most = v_set(0);
    for (int half = 0; half < ATTN__HALF_BLOCK; half += ATTN__BLOCK) {
        v_vec part[HALF_CHAINS] = {v_set(0), v_set(0), v_set(0), v_set(0)};
        for (int j = half; j < half + ATTN__BLOCK; j += HALF_CHAINS)
            for (int i = 0; i < HALF_CHAINS; i++) {
                const v_vec x = K(half_weight)(b, p, ld, j + i, HALF_CUT);
                part[i] = v_add(part[i], x);
                *most = v_max(x, *most);
            }
        total = v_add(total, v_add(v_add(part[0], part[1]), v_add(part[2], part[3])));
    }
    return total;
}

/* What one of the integers of a vector of lanes is worth; returns the factor that makes them. */
static inline __attribute__((always_inline)) v_vec
K(half_factor)(const attn__half_block *b, const real *p, int ld, int l, real *gain)
{
    v_vec most, total;
    if (b->sum) {
        total = v_load(b->sum + l);
        most = v_load(b->most + l);
    } else {
        total = K(half_total)(b, p + l, ld, &most);
    }
    const v_mask none = v_lt(total, v_set(0x1p-100f));
    const v_vec by_sum = v_div(total, v_set(ATTN__HALF_SUM));
    /* a sum that is no number stays so: it is the second */
    const v_vec worth = v_max(v_div(most, v_set(ATTN__HALF_WEIGHT)), by_sum);
    v_store(gain + l, v_select(none, v_set(0), worth));
    return v_select(none, v_set(0), v_div(v_set(1), worth));
}

/* The weights of nv vectors of lanes from lane l on as pairs, in the order of memory. */
static inline __attribute__((always_inline)) void
K(half_round)(const attn__half_block *b, const real *p, int ld, int l, int16_t *pairs,
              real *gain, const int nv, const half_block_is is)
{
    v_vec factor[V_TILE_V];
#pragma GCC unroll 3
    for (int v = 0; v < V_TILE_V; v++)
        if (v < nv) factor[v] = K(half_factor)(b, p, ld, l + v * V_LANES, gain);
    for (int j = b->first & -2; j < b->first + b->n; j += 2)
#pragma GCC unroll 3
        for (int v = 0; v < V_TILE_V; v++) {
            if (v >= nv) break;
            const real *x = p + l + v * V_LANES;
            const v_vec low = K(half_weight)(b, x, ld, j, is);
            const v_vec high = K(half_weight)(b, x, ld, j + 1, is);
            i_store(pairs + j * ATTN__PANEL + 2 * (l + v * V_LANES),
                    i_pairs(K(half_whole)(low, factor[v]), K(half_whole)(high, factor[v])));
        }
}

/* Columns of v that one tile makes, over the pairs of a block. */
typedef struct half_columns {
    int64_t begin, end;
    int64_t width;        /* of their group */
    const int16_t *v, *p; /* of pair 0: [pairs][width], [pairs][ATTN__PANEL] */
    const real *gain;
    real *acc;
    int ld;
    bool fresh;
} half_columns;

static inline __attribute__((always_inline)) void
K(half_weigh_store)(const half_columns c, const i_vec *sum, const int nr, const int nv,
                    const bool fresh)
{
#pragma GCC unroll 3
    for (int i = 0; i < V_TILE_V; i++) {
        if (i >= nv) break;
        const v_vec gain = v_load(c.gain + i * V_LANES);
#pragma GCC unroll 8
        for (int r = 0; r < V_TILE_R; r++) {
            if (r >= nr) break;
            real *at = c.acc + r * c.ld + i * V_LANES;
            const v_vec before = fresh ? v_set(0) : v_load(at);
            v_store(at, v_fma(i_real(sum[r * V_TILE_V + i]), gain, before));
        }
    }
}

/* A group, or one of its columns; what a group reads next is asked for. */
static inline __attribute__((always_inline)) void K(half_weigh_tile)(const half_columns *at,
                                                                     const int nr, const int nv)
{
    const half_columns c = *at;
    const int64_t step = 2 * (nr == V_TILE_R ? V_TILE_R : c.width);
    const int16_t *v = c.v + c.begin * step, *p = c.p + 2 * c.begin * ATTN__PANEL;
    i_vec sum[V_TILE_R * V_TILE_V];
#pragma GCC unroll 32
    for (int a = 0; a < V_TILE_R * V_TILE_V; a++) sum[a] = i_zero();
    for (int64_t j = c.end - c.begin; j > 0; j--, v += step, p += 2 * ATTN__PANEL) {
        i_vec x[V_TILE_V];
        if (nr == V_TILE_R) __builtin_prefetch(v + ATTN__HALF_BLOCK * V_TILE_R);
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
    if (c.fresh)
        K(half_weigh_store)(c, sum, nr, nv, true);
    else
        K(half_weigh_store)(c, sum, nr, nv, false);
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
    _Alignas(64) int16_t pairs[ATTN__HALF_BLOCK * ATTN__PANEL];
    real gain[ATTN__PANEL];
    half_columns c = {
        .begin = b->first / 2, .end = (b->first + b->n + 1) / 2, .ld = ld, .fresh = fresh};
    if (!b->unit && w == V_TILE_V * V_LANES)
        K(half_round)(b, p, ld, 0, pairs, gain, V_TILE_V, HALF_TIMES);
    else
        for (int l = 0; l < w; l += V_LANES) {
            if (!b->unit)
                K(half_round)(b, p, ld, l, pairs, gain, 1, HALF_TIMES);
            else if (b->n == ATTN__HALF_BLOCK)
                K(half_round)(b, p, ld, l, pairs, gain, 1, HALF_WHOLE);
            else
                K(half_round)(b, p, ld, l, pairs, gain, 1, HALF_CUT);
        }
    for (int l = 0, step; l < w; l += step * V_LANES) {
        step = w - l >= V_TILE_V * V_LANES ? V_TILE_V : (w - l) / V_LANES;
        c.p = pairs + 2 * l;
        c.gain = gain + l;
        int64_t e = 0;
        for (; e + V_TILE_R <= width; e += V_TILE_R) {
            c.v = b->v + e * ATTN__HALF_BLOCK;
            c.acc = (real *)acc + e * ld + l;
            tiles[step](&c);
        }
        c.width = width - e;
        for (int64_t r = 0; r < c.width; r++)
            for (int i = 0; i < step; i++) {
                half_columns one = c;
                one.v = b->v + e * ATTN__HALF_BLOCK + 2 * r;
                one.p += 2 * i * V_LANES;
                one.gain += i * V_LANES;
                one.acc = (real *)acc + (e + r) * ld + l + i * V_LANES;
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
    .exp_block = K(half_exp_block),
    .weigh = K(half_weigh),
};

#endif
