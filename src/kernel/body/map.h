/* SPDX-License-Identifier: MIT
 * The functions of map.def, y[i] = f(x[i]): the tape's elementwise operations, the gates of
 * recurrent cells, activations. Even or odd parts are computed for a = |x|, where e^-a is at
 * most 1 and keeps the digits of a small result; the side of x chooses the result. */
#ifndef ATTN__BODY_MAP_H
#define ATTN__BODY_MAP_H

#include "body/elementary.h"

/* MILLS_C: with t = (a - K) / (a + K), (a + K) e^(a^2/2) Q(a) of the upper tail Q of the normal
 * distribution, a <= TAIL_HIGH; 2^-29.5, 2^-56.0 of it. ERF_C: erf(x) / x - 1 in x^2, x <= 1;
 * 2^-29.7, 2^-57.0. BEND: y = 2 sqrt(2 / pi) (x + 0.044715 x^3), its coefficients as pairs. */
#if REAL_BITS == 32
#    define TANH_HIGH  10.0f  /* tanh is 1 there */
#    define FADE       120.0f /* a e^-a is 0 there */
#    define TAIL_HIGH  14.9f  /* a^2 e^(-a^2/2) is 0 there */
#    define ERF_HIGH   4.0f
#    define MILLS_K    4.0f
#    define BEND_1     0x1.988454p+0f
#    define BEND_1_LOW (-0x1.857936p-25f)
#    define BEND_3     0x1.2444f2p-4f
#    define BEND_3_LOW 0x1.49b16ap-29f
#    define MILLS_C    map_mills_c_f32
#    define ERF_C      map_erf_c_f32
enum { MILLS_TERMS = 11, ERF_TERMS = 7 };
static const float map_mills_c_f32[MILLS_TERMS] = {
    0x1.82b4bcp-1f,  -0x1.373e3ap-1f,  0x1.8c6db8p-2f,  -0x1.7dff06p-3f,
    0x1.eec888p-5f,  -0x1.ee5008p-8f,  -0x1.c9bb7cp-9f, 0x1.acbb64p-10f,
    0x1.686a7ap-13f, -0x1.cbdd4ap-13f, -0x1.79fc06p-15f};
static const float map_erf_c_f32[ERF_TERMS] = {
    0x1.06eba8p-3f, -0x1.81273ep-2f,  0x1.ce2d2p-4f,  -0x1.b7fbb6p-6f,
    0x1.5419fap-8f, -0x1.a485f8p-11f, 0x1.4ae4c6p-14f};
#else
#    define TANH_HIGH  20.0
#    define FADE       760.0
#    define TAIL_HIGH  39.0
#    define ERF_HIGH   6.0
#    define MILLS_K    5.0
#    define BEND_1     0x1.9884533d43651p+0
#    define BEND_1_LOW (-0x1.cbc0d30ebfd15p-54)
#    define BEND_3     0x1.2444f2a4d8b4bp-4
#    define BEND_3_LOW (-0x1.6c843a29d1c70p-61)
#    define MILLS_C    map_mills_c_f64
#    define ERF_C      map_erf_c_f64
enum { MILLS_TERMS = 22, ERF_TERMS = 12 };
static const double map_mills_c_f64[MILLS_TERMS] = {
    0x1.89d3abe1f95aep-1,   -0x1.54ad03f27ca16p-1,  0x1.fb31653876f9ap-2,
    -0x1.410ed5f875b49p-2,  0x1.51f6329f0150ep-3,   -0x1.1b1c254c93bcep-4,
    0x1.54b4d4f4d162ep-6,   -0x1.88590eb69cc27p-9,  -0x1.a25037e53f7c6p-11,
    0x1.1daf1ebd2c3d6p-11,  -0x1.f2145d9865913p-15, -0x1.a17141b7dfc2cp-15,
    0x1.17dcf1ce54225p-16,  0x1.0b319abc801a0p-18,  -0x1.73a77c1e6b1d9p-19,
    -0x1.6aa8045e8b8ebp-22, 0x1.d091a72c10386p-22,  0x1.76a3a53e28203p-25,
    -0x1.187713d3dad5ap-24, -0x1.5eb2edcaa71ffp-27, 0x1.ed14f0da9d8aap-28,
    0x1.14649bab5a66ep-29};
