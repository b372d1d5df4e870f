/* SPDX-License-Identifier: MIT
 * Powers of two: x = n + f with n the nearest integer and |f| <= 1/2; 2^f = 1 + f P(f) with P
 * the minimax polynomial of (2^f - 1) / f (relative error 1.1e-8 for floats, 2.3e-19 for
 * doubles, so 2^f is off by 3e-9 and 7e-20); 2^n goes into the exponent. Below REAL_LOWEST2 the
 * result is 0, which keeps every step in the normal numbers. NaN stays NaN. */
#ifndef ATTN__BODY_EXP2_H
#define ATTN__BODY_EXP2_H

#define D_EXP2_TERMS 12
static const double exp2_c_f64[D_EXP2_TERMS] = {
    0x1.62e42fefa39efp-1,  0x1.ebfbdff82c58fp-3,  0x1.c6b08d704a0c6p-5,  0x1.3b2ab6fba4e60p-7,
    0x1.5d87fe78a3fe5p-10, 0x1.430912f874164p-13, 0x1.ffcbfc6d8d398p-17, 0x1.62c0221b620dcp-20,
    0x1.b524ec0c0172dp-24, 0x1.e4cfae597a2e1p-28, 0x1.e9ebc1b5e2d26p-32, 0x1.c3bd5d1e60ec9p-36};

#if REAL_BITS == 32
#    define EXP2_TERMS 6
#    define EXP2_C     exp2_c_f32
static const float exp2_c_f32[EXP2_TERMS] = {0x1.62e4302eeb454p-1f,  0x1.ebfbdec29c23ep-3f,
                                             0x1.c6af6e92c0fafp-5f,  0x1.3b2b9fbe2e415p-7f,
                                             0x1.5f07b460d74aep-10f, 0x1.4308fa3226383p-13f};
#else
#    define EXP2_TERMS D_EXP2_TERMS
#    define EXP2_C     exp2_c_f64
#endif

/* The weights of a fold; one at a time is fast enough there. */
static inline d_vec K(d_exp2)(d_vec x)
{
    const d_vec n = d_round(x), f = d_sub(x, n);
    d_vec p = d_set(exp2_c_f64[D_EXP2_TERMS - 1]);
    UNROLL(16)
    for (int i = D_EXP2_TERMS - 2; i >= 0; i--) p = d_fma(p, f, d_set(exp2_c_f64[i]));
    return d_scale2_from(d_fma(p, f, d_set(1.0)), n, x, d_set(-1021.0));
}

/* 2^f - 1 for |f| <= 1/2, relative to itself as exact as the polynomial. */
static inline v_vec K(v_exp2m1)(v_vec f)
{
    v_vec p = v_set(EXP2_C[EXP2_TERMS - 1]);
    UNROLL(16)
    for (int i = EXP2_TERMS - 2; i >= 0; i--) p = v_fma(p, f, v_set(EXP2_C[i]));
    return v_mul(p, f);
}

/* x[i] = 2^x[i] for x <= 0 or thereabouts (a score minus its maximum), count of them side by
 * side. */
static inline __attribute__((always_inline)) void K(v_exp2)(v_vec *x, const int count)
{
    v_vec n[4], f[4], p[4];
    UNROLL(4)
    for (int i = 0; i < count; i++) {
        n[i] = v_round(x[i]);
        f[i] = v_sub(x[i], n[i]);
        p[i] = v_set(EXP2_C[EXP2_TERMS - 1]);
    }
    UNROLL(16)
    for (int term = EXP2_TERMS - 2; term >= 0; term--) {
        UNROLL(4)
        for (int i = 0; i < count; i++) p[i] = v_fma(p[i], f[i], v_set(EXP2_C[term]));
    }
    UNROLL(4)
    for (int i = 0; i < count; i++)
        x[i] = v_scale2_from(v_fma(p[i], f[i], v_set(1)), n[i], x[i], v_set(REAL_LOWEST2));
}

/* tanh x = (e^2|x| - 1) / (e^2|x| + 1) with the sign of x; e^y - 1 = 2^n (2^f - 1) + (2^n - 1)
 * keeps small arguments exact to their last bits. Beyond y = 64 log2 units the result is 1. */
static inline v_vec K(v_tanh)(v_vec x)
{
    v_vec y = v_min(v_mul(v_abs(x), v_set((real)0x1.71547652b82fep+1)), v_set(64));
    v_vec n = v_sub(v_add(y, v_set(REAL_MAGIC)), v_set(REAL_MAGIC));
    v_vec pow2n = v_scale2(v_set(1), n);
    v_vec em1 = v_fma(K(v_exp2m1)(v_sub(y, n)), pow2n, v_sub(pow2n, v_set(1)));
    v_vec t = v_copysign(v_div(em1, v_add(em1, v_set(2))), x);
    return v_select(v_nan(x), x, t);
}

#endif
