/* SPDX-License-Identifier: MIT
 * Scores that are no products of q and k, and what their gradients need beside body/matmul.h
 * and body/backward.h. Queries lie in lanes, keys are rows, as there.
 *
 *   l2     s = sign sum_d (q_d - k_d)^2      tanh     s = sum_d w_d tanh(q_d + k_d)
 *
 * A gradient counts nothing where ds is 0, whatever the rows hold: forbidden pairs need no
 * other mark, and a pair too far apart for its square has no weight. NaN in ds goes on. */
#ifndef ATTN__BODY_SCORE_H
#define ATTN__BODY_SCORE_H

enum { TANH_KEYS = 2, SCORE_KEYS = 4 };

/* x where ds is not 0. */
static inline v_vec K(v_where)(v_vec ds, v_vec x)
{
    return v_select(v_lt(v_set(0), v_abs(ds)), x, v_set(0));
}

/* ---- distances --------------------------------------------------------------------------- */

/* As scores_tile of body/matmul.h. */
static inline __attribute__((always_inline)) void K(l2_tile)(int64_t n, const attn__pairs *p,
                                                             const real *k, const real *q,
                                                             v_vec sign, real *s, const int nv)
{
    const real *row[V_TILE_R];
    v_vec acc[V_TILE_R * V_TILE_V];
    UNROLL(8)
    for (int r = 0; r < V_TILE_R; r++) row[r] = k + p->k_stride * (r < n ? r : n - 1);
    UNROLL(32)
    for (int a = 0; a < V_TILE_R * V_TILE_V; a++) acc[a] = v_set(0);
    for (int64_t d = 0; d < p->depth; d++, q += p->ld) {
        v_vec x[V_TILE_V];
        UNROLL(4)
        for (int v = 0; v < nv; v++) x[v] = v_load(q + v * V_LANES);
        UNROLL(8)
        for (int r = 0; r < V_TILE_R; r++) {
            const v_vec b = v_set(row[r][d]);
            UNROLL(4)
            for (int v = 0; v < nv; v++) {
                const v_vec apart = v_sub(x[v], b);
                acc[r * V_TILE_V + v] = v_fma(apart, apart, acc[r * V_TILE_V + v]);
            }
        }
    }
    UNROLL(8)
    for (int r = 0; r < V_TILE_R; r++) {
        if (r >= n) break;
        UNROLL(4)
        for (int v = 0; v < nv; v++)
            v_store(s + r * p->ld + v * V_LANES, v_mul(sign, acc[r * V_TILE_V + v]));
    }
}

static void K(l2_scores)(const attn__pairs *p, double sign, void *s)
{
    const v_vec c = v_set((real)sign);
    for (int64_t j = 0; j < p->n; j += V_TILE_R) {
        const real *k = (const real *)p->k + j * p->k_stride, *q = p->q;
        real *to = (real *)s + j * p->ld;
        int left = p->w / V_LANES;
        for (; left >= V_TILE_V;
             left -= V_TILE_V, q += V_TILE_V * V_LANES, to += V_TILE_V * V_LANES)
            K(l2_tile)(p->n - j, p, k, q, c, to, V_TILE_V);
        for (; left >= 2; left -= 2, q += 2 * V_LANES, to += 2 * V_LANES)
            K(l2_tile)(p->n - j, p, k, q, c, to, 2);
        if (left) K(l2_tile)(p->n - j, p, k, q, c, to, 1);
    }
}