static const double map_erf_c_f64[ERF_TERMS] = {
    0x1.06eba8214db68p-3,   -0x1.812746b0379c2p-2,  0x1.ce2f21a041018p-4,
    -0x1.b82ce312062bcp-6,  0x1.565bccfa9a825p-8,   -0x1.c02db072f3fe0p-11,
    0x1.f9a2bf73f0c68p-14,  -0x1.f4ca94990cb86p-17, 0x1.b9827b1885f9bp-20,
    -0x1.5c16e30fb0d45p-23, 0x1.d784936618cc2p-27,  -0x1.acdff90b8ebd8p-31};
#endif

static inline v_vec K(vec_sqrt)(v_vec x)
{
    return v_sqrt(x);
}

static inline v_vec K(vec_rsqrt)(v_vec x)
{
    return v_div(v_set(1), v_sqrt(x));
}

static inline v_vec K(vec_recip)(v_vec x)
{
    return v_div(v_set(1), x);
}

static inline v_vec K(vec_sin)(v_vec x)
{
    return v_select(v_lt(v_abs(x), v_set(REAL_TINY)), x, K(v_turn)(x, 0));
}

static inline v_vec K(vec_cos)(v_vec x)
{
    return K(v_turn)(x, 1);
}

/* ---- built on e^-a ----------------------------------------------------------------------- */

/* m / (m + 2) of m = 1 - e^(-2a), as pairs; the quotient is mended by its remainder. */
static inline v_vec K(vec_tanh)(v_vec x)
{
    const v_vec one = v_set(1), two = v_set(2);
    v_vec a = v_min(v_set(TANH_HIGH), v_abs(x)), n, r, m;
    v_vec rest = K(v_exp_parts)(v_mul(a, v_set(-2)), v_set(0), &n, &r);
    v_vec m_low = K(v_exp_less)(v_scale2(one, n), one, r, rest, &m);
    v_vec d = v_add(two, m), d_low = v_add(v_add(v_sub(two, d), m), m_low);
    v_vec inverse = v_div(one, d), y = v_mul(m, inverse);
    v_vec left = v_sub(v_fma(v_sub(v_set(0), y), d, m), v_sub(v_mul(y, d_low), m_low));
    return v_copysign(v_fma(left, inverse, y), x);
}

/* With e = e^-(a + low) = 2^n q and 0 <= a <= FADE: 1 / (1 + e), the sigmoid at a, is returned;
 * q / (1 + e) is small: times 2^n, which callers apply last, it is the sigmoid at -a. */
static inline __attribute__((always_inline)) v_vec K(v_odds)(v_vec a, v_vec low, v_vec *small,
                                                             v_vec *n)
{
    const v_vec one = v_set(1), none = v_set(0);
    v_vec r, rest = K(v_exp_parts)(v_sub(none, a), v_sub(none, low), n, &r);
    v_vec p = v_add(r, rest), q = v_add(one, p), q_low = v_add(v_sub(one, q), p);
    v_vec s = v_scale2(one, v_max(v_set(-100), *n));
    v_vec e = v_mul(s, q), e_low = v_mul(s, q_low);
    v_vec d = v_add(one, e), d_low = v_add(v_add(v_sub(one, d), e), e_low);
    v_vec inverse = v_div(one, d), minus = v_sub(none, inverse);
    v_vec left = v_fma(minus, d_low, v_fma(minus, d, one));
    v_vec y = v_mul(q, inverse), y_low = v_fma(q_low, inverse, v_mul(y, left));
    *small = v_add(y, v_add(v_fma(q, inverse, v_sub(none, y)), y_low));
    return v_fma(inverse, left, inverse);
}

/* above on the side of x >= 0, below 2^n on the other. */
static inline v_vec K(v_side)(v_vec x, v_vec above, v_vec below, v_vec n)
{
    return v_select(v_sign(x), K(v_scale_far)(below, n), above);
}

static inline v_vec K(v_fade)(v_vec x)
{
    return v_min(v_set(FADE), v_abs(x));
}

static inline v_vec K(vec_sigmoid)(v_vec x)
{
    v_vec n, small, large = K(v_odds)(K(v_fade)(x), v_set(0), &small, &n);
    return K(v_side)(x, large, small, n);
}

static inline v_vec K(vec_softplus)(v_vec x)
{
    v_vec rest = K(v_log1p_inside)(K(vec_exp)(v_sub(v_set(0), v_abs(x))));
    return v_add(v_max(v_set(0), x), rest);
}

