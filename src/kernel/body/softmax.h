/* SPDX-License-Identifier: MIT
 * What happens to a tile of scores between the two products: terms are added, the softcap bends
 * them, the maximum is taken, exp2 and the sum. Rows are keys, lanes are queries. */
#ifndef ATTN__BODY_SOFTMAX_H
#define ATTN__BODY_SOFTMAX_H

enum { EXP_KEYS = 4 };

static void K(scale)(int64_t n, int w, double coef, void *s)
{
    const v_vec c = v_set((real)coef);
    real *x = s;
    for (int64_t i = 0; i < n * w; i += V_LANES) v_store(x + i, v_mul(v_load(x + i), c));
}

static void K(add)(int64_t n, int w, const void *term, double coef, void *s)
{
    const v_vec c = v_set((real)coef), most = v_set(REAL_MAX), least = v_set(-REAL_MAX);
    const real *t = term;
    real *x = s;
    for (int64_t i = 0; i < n * w; i += V_LANES) {
        v_vec old = v_load(x + i), add = v_load(t + i), sum = v_fma(add, c, old);
        v_vec low = v_min(v_min(old, add), least), high = v_max(v_max(old, add), most);
        sum = v_select(v_lt(sum, least), low, sum);
        v_store(x + i, v_select(v_lt(most, sum), high, sum));
    }
}

static void K(cap)(int64_t n, int w, double cap, void *s)
{
    const v_vec c = v_set((real)cap);
    real *x = s;
    for (int64_t i = 0; i < n * w; i += V_LANES)
        v_store(x + i, v_mul(c, K(v_tanh)(v_div(v_load(x + i), c))));
}

/* Four maxima run side by side; which of them a score meets first does not show. */
static inline __attribute__((always_inline)) void
K(row_max_one)(int64_t n, int w, const real *s, const uint64_t *allowed, real *m, int l,
               const bool masked)
{
    v_vec top[4] = {v_load(m + l), v_load(m + l), v_load(m + l), v_load(m + l)};
    for (int64_t j = 0; j < n; j += 4) {
        UNROLL(4)
        for (int64_t i = 0; i < 4; i++) {
            const int64_t key = j + i < n ? j + i : n - 1;
            v_vec higher = v_max(v_load(s + key * w + l), top[i]);
            top[i] = masked ? v_select(v_mask_from(allowed[key] >> l), higher, top[i]) : higher;
        }
    }
    v_store(m + l, v_max(v_max(top[0], top[1]), v_max(top[2], top[3])));
}

/* ---- narrow rows of w < V_LANES scores, a power of 2: a vector holds those of several keys */

/* Bits of the keys in a vector, of which n are left. */
static inline v_mask K(narrow_allowed)(int w, int64_t n, const uint64_t *allowed)
{
    uint64_t bits = 0;
    for (int i = 0; i < V_LANES / w && i < n; i++)
        bits |= (allowed[i] & (((uint64_t)1 << w) - 1)) << (i * w);
    return v_mask_from(bits);
}

static inline __attribute__((always_inline)) void K(narrow_max)(int64_t n, int w, const real *s,
                                                                const uint64_t *allowed,
                                                                real *m, const bool masked)
{
    real room[V_LANES];
    v_vec top = v_set(-(real)INFINITY);
    int64_t j = 0;
    for (const int keys = V_LANES / w; j + keys <= n; j += keys) {
        const v_vec higher = v_max(v_load(s + j * w), top);
        top = masked ? v_select(K(narrow_allowed)(w, keys, allowed + j), higher, top) : higher;
    }
    v_store(room, top);
    for (int i = 0; i < V_LANES; i++)
        if (room[i] > m[i & (w - 1)]) m[i & (w - 1)] = room[i];
    for (int64_t i = j * w; i < n * w; i++)
        if (s[i] > m[i & (w - 1)] && (!masked || allowed[i / w] >> (i & (w - 1)) & 1))
            m[i & (w - 1)] = s[i];
}

/* vectors of scores, of which n numbers are left, into weights. */
static inline __attribute__((always_inline)) void K(narrow_exp)(const int vectors, int64_t n,
                                                                int w, v_vec coef, real *s,
                                                                const uint64_t *allowed,
                                                                v_vec top, const bool masked)
{
    const int keys = V_LANES / w;
    v_vec p[EXP_KEYS];
    UNROLL(4)
    for (int x = 0; x < vectors; x++) {
        real *at = s + x * V_LANES;
        p[x] = v_sub(v_mul(vectors > 1 ? v_load(at) : v_load_n(at, n), coef), top);
    }
    K(v_exp2)(p, vectors);
    UNROLL(4)
    for (int x = 0; x < vectors; x++) {
        if (masked)
            p[x] = v_select(K(narrow_allowed)(w, n / w - x * keys, allowed + x * keys), p[x],
                            v_set(-(real)0));
        v_store_n(s + x * V_LANES, p[x], vectors > 1 ? V_LANES : n);
    }
}

