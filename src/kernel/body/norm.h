/* SPDX-License-Identifier: MIT
 * Weights that follow from a score and a few numbers of its row: sigmoid, squared ReLU, the
 * score itself, entmax with its threshold; and what finds a threshold: counts and f64 sums over
 * all keys of a row. Scores come in units of log 2. docs/numerics.md ("Normalisers") is the
 * definition.
 *
 * A weight that is 0 because its key is out is marked -0 as a forbidden one is, and its slope
 * is 0, so that the value of the key is not used. A NaN is the positive one: its sign is no
 * mark. */
#ifndef ATTN__BODY_NORM_H
#define ATTN__BODY_NORM_H

/* The rows of attn__norm_rows as reals, [NORM_FIELDS][ATTN__PANEL]. */
enum { NORM_SHIFT, NORM_SLOPE, NORM_POWER, NORM_FACTOR, NORM_MEAN, NORM_TOP, NORM_FIELDS };

typedef struct K(norm_reals) {
    real of[NORM_FIELDS][ATTN__PANEL];
} K(norm_reals);

static void K(norm_load)(int w, const attn__norm_rows *rows, K(norm_reals) * to)
{
    const double *from[NORM_FIELDS] = {rows->shift,  rows->slope, rows->power,
                                       rows->factor, rows->mean,  rows->top};
    for (int i = 0; i < NORM_FIELDS; i++)
        for (int l = 0; l < w; l++) to->of[i][l] = (real)from[i][l];
}

static inline v_vec K(norm_field)(const K(norm_reals) * rows, int field, int l)
{
    return v_load(rows->of[field] + l);
}

/* Powers beyond this are of keys far above the threshold of their row: there are none. */
#if REAL_BITS == 32
#    define NORM_HIGH 120.0f
#else
#    define NORM_HIGH 1000.0
#endif

/* ---- a weight and its slope ---------------------------------------------------------------
 */

/* The weight of score x in lane l of the rows; *slope that by the natural score. */
typedef v_vec (*K(norm_at))(v_vec x, const K(norm_reals) * rows, int l, v_vec *slope);

/* Keys with y not above 0 are out. */
static inline v_vec K(norm_out)(v_vec y, v_vec weight)
{
    return v_select(v_lt(v_set(0), y), weight, v_set(-(real)0));
}

static inline v_vec K(norm_log2)(v_vec y)
{
    return v_mul(K(vec_log)(y), v_set((real)0x1.71547652b82fep+0));
}

static inline v_vec K(sigmoid_at)(v_vec x, const K(norm_reals) * rows, int l, v_vec *slope)
{
    v_vec y = v_add(x, K(norm_field)(rows, NORM_SHIFT, l)), e[1] = {v_sub(v_set(0), v_abs(y))};
    K(v_exp2)(e, 1);
    const v_vec top = v_div(v_set(1), v_add(v_set(1), e[0])), bottom = v_mul(e[0], top);
    const v_vec factor = K(norm_field)(rows, NORM_FACTOR, l);
    *slope = v_mul(factor, v_mul(top, bottom));
    return v_mul(factor, v_select(v_lt(y, v_set(0)), bottom, top));
}

static inline v_vec K(relu2_at)(v_vec x, const K(norm_reals) * rows, int l, v_vec *slope)
{
    const v_vec y =
        v_mul(v_add(x, K(norm_field)(rows, NORM_SHIFT, l)), v_set((real)0x1.62e42fefa39efp-1));
    const v_vec factor = K(norm_field)(rows, NORM_FACTOR, l);
    *slope = K(norm_out)(y, v_mul(v_set(2), v_mul(factor, y)));
    return v_select(v_nan(y), y, K(norm_out)(y, v_mul(factor, v_mul(y, y))));
}