static inline v_vec K(vec_softplus_slope)(v_vec x)
{
    return K(vec_sigmoid)(x);
}

static inline v_vec K(vec_silu)(v_vec x)
{
    v_vec a = K(v_fade)(x), n, small, large = K(v_odds)(a, v_set(0), &small, &n);
    return K(v_side)(x, v_mul(x, large), v_mul(v_sub(v_set(0), a), small), n);
}

/* The slope of x w(x), w the sigmoid of y(x): at -a it is w (1 - a y'(a) (1 - w)), at a 1 minus
 * that. rise is a y'(a). */
static inline v_vec K(v_slope)(v_vec x, v_vec rise, v_vec large, v_vec small, v_vec n)
{
    v_vec below = v_mul(small, v_fma(v_sub(v_set(0), rise), large, v_set(1)));
    below = K(v_scale_far)(below, n);
    return v_select(v_sign(x), below, v_sub(v_set(1), below));
}

static inline v_vec K(vec_silu_slope)(v_vec x)
{
    v_vec a = K(v_fade)(x), n, small, large = K(v_odds)(a, v_set(0), &small, &n);
    return K(v_slope)(x, a, large, small, n);
}

/* a (BEND_1 + BEND_3 a^2) as a pair, because e^-y turns what y loses into relative error. */
static inline __attribute__((always_inline)) v_vec K(v_bend)(v_vec a, v_vec *low)
{
    const v_vec none = v_set(0), one = v_set(BEND_1), three = v_set(BEND_3);
    v_vec sq = v_mul(a, a), sq_low = v_fma(a, a, v_sub(none, sq));
    v_vec c = v_mul(three, sq), c_low = v_fma(three, sq, v_sub(none, c));
    c_low = v_add(c_low, v_fma(three, sq_low, v_mul(v_set(BEND_3_LOW), sq)));
    v_vec g = v_add(one, c), back = v_sub(g, one);
    v_vec g_low = v_add(v_sub(one, v_sub(g, back)), v_sub(c, back));
    g_low = v_add(g_low, v_add(c_low, v_set(BEND_1_LOW)));
    v_vec y = v_mul(a, g);
    *low = v_fma(a, g_low, v_fma(a, g, v_sub(none, y)));
    return y;
}

static inline v_vec K(vec_gelu_tanh)(v_vec x)
{
    v_vec a = v_min(v_set(TAIL_HIGH), v_abs(x)), low, y = K(v_bend)(a, &low), n, small;
    v_vec large = K(v_odds)(v_min(v_set(FADE), y), low, &small, &n);
    return K(v_side)(x, v_mul(x, large), v_mul(v_sub(v_set(0), a), small), n);
}

static inline v_vec K(vec_gelu_tanh_slope)(v_vec x)
{
    v_vec a = v_min(v_set(TAIL_HIGH), v_abs(x)), low, y = K(v_bend)(a, &low), n, small;
    v_vec large = K(v_odds)(v_min(v_set(FADE), y), low, &small, &n);
    v_vec rise = v_mul(a, v_fma(v_mul(a, a), v_set(3 * BEND_3), v_set(BEND_1)));
    return K(v_slope)(x, rise, large, small, n);
}

/* ---- built on the normal distribution ---------------------------------------------------- */

/* e^(a^2/2) Q(a), 0 <= a <= TAIL_HIGH. */
static inline v_vec K(v_mills)(v_vec a)
{
    v_vec w = v_div(v_set(1), v_add(a, v_set(MILLS_K)));
    v_vec t = v_mul(v_sub(a, v_set(MILLS_K)), w);
    return v_mul(w, K(v_poly)(MILLS_C, MILLS_TERMS, t));
}

/* e^(-scale a^2) = 2^n times what is returned, the square as a pair; scale is 1 or 1/2. */
static inline v_vec K(v_bell)(v_vec a, real scale, v_vec *n)
{
    v_vec sq = v_mul(a, a), low = v_fma(a, a, v_sub(v_set(0), sq)), minus = v_set(-scale), r;
    v_vec rest = K(v_exp_parts)(v_mul(sq, minus), v_mul(low, minus), n, &r);
    return v_add(v_set(1), v_add(r, rest));
}