/* Lanes of one vector against the columns e .. e + nr of the keys. */
static inline __attribute__((always_inline)) void K(l2_weigh_tile)(const attn__pairs *p,
                                                                   const real *ds, int64_t e,
                                                                   int l, bool fresh, real *acc,
                                                                   const int nr)
{
    const real *k = (const real *)p->k + e, *q = (const real *)p->q + e * p->ld + l;
    v_vec sum[V_TILE_R], own[V_TILE_R];
    UNROLL(8)
    for (int r = 0; r < nr; r++) sum[r] = v_set(0), own[r] = v_load(q + r * p->ld);
    for (int64_t j = 0; j < p->n; j++, k += p->k_stride) {
        const v_vec w = v_load(ds + j * p->ld + l);
        UNROLL(8)
        for (int r = 0; r < nr; r++)
            sum[r] = v_fma(w, K(v_where)(w, v_sub(v_set(k[r]), own[r])), sum[r]);
    }
    UNROLL(8)
    for (int r = 0; r < nr; r++) {
        real *at = acc + (e + r) * p->ld + l;
        v_store(at, v_add(fresh ? v_set(0) : v_load(at), sum[r]));
    }
}

static void K(l2_weigh)(const attn__pairs *p, const void *ds, bool fresh, void *acc)
{
    for (int l = 0; l < p->w; l += V_LANES) {
        int64_t e = 0;
        for (; e + V_TILE_R <= p->depth; e += V_TILE_R)
            K(l2_weigh_tile)(p, ds, e, l, fresh, acc, V_TILE_R);
        for (; e < p->depth; e++) K(l2_weigh_tile)(p, ds, e, l, fresh, acc, 1);
    }
}

/* SCORE_KEYS keys (fewer when n is: the last one stands in) by one vector of columns, or what
 * is left of it. */
static inline __attribute__((always_inline)) void
K(l2_spread_tile)(int64_t n, int64_t j, int64_t width, int parts, const attn__part *part,
                  const real *k, int64_t k_stride, int64_t e, double *acc, const bool cut)
{
    v_vec sum[SCORE_KEYS], own[SCORE_KEYS];
    real done[V_LANES] = {0};
    const int64_t columns = cut ? width - e : V_LANES;
    UNROLL(4)
    for (int r = 0; r < SCORE_KEYS; r++) {
        const real *row = k + (r < n ? j + r : j + n - 1) * k_stride + e;
        sum[r] = v_set(0), own[r] = cut ? v_load_n(row, columns) : v_load(row);
    }
    for (int p = 0; p < parts; p++)
        for (int l = 0; l < part[p].n; l++) {
            const real *row = (const real *)part[p].rows[l] + e;
            const v_vec x = cut ? v_load_n(row, columns) : v_load(row);
            UNROLL(4)
            for (int r = 0; r < SCORE_KEYS; r++) {
                const real a =
                    ((const real *)part[p].a)[part[p].ld * (r < n ? j + r : j + n - 1) + l];
                if (a != 0) sum[r] = v_fma(v_set(a), v_sub(x, own[r]), sum[r]);
            }
        }
    UNROLL(4)
    for (int r = 0; r < SCORE_KEYS; r++) {
        if (r >= n) break;
        v_store(done, sum[r]);
        for (int64_t x = 0; x < columns; x++) acc[(j + r) * width + e + x] += (double)done[x];
    }
}

static void K(l2_spread)(int64_t n, int64_t width, int parts, const attn__part *part,
                         const void *k, int64_t k_stride, double *acc)
{
    int64_t e = 0;
    for (; e + V_LANES <= width; e += V_LANES)
        for (int64_t j = 0; j < n; j += SCORE_KEYS)
            K(l2_spread_tile)(n - j, j, width, parts, part, k, k_stride, e, acc, false);
    for (int64_t j = 0; e < width && j < n; j += SCORE_KEYS)
        K(l2_spread_tile)(n - j, j, width, parts, part, k, k_stride, e, acc, true);
}