static inline v_vec K(linear_at)(v_vec x, const K(norm_reals) * rows, int l, v_vec *slope)
{
    const v_vec y =
        v_mul(v_add(x, K(norm_field)(rows, NORM_SHIFT, l)), v_set((real)0x1.62e42fefa39efp-1));
    *slope = K(norm_field)(rows, NORM_FACTOR, l);
    return v_mul(*slope, y);
}

static inline v_vec K(entmax_y)(v_vec x, const K(norm_reals) * rows, int l)
{
    return v_fma(v_sub(x, K(norm_field)(rows, NORM_TOP, l)), K(norm_field)(rows, NORM_SLOPE, l),
                 v_sub(v_set(0), K(norm_field)(rows, NORM_SHIFT, l)));
}

/* power 1 in every lane: alpha 2. */
static inline v_vec K(entmax_one_at)(v_vec x, const K(norm_reals) * rows, int l, v_vec *slope)
{
    const v_vec y = K(entmax_y)(x, rows, l);
    *slope = K(norm_out)(y, v_set(1));
    return v_select(v_nan(y), y, K(norm_out)(y, v_mul(K(norm_field)(rows, NORM_FACTOR, l), y)));
}

/* power 2 in every lane: alpha 1.5. */
static inline v_vec K(entmax_two_at)(v_vec x, const K(norm_reals) * rows, int l, v_vec *slope)
{
    const v_vec y = K(entmax_y)(x, rows, l);
    *slope = K(norm_out)(y, y);
    return v_select(v_nan(y), y,
                    K(norm_out)(y, v_mul(K(norm_field)(rows, NORM_FACTOR, l), v_mul(y, y))));
}

/* Lanes of power 1, 2 and 0 as well, the first two with the bits of above. */
static inline v_vec K(entmax_any_at)(v_vec x, const K(norm_reals) * rows, int l, v_vec *slope)
{
    const v_vec y = K(entmax_y)(x, rows, l), log = K(norm_log2)(y), one = v_set(1);
    const v_vec power = K(norm_field)(rows, NORM_POWER, l);
    const v_vec factor = K(norm_field)(rows, NORM_FACTOR, l);
    const v_mask soft = v_lt(power, v_set((real)0.25));
    const v_mask is_one = v_lt(v_abs(v_sub(power, one)), v_set(REAL_LEAST));
    const v_mask is_two = v_lt(v_abs(v_sub(power, v_set(2))), v_set(REAL_LEAST));
    v_vec e[2] = {v_select(soft, y, v_mul(power, log)), v_mul(v_sub(power, one), log)};
    for (int i = 0; i < 2; i++) e[i] = v_min(v_set(NORM_HIGH), e[i]);
    K(v_exp2)(e, 2);
    v_vec weight = v_select(is_one, y, v_select(is_two, v_mul(y, y), e[0]));
    weight = v_mul(factor, weight);
    *slope = v_select(is_one, one, v_select(is_two, y, e[1]));
    *slope = v_select(soft, weight, K(norm_out)(y, *slope));
    weight = v_select(soft, weight, K(norm_out)(y, weight));
    return v_select(v_nan(y), y, weight);
}

/* ---- a tile of them ---------------------------------------------------------------------- */

static inline __attribute__((always_inline)) void
K(norm_each)(int64_t n, int w, const attn__norm_rows *rows, real *s, const uint64_t *allowed,
             real *dp, const K(norm_at) at, const bool graded)
{
    K(norm_reals) reals;
    K(norm_load)(w, rows, &reals);
    for (int64_t j = 0; j < n; j++)
        for (int l = 0; l < w; l += V_LANES) {
            const v_mask ok = v_mask_from(allowed ? allowed[j] >> l : ~(uint64_t)0);
            v_vec slope, p = at(v_load(s + j * w + l), &reals, l, &slope);
            p = v_select(v_nan(p), v_set((real)NAN), p);
            v_store(s + j * w + l, v_select(ok, p, v_set(-(real)0)));
            if (!graded) continue;
            const v_vec mean = K(norm_field)(&reals, NORM_MEAN, l);
            v_vec ds = v_mul(slope, v_sub(v_load(dp + j * w + l), mean));
            ds = v_select(v_lt(v_set(0), slope), ds, v_set(0));
            ds = v_select(v_nan(p), p, ds);
            v_store(dp + j * w + l, v_select(ok, ds, v_set(0)));
        }
}