/* erf(z) / z - 1 of z^2 <= 1. */
static inline v_vec K(v_erf_near)(v_vec sq)
{
    return K(v_poly)(ERF_C, ERF_TERMS, sq);
}

static inline v_vec K(vec_erf)(v_vec x)
{
    v_vec a = v_min(v_set(ERF_HIGH), v_abs(x)), near = K(v_erf_near)(v_mul(a, a)), n;
    v_vec bell = v_mul(K(v_bell)(a, 1, &n), v_set(-2));
    v_vec tail = K(v_mills)(v_mul(a, v_set((real)0x1.6a09e667f3bcdp+0)));
    v_vec far = v_fma(v_scale2(bell, n), tail, v_set(1));
    return v_copysign(v_select(v_lt(a, v_set(1)), v_fma(a, near, a), far), x);
}

/* x (1 - Q(x)); near 0 it is x (1/2 + erf(x / sqrt 2) / 2). */
static inline v_vec K(vec_gelu)(v_vec x)
{
    v_vec a = v_min(v_set(TAIL_HIGH), v_abs(x)), n;
    v_vec q = v_mul(K(v_bell)(a, (real)0.5, &n), K(v_mills)(a));
    v_vec below = K(v_scale_far)(v_mul(v_sub(v_set(0), a), q), n);
    v_vec above = v_mul(x, v_sub(v_set(1), v_scale2(q, v_max(v_set(-100), n))));
    v_vec z = v_mul(x, v_set((real)0x1.6a09e667f3bcdp-2));
    v_vec near = K(v_erf_near)(v_mul(v_mul(a, a), v_set((real)0.5)));
    near = v_mul(x, v_add(v_fma(z, near, z), v_set((real)0.5)));
    return v_select(v_lt(a, v_set(1)), near, v_select(v_sign(x), below, above));
}

/* At -a: Q(a) - a e^(-a^2/2) / sqrt(2 pi); near 0 it is 1/2 less what erf and the bell add.
 * There 2^n is normal; elsewhere what near holds is not used. */
static inline v_vec K(vec_gelu_slope)(v_vec x)
{
    const v_vec peak = v_set((real)0x1.9884533d43651p-2);
    v_vec a = v_min(v_set(TAIL_HIGH), v_abs(x)), n, bell = K(v_bell)(a, (real)0.5, &n);
    v_vec q = v_fma(v_sub(v_set(0), a), peak, K(v_mills)(a));
    v_vec below = K(v_scale_far)(v_mul(bell, q), n);
    v_vec z = v_mul(a, v_set((real)0x1.6a09e667f3bcdp-2));
    v_vec near = K(v_erf_near)(v_mul(v_mul(a, a), v_set((real)0.5)));
    near = v_add(v_fma(z, near, z), v_mul(v_mul(a, peak), v_scale2(bell, n)));
    below = v_select(v_lt(a, v_set((real)0.5)), v_sub(v_set((real)0.5), near), below);
    return v_select(v_sign(x), below, v_sub(v_set(1), below));
}

/* ---- over an array ----------------------------------------------------------------- */

enum { MAP_SIDE = 2 }; /* vectors side by side, because each function is one long chain */

static inline __attribute__((always_inline)) v_vec K(map_one)(v_vec x, v_vec (*const f)(v_vec))
{
    v_vec y = f(x);
    return v_select(v_nan(y), v_set((real)NAN), y);
}

static inline __attribute__((always_inline)) void K(map_all)(int64_t n, const real *x, real *y,
                                                             v_vec (*const f)(v_vec))
{
    int64_t i = 0;
    for (; i + MAP_SIDE * V_LANES <= n; i += MAP_SIDE * V_LANES) {
        v_vec z[MAP_SIDE];
        UNROLL(4)
        for (int j = 0; j < MAP_SIDE; j++) z[j] = K(map_one)(v_load(x + i + j * V_LANES), f);
        UNROLL(4)
        for (int j = 0; j < MAP_SIDE; j++) v_store(y + i + j * V_LANES, z[j]);
    }
    for (; i < n; i += V_LANES) v_store_n(y + i, K(map_one)(v_load_n(x + i, n - i), f), n - i);
}

#define MAP(name)                                                                              \
    static void K(map_##name)(int64_t n, const void *x, void *y)                               \
    {                                                                                          \
        K(map_all)(n, x, y, K(vec_##name));                                                    \
    }
#include "kernel/map.def"
#undef MAP

#endif
