/* SPDX-License-Identifier: MIT
 * exp, log, their companions near 0, and the sine, on vectors: what map.h builds the functions
 * of the tape from. Where a real would lose too much stands a pair, hi + lo with lo far
 * smaller. min(limit, x) and max(limit, x) in this order let a NaN through, so that none is
 * tested for. docs/numerics.md ("Functions of the tape") is the definition. */
#ifndef ATTN__BODY_ELEMENTARY_H
#define ATTN__BODY_ELEMENTARY_H

/* log 2 = HI + LO, HI short enough that n HI is exact; the rest of the polynomials is minimax:
 *   EXP_C    (e^r - 1 - r) / r^2        |r| <= 0.35    2^-31.9, 2^-61.5 of r
 *   LOG_C    (2 artanh(s) - 2 s) / s^3  in s^2         2^-30.2, 2^-59.4 of the logarithm */
enum { D_LOG_TERMS = 7 };
static const double map_log_c_f64[D_LOG_TERMS] = {
    0x1.5555555555594p-1, 0x1.999999997f145p-2, 0x1.24924942af81ep-2, 0x1.c71c5163f94e0p-3,
    0x1.746662e952ce9p-3, 0x1.399de6e034d92p-3, 0x1.2f2dde265dacdp-3};
#if REAL_BITS == 32
#    define REAL_LEAST 0x1p-126f /* the least normal real */
#    define REAL_TINY  0x1p-30f  /* x^2 is nothing beside x */
#    define LN2_HI     0x1.62e4p-1f
#    define LN2_LO     0x1.7f7d1cp-20f
#    define EXP_LOW    (-104.0f) /* e^x is 0 there */
#    define EXP_HIGH   89.0f     /* and infinite there */
#    define EXPM1_LOW  (-18.0f)  /* e^x - 1 is -1 there */
#    define EXP_C      map_exp_c_f32
#    define LOG_C      map_log_c_f32
enum { EXP_TERMS = 6, LOG_TERMS = 3 };
static const float map_exp_c_f32[EXP_TERMS] = {0x1p-1f,        0x1.555556p-3f,  0x1.5554a8p-5f,
                                               0x1.11108ap-7f, 0x1.6d7b38p-10f, 0x1.a1aa3p-13f};
static const float map_log_c_f32[LOG_TERMS] = {0x1.55557ap-1f, 0x1.995e26p-2f, 0x1.31f446p-2f};
#else
#    define REAL_LEAST 0x1p-1022
#    define REAL_TINY  0x1p-60
#    define LN2_HI     0x1.62e42fefa38p-1
#    define LN2_LO     0x1.ef35793c7673p-45
#    define EXP_LOW    (-746.0)
#    define EXP_HIGH   710.0
#    define EXPM1_LOW  (-40.0)
#    define EXP_C      map_exp_c_f64
#    define LOG_C      map_log_c_f64
enum { EXP_TERMS = 11, LOG_TERMS = D_LOG_TERMS };
static const double map_exp_c_f64[EXP_TERMS] = {0x1p-1,
                                                0x1.5555555555559p-3,
                                                0x1.555555555555bp-5,
                                                0x1.111111110f498p-7,
                                                0x1.6c16c16c140fcp-10,
                                                0x1.a01a01b0d4aacp-13,
                                                0x1.a01a01b1bcdc2p-16,
                                                0x1.71ddf5bb50de9p-19,
                                                0x1.27e4c37298fadp-22,
                                                0x1.af63a3af2e26fp-26,
                                                0x1.1f98c037c1c5fp-29};
#endif

/* c[0] + c[1] x + ..., one fma chain from the last coefficient. */
static inline __attribute__((always_inline)) v_vec K(v_poly)(const real *c, const int terms,
                                                             v_vec x)
{
    v_vec p = v_set(c[terms - 1]);
    UNROLL(24)
    for (int i = terms - 2; i >= 0; i--) p = v_fma(p, x, v_set(c[i]));
    return p;
}

/* The nearest integer, ties to even, of x times factor rounded once. */
static inline v_vec K(v_whole)(v_vec x, real factor)
{
    return v_sub(v_fma(x, v_set(factor), v_set(REAL_MAGIC)), v_set(REAL_MAGIC));
}

/* e^(x + low) = 2^n (1 + r + rest) with |r| <= 0.35: returns rest. */
static inline __attribute__((always_inline)) v_vec K(v_exp_parts)(v_vec x, v_vec low, v_vec *n,
                                                                  v_vec *r)
{
    *n = K(v_whole)(x, (real)0x1.71547652b82fep+0);
    v_vec top = v_fma(*n, v_set(-LN2_HI), x), small = v_fma(*n, v_set(-LN2_LO), low);
    *r = v_add(top, small);
    v_vec lost = v_add(v_sub(top, *r), small);
    return v_fma(v_mul(*r, *r), K(v_poly)(EXP_C, EXP_TERMS, *r), lost);
}