static void K(l2_tangents)(const attn__pairs *p, void *ts)
{
    for (int64_t j = 0; j < p->n; j++)
        for (int l = 0; l < p->w; l += V_LANES) {
            const real *k = (const real *)p->k + j * p->k_stride, *q = (const real *)p->q + l;
            const real *t_k = (const real *)p->t_k + j * p->t_k_stride;
            const real *t_q = (const real *)p->t_q + l;
            v_vec sum = v_set(0);
            for (int64_t d = 0; d < p->depth; d++) {
                const v_vec apart = v_sub(v_set(k[d]), v_load(q + d * p->ld));
                sum = v_fma(apart, v_sub(v_load(t_q + d * p->ld), v_set(t_k[d])), sum);
            }
            v_store((real *)ts + j * p->ld + l, sum);
        }
}

/* ---- tanh -------------------------------------------------------------------------------- */

/* TANH_KEYS keys (fewer when n is: the last one stands in) by nv vectors. One tanh is a long
 * chain, so several run side by side. */
static inline __attribute__((always_inline)) void
K(tanh_tile)(int64_t n, const attn__pairs *p, int64_t j, int l, real *s, const int nv)
{
    const real *q = (const real *)p->q + l, *weight = (const real *)p->weight + l;
    const real *row[TANH_KEYS];
    v_vec acc[TANH_KEYS * V_TILE_V];
    UNROLL(8)
    for (int r = 0; r < TANH_KEYS; r++)
        row[r] = (const real *)p->k + p->k_stride * (r < n ? j + r : j + n - 1);
    UNROLL(32)
    for (int a = 0; a < TANH_KEYS * V_TILE_V; a++) acc[a] = v_set(0);
    for (int64_t d = 0; d < p->depth; d++, q += p->ld, weight += p->ld) {
        UNROLL(8)
        for (int r = 0; r < TANH_KEYS; r++) {
            UNROLL(4)
            for (int v = 0; v < nv; v++) {
                const v_vec x = v_add(v_load(q + v * V_LANES), v_set(row[r][d]));
                v_vec *to = &acc[r * V_TILE_V + v];
                *to = v_fma(v_load(weight + v * V_LANES), K(v_tanh)(x), *to);
            }
        }
    }
    UNROLL(8)
    for (int r = 0; r < TANH_KEYS; r++) {
        if (r >= n) break;
        UNROLL(4)
        for (int v = 0; v < nv; v++)
            v_store(s + (j + r) * p->ld + l + v * V_LANES, acc[r * V_TILE_V + v]);
    }
}

static void K(tanh_scores)(const attn__pairs *p, void *s)
{
    for (int64_t j = 0; j < p->n; j += TANH_KEYS) {
        int l = 0;
        for (; l + 2 * V_LANES <= p->w; l += 2 * V_LANES) K(tanh_tile)(p->n - j, p, j, l, s, 2);
        if (l < p->w) K(tanh_tile)(p->n - j, p, j, l, s, 1);
    }
}

static void K(tanh_tangents)(const attn__pairs *p, void *ts)
{
    const v_vec one = v_set(1), none = v_set(0);
    for (int64_t j = 0; j < p->n; j++)
        for (int l = 0; l < p->w; l += V_LANES) {
            const real *k = (const real *)p->k + j * p->k_stride, *q = (const real *)p->q + l;
            const real *t_k = (const real *)p->t_k + j * p->t_k_stride;
            const real *t_q = (const real *)p->t_q + l, *weight = (const real *)p->weight + l;
            v_vec sum = v_set(0);
            for (int64_t d = 0; d < p->depth; d++) {
                const v_vec h = K(v_tanh)(v_add(v_load(q + d * p->ld), v_set(k[d])));
                const v_vec slope = v_fma(v_sub(none, h), h, one);
                const v_vec t = v_add(v_load(t_q + d * p->ld), v_set(t_k[d]));
                sum = v_fma(v_load(weight + d * p->ld), v_mul(slope, t), sum);
            }
            v_store((real *)ts + j * p->ld + l, sum);
        }
}

