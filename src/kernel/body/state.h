/* SPDX-License-Identifier: MIT
 * The way in and the way out of a panel: rows of queries turned into lanes, chunks folded into
 * the f64 state, the state turned back into rows; and the element types at both ends. */
#ifndef ATTN__BODY_STATE_H
#define ATTN__BODY_STATE_H

/* One square block: lanes l .., elements d ..; whole: nothing of it lies beyond n or depth. */
static inline __attribute__((always_inline)) void K(pack_block)(int n, int w, int64_t depth,
                                                                const void *const *rows,
                                                                v_vec scale, real *t, int l,
                                                                int64_t d, const bool whole)
{
    v_vec x[V_LANES];
    UNROLL(16)
    for (int i = 0; i < V_LANES; i++) {
        if (whole)
            x[i] = v_load((const real *)rows[l + i] + d);
        else
            x[i] = l + i < n ? v_load_n((const real *)rows[l + i] + d, depth - d) : v_set(0);
    }
    v_transpose(x);
    UNROLL(16)
    for (int i = 0; i < V_LANES; i++)
        if (whole || d + i < depth) v_store(t + (d + i) * w + l, v_mul(x[i], scale));
}

static void K(pack)(int n, int w, int64_t depth, const void *const *rows, double scale, void *t)
{
    const v_vec c = v_set((real)scale);
    for (int l = 0; l < w; l += V_LANES)
        for (int64_t d = 0; d < depth; d += V_LANES) {
            if (l + V_LANES <= n && d + V_LANES <= depth)
                K(pack_block)(n, w, depth, rows, c, t, l, d, true);
            else
                K(pack_block)(n, w, depth, rows, c, t, l, d, false);
        }
}

/* The new maxima and sums, and how much of the old state and of the chunk they keep. A lane
 * whose maximum is -inf has no weight; only a NaN in its sum goes on, because then every score
 * it saw was one. */
static inline __attribute__((always_inline)) void K(fold_lanes)(int w, const real *m,
                                                                const real *l, double *sm,
                                                                double *sl, double *keep,
                                                                double *gain, const bool fresh)
{
    for (int x = 0; x < w; x += D_LANES) {
        d_vec old = fresh ? d_set(-(double)INFINITY) : d_load(sm + x);
        d_vec mine = d_load_real(m + x), top = d_max(mine, old);
        d_mask empty = d_lt(mine, d_set(-0x1.fffffffffffffp1023));
        d_vec less = d_sub(mine, top); /* fresh: 0, whose power is 1, or a NaN */
        d_vec k = d_select(empty, d_set(1.0), fresh ? d_set(0.0) : K(d_exp2)(d_sub(old, top)));
        d_vec g =
            d_select(empty, d_set(0.0), fresh ? d_add(less, d_set(1.0)) : K(d_exp2)(less));
        d_vec kept = fresh ? d_set(0.0) : d_mul(d_load(sl + x), k);
        d_store(sm + x, top);
        d_store(sl + x, d_fma(d_load_real(l + x), g, kept));
        d_store(keep + x, k);
        d_store(gain + x, g);
    }
}

/* A lane without weight in the chunk adds nothing, whatever the values were. */
static inline __attribute__((always_inline)) void
K(fold_state)(int w, int64_t width, const real *acc, const double *keep, const double *gain,
              double *so, const bool fresh)
{
    for (int x = 0; x < w; x += D_LANES) {
        const d_vec k = d_load(keep + x), g = d_load(gain + x);
        const d_mask some = d_lt(d_set(0.0), g);
        for (int64_t e = 0; e < width; e++) {
            d_vec kept = fresh ? d_set(0.0) : d_mul(d_load(so + e * w + x), k);
            d_vec term = d_select(some, d_load_real(acc + e * w + x), g);
            d_store(so + e * w + x, d_fma(term, g, kept));
        }
    }
}

static void K(fold)(int w, int64_t width, bool fresh, const void *m, const void *l,
                    const void *acc, double *sm, double *sl, double *so)
{
    double keep[ATTN__PANEL], gain[ATTN__PANEL];
    if (fresh) {
        K(fold_lanes)(w, m, l, sm, sl, keep, gain, true);
        K(fold_state)(w, width, acc, keep, gain, so, true);
    } else {
        K(fold_lanes)(w, m, l, sm, sl, keep, gain, false);
        K(fold_state)(w, width, acc, keep, gain, so, false);
    }
}

/* A square block of outputs back into rows. */
static inline __attribute__((always_inline)) void K(finish_rows)(v_vec *x, int n, int64_t width,
                                                                 void *const *rows, int l,
                                                                 int64_t e, const bool whole)
{
    const v_vec quiet = v_set((real)NAN);
    v_transpose(x);
    UNROLL(16)
    for (int i = 0; i < V_LANES; i++) {
        if (!whole && l + i >= n) break;
        real *row = (real *)rows[l + i] + e;
        v_vec y = v_add(v_select(v_nan(x[i]), quiet, x[i]), v_set(0)); /* no -0 */
        if (whole)
            v_store(row, y);
        else
            v_store_n(row, y, width - e);
    }
}