static void K(norm_sigmoid)(int64_t n, int w, const attn__norm_rows *rows, void *s,
                            const uint64_t *allowed)
{
    K(norm_each)(n, w, rows, s, allowed, NULL, K(sigmoid_at), false);
}

static void K(grade_sigmoid)(int64_t n, int w, const attn__norm_rows *rows, void *s,
                             const uint64_t *allowed, void *dp)
{
    K(norm_each)(n, w, rows, s, allowed, dp, K(sigmoid_at), true);
}

static void K(norm_relu2)(int64_t n, int w, const attn__norm_rows *rows, void *s,
                          const uint64_t *allowed)
{
    K(norm_each)(n, w, rows, s, allowed, NULL, K(relu2_at), false);
}

static void K(grade_relu2)(int64_t n, int w, const attn__norm_rows *rows, void *s,
                           const uint64_t *allowed, void *dp)
{
    K(norm_each)(n, w, rows, s, allowed, dp, K(relu2_at), true);
}

static void K(norm_linear)(int64_t n, int w, const attn__norm_rows *rows, void *s,
                           const uint64_t *allowed)
{
    K(norm_each)(n, w, rows, s, allowed, NULL, K(linear_at), false);
}

static void K(grade_linear)(int64_t n, int w, const attn__norm_rows *rows, void *s,
                            const uint64_t *allowed, void *dp)
{
    K(norm_each)(n, w, rows, s, allowed, dp, K(linear_at), true);
}

/* The power that all lanes have, 1 or 2; else 0. */
static int K(entmax_power)(int w, const attn__norm_rows *rows)
{
    const double power = rows->power[0];
    for (int l = 0; l < w; l++)
        if (rows->power[l] != power) return 0;
    return power == 1 ? 1 : power == 2 ? 2 : 0;
}

static void K(norm_entmax)(int64_t n, int w, const attn__norm_rows *rows, void *s,
                           const uint64_t *allowed)
{
    const int power = K(entmax_power)(w, rows);
    if (power == 1)
        K(norm_each)(n, w, rows, s, allowed, NULL, K(entmax_one_at), false);
    else if (power == 2)
        K(norm_each)(n, w, rows, s, allowed, NULL, K(entmax_two_at), false);
    else
        K(norm_each)(n, w, rows, s, allowed, NULL, K(entmax_any_at), false);
}

static void K(grade_entmax)(int64_t n, int w, const attn__norm_rows *rows, void *s,
                            const uint64_t *allowed, void *dp)
{
    const int power = K(entmax_power)(w, rows);
    if (power == 1)
        K(norm_each)(n, w, rows, s, allowed, dp, K(entmax_one_at), true);
    else if (power == 2)
        K(norm_each)(n, w, rows, s, allowed, dp, K(entmax_two_at), true);
    else
        K(norm_each)(n, w, rows, s, allowed, dp, K(entmax_any_at), true);
}

/* ---- all keys of a row --------------------------------------------------------------------
 */

static void K(forbid)(int64_t n, int w, const uint64_t *allowed, void *s)
{
    const v_vec never = v_set(-(real)INFINITY);
    real *x = s;
    for (int64_t j = 0; j < n; j++)
        for (int l = 0; l < w; l += V_LANES) {
            real *at = x + j * w + l;
            v_store(at, v_select(v_mask_from(allowed[j] >> l), v_load(at), never));
        }
}