/* x 2^n in two steps, because 2^n may be no normal number; rounded once. */
static inline v_vec K(v_scale_far)(v_vec x, v_vec n)
{
    v_vec half = K(v_whole)(n, (real)0.5);
    return v_scale2(v_scale2(x, half), v_sub(n, half));
}

static inline v_vec K(vec_exp)(v_vec x)
{
    x = v_min(v_set(EXP_HIGH), v_max(v_set(EXP_LOW), x));
    v_vec n, r, rest = K(v_exp_parts)(x, v_set(0), &n, &r);
    return K(v_scale_far)(v_add(v_set(1), v_add(r, rest)), n);
}

/* s (1 + r + rest) - one as a pair, s and one powers of two with |s r| below s - one or s =
 * one: returns lo. */
static inline __attribute__((always_inline)) v_vec K(v_exp_less)(v_vec s, v_vec one, v_vec r,
                                                                 v_vec rest, v_vec *hi)
{
    v_vec p = v_add(r, rest), p_low = v_add(v_sub(r, p), rest), whole = v_sub(s, one);
    *hi = v_fma(s, p, whole);
    return v_fma(s, p_low, v_fma(s, p, v_sub(whole, *hi)));
}

/* Halved until the last step, because 2^128 is no float. */
static inline v_vec K(vec_expm1)(v_vec x)
{
    v_vec y = v_min(v_set(EXP_HIGH), v_max(v_set(EXPM1_LOW), x));
    v_vec n, r, rest = K(v_exp_parts)(y, v_set(0), &n, &r), hi;
    v_vec s = v_scale2(v_set(1), v_sub(n, v_set(1)));
    v_vec lo = K(v_exp_less)(s, v_set((real)0.5), r, rest, &hi);
    y = v_mul(v_set(2), v_add(hi, lo));
    return v_select(v_lt(v_abs(x), v_set(REAL_TINY)), x, y);
}

/* k log 2 + log(1 + f) + low, |f| < 0.42. With s = f / (2 + f) the logarithm is
 * f - (f^2 / 2 - s (f^2 / 2 + R(s^2))): what is added to f is small. */
static inline v_vec K(v_log_parts)(v_vec k, v_vec f, v_vec low)
{
    v_vec s = v_div(f, v_add(v_set(2), f)), z = v_mul(s, s);
    v_vec half = v_mul(v_mul(f, f), v_set((real)0.5));
    v_vec tail = v_fma(z, K(v_poly)(LOG_C, LOG_TERMS, z), half);
    v_vec less = v_sub(half, v_fma(s, tail, v_fma(k, v_set(LN2_LO), low)));
    return v_fma(k, v_set(LN2_HI), v_sub(f, less));
}

/* y where 0 < x < inf, -inf where x = 0, NaN below, x where it is inf or NaN. */
static inline v_vec K(v_log_limits)(v_vec x, v_vec y)
{
    v_vec edge = v_select(v_lt(x, v_set(0)), v_set((real)NAN), v_set(-(real)INFINITY));
    y = v_select(v_lt(v_set(0), x), y, edge);
    return v_select(v_lt(x, v_set((real)INFINITY)), y, x);
}

static inline v_vec K(vec_log)(v_vec x)
{
    const v_mask small = v_lt(x, v_set(REAL_LEAST));
    v_vec y = v_select(small, v_mul(x, v_set((real)0x1p54)), x);
    v_vec k = v_add(v_exponent(y), v_select(small, v_set(-54), v_set(0)));
    y = K(v_log_parts)(k, v_sub(v_mantissa(y), v_set(1)), v_set(0));
    return K(v_log_limits)(x, y);
}

/* log(1 + x) for x > -1: what 1 + x rounds away is carried along; where 1 + x needs no factor
 * 2^k, x itself is f. */
static inline v_vec K(v_log1p_inside)(v_vec x)
{
    v_vec u = v_add(v_set(1), x), back = v_sub(u, v_set(1));
    v_vec lost = v_add(v_sub(v_set(1), v_sub(u, back)), v_sub(x, back));
    v_vec k = v_exponent(u);
    const v_mask plain = v_lt(v_abs(k), v_set((real)0.5));
    v_vec f = v_select(plain, x, v_sub(v_mantissa(u), v_set(1)));
    return K(v_log_parts)(k, f, v_select(plain, v_set(0), v_div(lost, u)));
}