static inline __attribute__((always_inline)) void
K(finish_block)(int n, int w, int64_t width, const double *so, const double *inv,
                void *const *rows, int l, int64_t e, const bool whole)
{
    v_vec x[V_LANES];
    UNROLL(16)
    for (int i = 0; i < V_LANES; i++)
        x[i] = whole || e + i < width ? v_mul_wide(so + (e + i) * w + l, inv + l) : v_set(0);
    K(finish_rows)(x, n, width, rows, l, e, whole);
}

static void K(finish)(int n, int w, int64_t width, const double *so, const double *inv,
                      void *const *rows)
{
    for (int l = 0; l < n; l += V_LANES)
        for (int64_t e = 0; e < width; e += V_LANES) {
            if (l + V_LANES <= n && e + V_LANES <= width)
                K(finish_block)(n, w, width, so, inv, rows, l, e, true);
            else
                K(finish_block)(n, w, width, so, inv, rows, l, e, false);
        }
}

/* A lane without weight in the chunk has 0 there, whatever the values were; some: there are such
 * lanes. */
static inline __attribute__((always_inline)) void
K(finish_chunk_block)(int n, int w, int64_t width, const real *m, const real *acc,
                      const double *inv, void *const *rows, int l, int64_t e, const bool some,
                      const bool whole)
{
    const v_mask empty = v_lt(v_load(m + l), v_set(-REAL_MAX));
    const real zeros[V_LANES] = {0};
    const v_vec nothing = v_scale_wide(zeros, inv + l);
    v_vec x[V_LANES];
    UNROLL(16)
    for (int i = 0; i < V_LANES; i++) {
        x[i] = nothing;
        if (whole || e + i < width) x[i] = v_scale_wide(acc + (e + i) * w + l, inv + l);
        if (some) x[i] = v_select(empty, nothing, x[i]);
    }
    K(finish_rows)(x, n, width, rows, l, e, whole);
}

/* Whether inv holds 1 / sum up to what doubles round, of sums that keep quotients normal. */
static inline __attribute__((always_inline)) bool K(finish_plain)(const real *sum,
                                                                  const double *inv)
{
    const v_vec b = v_load(sum);
    bool odd = v_any(v_lt(b, v_set((real)0.5))) || v_any(v_lt(v_set(1024), b));
    for (int i = 0; i < V_LANES; i += D_LANES) {
        const d_vec off = d_fma(d_load_real(sum + i), d_load(inv + i), d_set(-1.0));
        odd = odd || d_any(d_nan(off)) || d_any(d_lt(d_set(0x1p-52), d_abs(off)));
    }
    return !odd;
}

/* The rows of V_LANES lanes without doubles; false if some number of acc is too small or none, so
 * that they are still to be written. With r the real next to 1 / b and q that next to a r,
 * fma(a - q b, r, q) is the real next to a / b. So is a inv in doubles, rounded: a quotient of
 * two reals is never nearer to the middle of two than 2^-49 of it. */
static inline __attribute__((always_inline)) bool
K(finish_quotients)(int w, int64_t width, const real *sum, const real *acc, const double *inv,
                    void *const *rows)
{
    real ones[V_LANES];
    v_store(ones, v_set(1));
    const v_vec r = v_scale_wide(ones, inv), minus_b = v_sub(v_set(0), v_load(sum));
    v_vec least = v_set(1), left = v_set(0);
    for (int64_t e = 0; e < width; e += V_LANES) {
        v_vec x[V_LANES];
        UNROLL(16)
        for (int i = 0; i < V_LANES; i++, acc += w) {
            const v_vec a = v_load(acc), q = v_mul(a, r), rest = v_fma(q, minus_b, a);
            least = v_min(v_abs(a), least);
            left = v_add(left, rest); /* a NaN as soon as an a is infinite or none */
            x[i] = v_fma(rest, r, q);
        }
        v_transpose(x);
        UNROLL(16)
        for (int i = 0; i < V_LANES; i++) v_store((real *)rows[i] + e, x[i]);
    }
    return !v_any(v_lt(least, v_set((real)0x1p-80))) && !v_any(v_nan(left));
}