/* Counted in reals a few thousand keys at a time, so that every count is exact. */
static void K(count_above)(int64_t n, int w, const void *s, const void *t, double *count)
{
    enum { FEW = 1 << 12 };
    const real *x = s, *level = t;
    for (int l = 0; l < w; l++) count[l] = 0;
    for (int64_t j0 = 0; j0 < n; j0 += FEW)
        for (int l = 0; l < w; l += V_LANES) {
            const int64_t end = j0 + FEW < n ? j0 + FEW : n;
            const v_vec at = v_load(level + l);
            real some[V_LANES];
            v_vec sum = v_set(0);
            for (int64_t j = j0; j < end; j++)
                sum = v_add(sum, v_select(v_lt(at, v_load(x + j * w + l)), v_set(1), v_set(0)));
            v_store(some, sum);
            for (int i = 0; i < V_LANES; i++) count[l + i] += (double)some[i];
        }
}

/* log2 of a positive normal double, as log is made in elementary.h. */
static inline d_vec K(d_log2)(d_vec x)
{
    const d_vec k = d_exponent(x), f = d_sub(d_mantissa(x), d_set(1.0));
    const d_vec s = d_div(f, d_add(d_set(2.0), f)), z = d_mul(s, s);
    d_vec p = d_set(map_log_c_f64[D_LOG_TERMS - 1]);
    UNROLL(8)
    for (int i = D_LOG_TERMS - 2; i >= 0; i--) p = d_fma(p, z, d_set(map_log_c_f64[i]));
    const d_vec log = d_fma(d_mul(z, s), p, d_add(s, s));
    return d_fma(log, d_set(0x1.71547652b82fep+0), k);
}

static inline d_vec K(d_norm_y)(const real *x, const attn__norm_rows *rows, int l)
{
    return d_fma(d_sub(d_load_real(x + l), d_load(rows->top + l)), d_load(rows->slope + l),
                 d_sub(d_set(0.0), d_load(rows->shift + l)));
}

/* max(y, 0)^power and max(y, 0)^(power - 1) where y is above 0; power 0: 2^y. The logarithm,
 * base 2, of the first goes to *log. power: that of all lanes, 0: each has its own. */
static inline __attribute__((always_inline)) d_vec
K(d_norm_power)(d_vec y, d_vec own, const int power, d_vec *slope, d_vec *log)
{
    const d_vec one = d_set(1.0), zero = d_set(0.0);
    const d_mask some = d_lt(zero, y), soft = d_lt(own, d_set(0.25));
    d_vec value = power == 1 ? y : d_mul(y, y);
    *slope = power == 1 ? one : y;
    if (power == 0) {
        const d_vec above = d_select(some, y, one);
        *log = d_select(soft, y, d_mul(own, K(d_log2)(above)));
        const d_mask is_one = d_lt(d_abs(d_sub(own, one)), d_set(0x1p-1000));
        const d_mask is_two = d_lt(d_abs(d_sub(own, d_set(2.0))), d_set(0x1p-1000));
        const d_vec any = K(d_exp2)(d_min(d_set(1000.0), *log)), up = d_div(any, above);
        value = d_select(is_one, y, d_select(is_two, d_mul(y, y), any));
        *slope = d_select(is_one, one, d_select(is_two, y, d_select(soft, any, up)));
    }
    const d_vec bad = d_select(d_nan(y), y, zero);
    *slope = d_select(some, *slope, d_select(soft, *slope, bad));
    return d_select(some, value, d_select(soft, value, bad));
}

enum { NORM_PAIR = V_LANES / D_LANES };

static inline __attribute__((always_inline)) void
K(entmax_total_lanes)(int64_t n, int w, const attn__norm_rows *rows, const real *x, int l,
                      double *total, double *slope, const int power)
{
    d_vec sum[NORM_PAIR], more[NORM_PAIR], log = d_set(0.0);
    UNROLL(2)
    for (int i = 0; i < NORM_PAIR; i++) sum[i] = more[i] = d_set(0.0);
    for (int64_t j = 0; j < n; j++) {
        UNROLL(2)
        for (int i = 0; i < NORM_PAIR; i++) {
            const int lane = l + i * D_LANES;
            d_vec up, y = K(d_norm_y)(x + j * w, rows, lane);
            y = K(d_norm_power)(y, d_load(rows->power + lane), power, &up, &log);
            sum[i] = d_add(sum[i], y);
            more[i] = d_add(more[i], up);
        }
    }
    UNROLL(2)
    for (int i = 0; i < NORM_PAIR; i++) {
        d_store(total + l + i * D_LANES, sum[i]);
        d_store(slope + l + i * D_LANES, more[i]);
    }
}

