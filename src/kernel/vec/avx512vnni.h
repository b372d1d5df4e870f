/* SPDX-License-Identifier: MIT
 * Integers for the half mode on AVX-512 with VNNI: 16 pairs of int16, or 16 int32, a vector. A
 * pair lies in one word, its first number in the low half. */
#ifndef ATTN__VEC_AVX512VNNI_H
#define ATTN__VEC_AVX512VNNI_H

#include "vec/avx512.h"

typedef __m512i i_vec;

static inline i_vec i_zero(void)
{
    return _mm512_setzero_si512();
}
static inline i_vec i_load(const int16_t *p) /* 16 pairs */
{
    return _mm512_loadu_si512(p);
}
static inline void i_store(int16_t *p, i_vec x)
{
    _mm512_storeu_si512(p, x);
}
/* Pairs below n. */
static inline void i_store_n(int16_t *p, i_vec x, int64_t n)
{
    _mm512_mask_storeu_epi32(p, s_first(n), x);
}
/* The upper half, in the lower. */
static inline i_vec i_upper(i_vec x)
{
    return _mm512_shuffle_i64x2(x, x, 0xEE);
}
/* The pair at p in every lane. */
static inline i_vec i_spread(const int16_t *p)
{
    int32_t pair;
    memcpy(&pair, p, sizeof pair);
    return _mm512_set1_epi32(pair);
}
/* sum + low a * low b + high a * high b, which fits. */
static inline i_vec i_dot(i_vec sum, i_vec a, i_vec b)
{
    /* The intrinsic moves every sum to another register and back (gcc 12) or to the stack (clang
     * 14): scores of D = 64 in 35 or 54 cycles a vector of 16 instead of 17 or 18. */
    __asm__("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
}
static inline i_vec i_max(i_vec a, i_vec b)
{
    return _mm512_max_epi32(a, b);
}
static inline i_vec i_bits(s_vec x)
{
    return _mm512_castps_si512(x);
}
static inline s_vec i_floats(i_vec x)
{
    return _mm512_castsi512_ps(x);
}
/* The float of the largest integer. */
static inline float i_largest(i_vec x)
{
    const int32_t most = _mm512_reduce_max_epi32(x);
    float result;
    memcpy(&result, &most, sizeof result);
    return result;
}
/* Not less. */
static inline s_mask i_from(s_vec x, s_vec least)
{
    return _mm512_cmp_ps_mask(x, least, _CMP_NLT_UQ);
}
/* s_scale2 where on, 0 elsewhere. */
static inline s_vec i_scale2(s_vec x, s_vec n, s_mask on)
{
    return _mm512_maskz_scalef_ps(on, x, n);
}
static inline s_vec i_real(i_vec x)
{
    return _mm512_cvtepi32_ps(x);
}
/* Pairs of the integers |n| < 2^15 that stand in n + S_MAGIC. */
static inline i_vec i_pairs(s_vec low, s_vec high)
{
    const i_vec up = _mm512_slli_epi32(_mm512_castps_si512(high), 16);
    return _mm512_mask_blend_epi16(0x55555555, up, _mm512_castps_si512(low));
}
/* The same 16 of low alone, side by side, those below n. */
static inline void i_store_narrow(int16_t *p, s_vec low, int64_t n)
{
    _mm512_mask_cvtepi32_storeu_epi16(p, s_first(n), _mm512_castps_si512(low));
}

#endif