static void K(finish_chunk)(int n, int w, int64_t width, const void *m, const void *sum,
                            const void *acc, const double *inv, void *const *rows)
{
    const real *top = m, *sums = sum, *from = acc;
    for (int l = 0; l < n; l += V_LANES) {
        const bool some = v_any(v_lt(v_load(top + l), v_set(-REAL_MAX)));
        if (REAL_BITS == 32 && !some && l + V_LANES <= n && width % V_LANES == 0 &&
            K(finish_plain)(sums + l, inv + l) &&
            K(finish_quotients)(w, width, sums + l, from + l, inv + l, rows + l))
            continue;
        for (int64_t e = 0; e < width; e += V_LANES) {
            if (e + V_LANES > width || l + V_LANES > n)
                K(finish_chunk_block)(n, w, width, top, acc, inv, rows, l, e, true, false);
            else if (some)
                K(finish_chunk_block)(n, w, width, top, acc, inv, rows, l, e, true, true);
            else
                K(finish_chunk_block)(n, w, width, top, acc, inv, rows, l, e, false, true);
        }
    }
}

static void K(widen_real)(int64_t n, const void *src, void *dst)
{
    if (n > 0) memcpy(dst, src, (size_t)n * sizeof(real));
}

#if REAL_BITS == 32
static void K(widen_f64)(int64_t n, const void *src, void *dst)
{
    for (int64_t i = 0; i < n; i++) ((float *)dst)[i] = (float)((const double *)src)[i];
}

static void K(narrow_f64)(int64_t n, const void *src, void *dst)
{
    for (int64_t i = 0; i < n; i++) ((double *)dst)[i] = (double)((const float *)src)[i];
}

/* Whole vectors, then one vector through a buffer: memory past n is not touched. */
#    define HALF_LOOPS(type)                                                                   \
        static void K(widen_##type)(int64_t n, const void *src, void *dst)                     \
        {                                                                                      \
            const uint16_t *x = src;                                                           \
            uint16_t tail[S_LANES] = {0};                                                      \
            int64_t i = 0;                                                                     \
            for (; i + S_LANES <= n; i += S_LANES)                                             \
                s_store((float *)dst + i, s_load_##type(x + i));                               \
            if (i < n) {                                                                       \
                memcpy(tail, x + i, (size_t)(n - i) * sizeof *x);                              \
                s_store_n((float *)dst + i, s_load_##type(tail), n - i);                       \
            }                                                                                  \
        }                                                                                      \
        static void K(narrow_##type)(int64_t n, const void *src, void *dst)                    \
        {                                                                                      \
            uint16_t *y = dst, tail[S_LANES];                                                  \
            int64_t i = 0;                                                                     \
            for (; i + S_LANES <= n; i += S_LANES)                                             \
                s_store_##type(y + i, s_load((const float *)src + i));                         \
            if (i < n) {                                                                       \
                s_store_##type(tail, s_load_n((const float *)src + i, n - i));                 \
                memcpy(y + i, tail, (size_t)(n - i) * sizeof *y);                              \
            }                                                                                  \
        }
HALF_LOOPS(bf16)
HALF_LOOPS(f16)
#    undef HALF_LOOPS
#    define K_WIDEN                                                                            \
        {                                                                                      \
            NULL, K(widen_f64), K(widen_real), K(widen_bf16), K(widen_f16)                     \
        }
#    define K_NARROW                                                                           \
        {                                                                                      \
            NULL, K(narrow_f64), K(widen_real), K(narrow_bf16), K(narrow_f16)                  \
        }
#else
static void K(widen_f32)(int64_t n, const void *src, void *dst)
{
    for (int64_t i = 0; i < n; i++) ((double *)dst)[i] = (double)((const float *)src)[i];
}

static void K(narrow_f32)(int64_t n, const void *src, void *dst)
{
    for (int64_t i = 0; i < n; i++) ((float *)dst)[i] = (float)((const double *)src)[i];
}

#    define HALF_LOOPS(type, DTYPE)                                                            \
        static void K(widen_##type)(int64_t n, const void *src, void *dst)                     \
        {                                                                                      \
            for (int64_t i = 0; i < n; i++) ((double *)dst)[i] = attn__get(DTYPE, src, i);     \
        }                                                                                      \
        static void K(narrow_##type)(int64_t n, const void *src, void *dst)                    \
        {                                                                                      \
            for (int64_t i = 0; i < n; i++)                                                    \
                attn__put(DTYPE, dst, i, ((const double *)src)[i]);                            \
        }
HALF_LOOPS(bf16, ATTN_DTYPE_BF16)
HALF_LOOPS(f16, ATTN_DTYPE_F16)
#    undef HALF_LOOPS
#    define K_WIDEN                                                                            \
        {                                                                                      \
            NULL, K(widen_real), K(widen_f32), K(widen_bf16), K(widen_f16)                     \
        }
#    define K_NARROW                                                                           \
        {                                                                                      \
            NULL, K(widen_real), K(narrow_f32), K(narrow_bf16), K(narrow_f16)                  \
        }
#endif

#endif
