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

static void K(row_max)(int64_t n, int w, const void *s, const uint64_t *allowed, void *m)
{
    for (int l = 0; l < w; l += V_LANES) {
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
K(exp_sum_one)(int64_t n, int w, v_vec coef, real *s, const uint64_t *allowed, const real *m,
               real *sum, int l, const bool masked)
{
    v_vec top = v_load(m + l), total = v_set(0);
    int64_t j = 0;
    top = v_select(v_lt(top, v_set(-REAL_MAX)), v_set(0), top);
    s += l;
    for (; j + EXP_KEYS <= n; j += EXP_KEYS)
        total = K(exp_sum_keys)(EXP_KEYS, w, coef, s + j * w, masked ? allowed + j : NULL, top,
                                total, l, masked);
    for (; j < n; j++)
        total = K(exp_sum_keys)(1, w, coef, s + j * w, masked ? allowed + j : NULL, top, total,
                                l, masked);
    v_store(sum + l, v_add(v_load(sum + l), total));
}

static void K(exp_sum)(int64_t n, int w, double coef, void *s, const uint64_t *allowed,
                       const void *m, void *l)
{
    const v_vec c = v_set((real)coef);
    for (int x = 0; x < w; x += V_LANES) {
        if (allowed)
            K(exp_sum_one)(n, w, c, s, allowed, m, l, x, true);
        else
            K(exp_sum_one)(n, w, c, s, NULL, m, l, x, false);
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