/* keys of feature d, one vector of lanes: t goes to the tile, and to the sums. */
static inline __attribute__((always_inline)) void
K(tanh_grad_some)(const int keys, int64_t ld, v_vec q, v_vec weight, const real *restrict k,
                  int64_t k_stride, const real *restrict ds, real *restrict t_at, v_vec *by_q,
                  v_vec *by_weight)
{
    const v_vec none = v_set(0), one = v_set(1);
    v_vec g[SCORE_KEYS], h[SCORE_KEYS], t[SCORE_KEYS];
    UNROLL(4)
    for (int j = 0; j < keys; j++) g[j] = v_load(ds + j * ld);
    UNROLL(4)
    for (int j = 0; j < keys; j++) h[j] = K(v_tanh)(v_add(q, v_set(k[j * k_stride])));
    UNROLL(4)
    for (int j = 0; j < keys; j++) {
        h[j] = K(v_where)(g[j], h[j]);
        const v_vec slope = v_fma(v_sub(none, h[j]), h[j], one);
        t[j] = v_mul(v_mul(g[j], K(v_where)(g[j], weight)), slope);
        *by_q = v_add(*by_q, t[j]);
        *by_weight = v_fma(g[j], h[j], *by_weight);
        v_store(t_at + j * ld, t[j]);
    }
}

/* Feature d, one vector of lanes: the sum of t over the keys joins d_q, that of ds h is left in
 * d_weight. */
static inline __attribute__((always_inline)) void
K(tanh_grad_lanes)(const attn__pairs *p, const attn__tanh_sums *sums, int64_t d, int l)
{
    const int64_t at = d * p->ld + l, ld = p->ld, k_stride = p->k_stride;
    const v_vec q = v_load((const real *)p->q + at);
    const v_vec weight = v_load((const real *)p->weight + at);
    const real *ds = (const real *)sums->ds + l, *k = (const real *)p->k + d;
    real *t_at = (real *)sums->t + l, *d_q = (real *)sums->d_q + at;
    v_vec by_q = v_set(0), by_weight = v_set(0);
    int64_t j = 0;
    for (; j + SCORE_KEYS <= p->n; j += SCORE_KEYS) K(tanh_grad_some)
    (SCORE_KEYS, ld, q, weight, k + j * k_stride, k_stride, ds + j * ld, t_at + j * ld, &by_q,
     &by_weight);
    for (; j < p->n; j++) K(tanh_grad_some)
    (1, ld, q, weight, k + j * k_stride, k_stride, ds + j * ld, t_at + j * ld, &by_q,
     &by_weight);
    v_store(d_q, v_add(sums->fresh ? v_set(0) : v_load(d_q), by_q));
    v_store((real *)sums->d_weight + at, by_weight);
}

/* The t of feature d, keys in lanes: their sums over the queries join d_k. */
static void K(tanh_grad_keys)(const attn__pairs *p, const attn__tanh_sums *sums, int64_t d)
{
    const int wide = (int)(p->n + V_LANES - 1) / V_LANES * V_LANES;
    const void *rows[ATTN__BLOCK];
    real done[V_LANES];
    real *turned = sums->turned;
    for (int64_t j = 0; j < p->n; j++) rows[j] = (const real *)sums->t + j * p->ld;
    K(pack)((int)p->n, wide, sums->lanes, rows, 1, turned);
    for (int64_t j = 0; j < p->n; j += V_LANES) {
        v_vec sum = v_set(0);
        for (int l = 0; l < sums->lanes; l++) sum = v_add(sum, v_load(turned + l * wide + j));
        v_store(done, sum);
        for (int64_t x = j; x < p->n && x < j + V_LANES; x++)
            sums->d_k[x * p->depth + d] += (double)done[x - j];
    }
}

static void K(tanh_grad)(const attn__pairs *p, const attn__tanh_sums *sums)
{
    for (int64_t d = 0; d < p->depth; d++) {
        for (int l = 0; l < p->w; l += V_LANES) K(tanh_grad_lanes)(p, sums, d, l);
        if (sums->d_k) K(tanh_grad_keys)(p, sums, d);
    }
}

#endif