static inline v_vec K(vec_log1p)(v_vec x)
{
    v_vec y = K(v_log_limits)(v_add(v_set(1), x), K(v_log1p_inside)(x));
    return v_select(v_lt(v_abs(x), v_set(REAL_TINY)), x, y);
}

/* ---- sine and cosine, always in doubles -------------------------------------------------- */

/* The series of (sin r - r) / r^3 and of (cos r - 1 + r^2 / 2) / r^4, in r^2. */
#define D_TURN_TERMS 8
static const double map_sin_c[D_TURN_TERMS] = {-1.0 / 6,
                                               1.0 / 120,
                                               -1.0 / 5040,
                                               1.0 / 362880,
                                               -1.0 / 39916800.0,
                                               1.0 / 6227020800.0,
                                               -1.0 / 1307674368000.0,
                                               1.0 / 355687428096000.0};
static const double map_cos_c[D_TURN_TERMS] = {1.0 / 24,
                                               -1.0 / 720,
                                               1.0 / 40320,
                                               -1.0 / 3628800,
                                               1.0 / 479001600.0,
                                               -1.0 / 87178291200.0,
                                               1.0 / 20922789888000.0,
                                               -1.0 / 6402373705728000.0};

static inline __attribute__((always_inline)) d_vec K(d_series)(const double *c, d_vec z)
{
    d_vec p = d_set(c[D_TURN_TERMS - 1]);
    UNROLL(8)
    for (int i = D_TURN_TERMS - 2; i >= 0; i--) p = d_fma(p, z, d_set(c[i]));
    return p;
}

/* The sine (turns even) or the cosine (odd) of r + low, |r| <= pi / 4, with the sign of the
 * quadrant: turns is -2 .. 2. */
static inline d_vec K(d_quadrant)(d_vec r, d_vec low, d_vec turns)
{
    d_vec z = d_mul(r, r), half = d_mul(d_set(0.5), z), top = d_sub(d_set(1.0), half);
    d_vec bend = d_mul(z, K(d_series)(map_sin_c, z)), far = d_abs(turns);
    d_vec sine = d_add(r, d_fma(r, bend, d_mul(low, top)));
    d_vec rest = d_mul(d_mul(z, z), K(d_series)(map_cos_c, z));
    rest = d_add(d_sub(d_sub(d_set(1.0), top), half), d_sub(rest, d_mul(r, low)));
    d_vec y = d_select(d_lt(far, d_set(1.5)), d_add(top, rest), sine);
    y = d_select(d_lt(far, d_set(0.5)), sine, y);
    d_vec side = d_select(d_lt(turns, d_set(-0.5)), d_set(-1.0), d_set(1.0));
    return d_mul(y, d_select(d_lt(d_set(1.5), turns), d_set(-1.0), side));
}

/* sin(x + quarter pi / 2). Quarter turns n are taken off in three pieces of pi / 2, the second
 * product and its difference exactly. From 2^50 on x counts as 0. */
static inline d_vec K(d_turn)(d_vec x, double quarter)
{
    const d_vec magic = d_set(D_MAGIC), second = d_set(0x1.1a62633145c07p-54);
    x = d_select(d_lt(d_abs(x), d_set(0x1p50)), x, d_sub(x, x));
    d_vec n = d_sub(d_fma(x, d_set(0x1.45f306dc9c883p-1), magic), magic);
    d_vec far = d_fma(n, d_set(-0x1.921fb54442d18p+0), x), step = d_mul(n, second);
    d_vec r = d_sub(far, step), back = d_sub(r, far);
    d_vec low = d_sub(d_sub(far, d_sub(r, back)), d_add(step, back));
    d_vec least = d_fma(n, second, d_sub(d_set(0.0), step));
    low = d_sub(low, d_fma(n, d_set(-0x1.f1976b7ed8fbcp-110), least));
    d_vec turns = d_add(n, d_set(quarter));
    d_vec fours = d_sub(d_fma(turns, d_set(0.25), magic), magic);
    return K(d_quadrant)(r, low, d_fma(fours, d_set(-4.0), turns));
}

static inline v_vec K(v_turn)(v_vec x, double quarter)
{
    real from[V_LANES];
    double to[V_LANES], one[V_LANES];
    v_store(from, x);
    for (int l = 0; l < V_LANES; l += D_LANES) {
        d_store(to + l, K(d_turn)(d_load_real(from + l), quarter));
        d_store(one + l, d_set(1.0));
    }
    return v_mul_wide(to, one);
}

#endif