static inline __attribute__((always_inline)) void
K(narrow_exp_sum)(int64_t n, int w, v_vec coef, real *s, const uint64_t *allowed, const real *m,
                  real *l, const bool masked)
{
    enum { STEP = EXP_KEYS * V_LANES };
    real room[V_LANES];
    for (int i = 0; i < V_LANES; i++) room[i] = m[i & (w - 1)];
    v_vec top = v_load(room), total = v_set(0);
    top = v_select(v_lt(top, v_set(-REAL_MAX)), v_set(0), top);
    int64_t i = 0;
    for (; i + STEP <= n * w; i += STEP) K(narrow_exp)
    (EXP_KEYS, n * w - i, w, coef, s + i, masked ? allowed + i / w : NULL, top, masked);
    for (; i < n * w; i += V_LANES) K(narrow_exp)
    (1, n * w - i, w, coef, s + i, masked ? allowed + i / w : NULL, top, masked);
    for (int64_t j = 0; j < n && l; j++) total = v_add(total, v_load_n(s + j * w, w));
    if (l) v_store_n(l, v_add(v_load_n(l, w), total), w);
}

static void K(row_max)(const int64_t *stop, int w, const void *s, const uint64_t *allowed,
                       void *m)
{
    if (w < V_LANES) {
        if (allowed)
            K(narrow_max)(stop[0], w, s, allowed, m, true);
        else
            K(narrow_max)(stop[0], w, s, NULL, m, false);
        return;
    }
    for (int l = 0; l < w; l += V_LANES) {
        const int64_t n = stop[l / ATTN__SLICE];
        if (allowed)
            K(row_max_one)(n, w, s, allowed, m, l, true);
        else
            K(row_max_one)(n, w, s, NULL, m, l, false);
    }
}

/* Several keys at once, step by step, because one exponential is a long chain of its own. */
static inline __attribute__((always_inline)) v_vec
K(exp_sum_keys)(const int keys, int w, v_vec coef, real *s, const uint64_t *allowed, v_vec top,
                v_vec total, int l, const bool masked)
{
    v_vec p[EXP_KEYS];
    UNROLL(4)
    for (int j = 0; j < keys; j++) p[j] = v_sub(v_mul(v_load(s + j * w), coef), top);
    K(v_exp2)(p, keys);
    UNROLL(4)
    for (int j = 0; j < keys; j++) {
        if (masked) p[j] = v_select(v_mask_from(allowed[j] >> l), p[j], v_set(-(real)0));
        total = v_add(total, p[j]);
        v_store(s + j * w, p[j]);
    }
    return total;
}

static inline __attribute__((always_inline)) void
K(exp_sum_one)(int64_t n, int64_t clean, int w, v_vec coef, real *s, const uint64_t *allowed,
               const real *m, real *sum, int l, const bool masked)
{
    v_vec top = v_load(m + l), total = v_set(0);
    int64_t j = 0;
    top = v_select(v_lt(top, v_set(-REAL_MAX)), v_set(0), top);
    s += l;
    for (; j + EXP_KEYS <= clean && masked; j += EXP_KEYS)
        total = K(exp_sum_keys)(EXP_KEYS, w, coef, s + j * w, NULL, top, total, l, false);
    for (; j + EXP_KEYS <= n; j += EXP_KEYS)
        total = K(exp_sum_keys)(EXP_KEYS, w, coef, s + j * w, masked ? allowed + j : NULL, top,
                                total, l, masked);
    for (; j < n; j++)
        total = K(exp_sum_keys)(1, w, coef, s + j * w, masked ? allowed + j : NULL, top, total,
                                l, masked);
    if (sum) v_store(sum + l, v_add(v_load(sum + l), total));
}

static void K(exp_sum)(const int64_t *stop, const int64_t *clean, int w, double coef, void *s,
                       const uint64_t *allowed, const void *m, void *l)
{
    const v_vec c = v_set((real)coef);
    if (w < V_LANES) {
        if (allowed)
            K(narrow_exp_sum)(stop[0], w, c, s, allowed, m, l, true);
        else
            K(narrow_exp_sum)(stop[0], w, c, s, NULL, m, l, false);
        return;
    }
    for (int x = 0; x < w; x += V_LANES) {
        const int64_t n = stop[x / ATTN__SLICE], plain = clean[x / ATTN__SLICE];
        if (allowed && plain < n)
            K(exp_sum_one)(n, plain, w, c, s, allowed, m, l, x, true);
        else
            K(exp_sum_one)(n, n, w, c, s, NULL, m, l, x, false);
    }
}

static void K(drop)(int64_t n, int w, const uint64_t *keep, void *p)
{
    real *x = p;
    for (int64_t j = 0; j < n; j++)
        for (int l = 0; l < w; l += V_LANES) {
            real *at = x + j * w + l;
            v_store(at, v_select(v_mask_from(keep[j] >> l), v_load(at), v_set(-(real)0)));
        }
}

#endif