static void K(entmax_total)(int64_t n, int w, const attn__norm_rows *rows, const void *s,
                            double *total, double *slope)
{
    const int power = K(entmax_power)(w, rows);
    for (int l = 0; l < w; l += V_LANES) {
        if (power == 1)
            K(entmax_total_lanes)(n, w, rows, s, l, total, slope, 1);
        else if (power == 2)
            K(entmax_total_lanes)(n, w, rows, s, l, total, slope, 2);
        else
            K(entmax_total_lanes)(n, w, rows, s, l, total, slope, 0);
    }
}

static inline void K(norm_sum)(double *sum, d_vec a, d_vec b)
{
    d_store(sum, d_fma(a, b, d_load(sum)));
}

/* One key, D_LANES lanes from l on. Keys that are out add nothing, whatever d is. */
static inline __attribute__((always_inline)) void
K(entmax_sums_key)(const real *x, const real *dp, const attn__norm_rows *rows, int l,
                   const int power, const bool logs, attn__norm_sums *to)
{
    const d_vec one = d_set(1.0), zero = d_set(0.0), factor = d_load(rows->factor + l);
    const d_vec own = d_load(rows->power + l), y = K(d_norm_y)(x, rows, l);
    d_vec slope, log = zero, a = d_mul(factor, K(d_norm_power)(y, own, power, &slope, &log));
    slope = d_select(d_lt(own, d_set(0.25)), a, slope);
    const d_mask none = d_lt(slope, d_set(0x1p-1000));
    const d_vec d = d_select(none, zero, d_load_real(dp + l));
    K(norm_sum)(to->w + l, slope, one);
    K(norm_sum)(to->wd + l, slope, d);
    if (!logs) return;
    const d_vec ln = d_mul(d_add(log, K(d_log2)(factor)), d_set(0x1.62e42fefa39efp-1));
    const d_vec h = d_select(none, zero, d_sub(zero, d_mul(a, ln)));
    const d_vec hl = d_select(none, zero, d_mul(h, ln));
    K(norm_sum)(to->ad + l, d_select(none, zero, a), d);
    K(norm_sum)(to->h + l, h, one);
    K(norm_sum)(to->hd + l, h, d);
    K(norm_sum)(to->hl + l, hl, one);
    K(norm_sum)(to->hld + l, hl, d);
}

static inline __attribute__((always_inline)) void
K(entmax_sums_tile)(int64_t n, int w, const attn__norm_rows *rows, const real *x,
                    const real *dp, const int power, const bool logs, attn__norm_sums *to)
{
    for (int64_t j = 0; j < n; j++)
        for (int l = 0; l < w; l += D_LANES)
            K(entmax_sums_key)(x + j * w, dp + j * w, rows, l, power, logs, to);
}

static void K(entmax_sums)(int64_t n, int w, const attn__norm_rows *rows, const void *s,
                           const void *dp, bool logs, attn__norm_sums *sums)
{
    const int power = logs ? 0 : K(entmax_power)(w, rows);
    if (logs)
        K(entmax_sums_tile)(n, w, rows, s, dp, 0, true, sums);
    else if (power == 1)
        K(entmax_sums_tile)(n, w, rows, s, dp, 1, false, sums);
    else if (power == 2)
        K(entmax_sums_tile)(n, w, rows, s, dp, 2, false, sums);
    else
        K(entmax_sums_tile)(n, w, rows, s, dp, 0, false, sums);
}

#endif
