/* SPDX-License-Identifier: MIT
 * The vocabulary on AVX-512: 16 floats or 8 doubles a vector, masks in their own registers.
 * Meaning of each operation: vec/scalar.h. */
#ifndef ATTN__VEC_AVX512_H
#define ATTN__VEC_AVX512_H

#include <immintrin.h>

#include "vec/common.h"

enum { S_LANES = 16, S_TILE_V = 3, S_TILE_R = 8, D_LANES = 8, D_TILE_V = 3, D_TILE_R = 8 };

/* The lanes below n, for 0 <= n. */
static inline __mmask16 s_first(int64_t n)
{
    return n >= 16 ? (__mmask16)0xFFFF : (__mmask16)((1u << n) - 1u);
}
static inline __mmask8 d_first(int64_t n)
{
    return n >= 8 ? (__mmask8)0xFF : (__mmask8)((1u << n) - 1u);
}

typedef __m512 s_vec;
typedef __mmask16 s_mask;
static inline s_vec s_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
static inline void s_store(float *p, s_vec x)
{
    _mm512_storeu_ps(p, x);
}
static inline s_vec s_load_n(const float *p, int64_t n)
{
    return _mm512_maskz_loadu_ps(s_first(n), p);
}
static inline void s_store_n(float *p, s_vec x, int64_t n)
{
    _mm512_mask_storeu_ps(p, s_first(n), x);
}
static inline s_vec s_set(float x)
{
    return _mm512_set1_ps(x);
}
static inline s_vec s_add(s_vec a, s_vec b)
{
    return _mm512_add_ps(a, b);
}
static inline s_vec s_sub(s_vec a, s_vec b)
{
    return _mm512_sub_ps(a, b);
}
static inline s_vec s_mul(s_vec a, s_vec b)
{
    return _mm512_mul_ps(a, b);
}
static inline s_vec s_div(s_vec a, s_vec b)
{
    return _mm512_div_ps(a, b);
}
static inline s_vec s_fma(s_vec a, s_vec b, s_vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}
static inline s_vec s_max(s_vec a, s_vec b)
{
    return _mm512_max_ps(a, b);
}
static inline s_vec s_min(s_vec a, s_vec b)
{
    return _mm512_min_ps(a, b);
}
static inline s_mask s_lt(s_vec a, s_vec b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}
static inline s_mask s_nan(s_vec a)
{
    return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
}
static inline bool s_any(s_mask m)
{
    return m != 0;
}
static inline s_mask s_sign(s_vec a)
{
    return _mm512_movepi32_mask(_mm512_castps_si512(a));
}
static inline s_mask s_mask_from(uint64_t bits)
{
    return (__mmask16)bits;
}
static inline s_vec s_select(s_mask m, s_vec yes, s_vec no)
{
    return _mm512_mask_blend_ps(m, no, yes);
}
static inline s_vec s_fma_unmarked(s_vec a, s_vec b, s_vec c)
{
    return _mm512_mask3_fmadd_ps(a, b, c, _knot_mask16(s_sign(a)));
}
static inline s_vec s_abs(s_vec a)
{
    return _mm512_abs_ps(a);
}
static inline s_vec s_copysign(s_vec a, s_vec sign)
{
    const __m512 top = _mm512_set1_ps(-0.0f);
    return _mm512_or_ps(_mm512_andnot_ps(top, a), _mm512_and_ps(top, sign));
}
static inline s_vec s_scale2(s_vec x, s_vec n)
{
    return _mm512_scalef_ps(x, n);
}
static inline s_vec s_scale2_from(s_vec x, s_vec n, s_vec at, s_vec least)
{
    return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(at, least, _CMP_NLT_UQ), x, n);
}
static inline s_vec s_round(s_vec a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline s_vec s_sqrt(s_vec a)
{
    return _mm512_sqrt_ps(a);
}
static inline __m512i s_split(s_vec x)
{
    return _mm512_srli_epi32(
        _mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32((int)S_SPLIT)), 23);
}
static inline s_vec s_exponent(s_vec x)
{
    return s_sub(_mm512_cvtepi32_ps(s_split(x)), s_set(127.0f));
}
static inline s_vec s_mantissa(s_vec x)
{
    __m512i e = _mm512_sub_epi32(s_split(x), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(
        _mm512_sub_epi32(_mm512_castps_si512(x), _mm512_slli_epi32(e, 23)));
}
static inline s_vec s_load_bf16(const uint16_t *p)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
static inline s_vec s_load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
static inline void s_store_bf16(uint16_t *p, s_vec x)
{
    __m512i bits = _mm512_castps_si512(x);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i up = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), odd);
    up = _mm512_mask_blend_epi32(s_nan(x), up, _mm512_set1_epi32(0x7FC00000));
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtepi32_epi16(_mm512_srli_epi32(up, 16)));
}
static inline void s_store_f16(uint16_t *p, s_vec x)
{
    __m256i half = _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    half = _mm256_mask_blend_epi16(s_nan(x), half, _mm256_set1_epi16(0x7E00));
    _mm256_storeu_si256((__m256i *)(void *)p, half);
}

static inline s_vec s_words(const void *p)
{
    return _mm512_loadu_ps(p);
}
static inline s_vec s_word_bf16(s_vec x, int i)
{
    const __m512i w = _mm512_castps_si512(x);
    return _mm512_castsi512_ps(i ? _mm512_and_si512(w, _mm512_set1_epi32((int)0xFFFF0000u))
                                 : _mm512_slli_epi32(w, 16));
}
static inline s_vec s_word_f16(s_vec x, int i)
{
    const __m512i w = _mm512_castps_si512(x);
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(i ? _mm512_srli_epi32(w, 16) : w));
}
static inline s_vec s_word_int(s_vec x, int first, int bits)
{
    const __m512i top =
        _mm512_sll_epi32(_mm512_castps_si512(x), _mm_cvtsi32_si128(32 - bits - first));
    return _mm512_cvtepi32_ps(_mm512_sra_epi32(top, _mm_cvtsi32_si128(32 - bits)));
}
static inline s_vec s_load_i8(const int8_t *row, int64_t e)
{
    const __m128i *at = (const __m128i *)(const void *)(row + e);
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(at)));
}
static inline s_vec s_load_i4(const uint8_t *row, int64_t e)
{
    const __m512i up =
        _mm512_setr_epi32(28, 24, 20, 16, 12, 8, 4, 0, 28, 24, 20, 16, 12, 8, 4, 0);
    int32_t low, high;
    memcpy(&low, row + e / 2, sizeof low);
    memcpy(&high, row + e / 2 + 4, sizeof high);
    const __m512i w = _mm512_mask_set1_epi32(_mm512_set1_epi32(low), 0xFF00, high);
    return _mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_sllv_epi32(w, up), 28));
}

/* 16 x 16: pairs, then quads inside 128-bit quarters, then the quarters. */
static inline void s_transpose(s_vec *r)
{
    __m512 a[16], b[16];
    UNROLL(8)
    for (int i = 0; i < 8; i++) {
        a[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        a[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    UNROLL(4)
    for (int i = 0; i < 4; i++) {
        b[4 * i] = _mm512_shuffle_ps(a[4 * i], a[4 * i + 2], 0x44);
        b[4 * i + 1] = _mm512_shuffle_ps(a[4 * i], a[4 * i + 2], 0xEE);
        b[4 * i + 2] = _mm512_shuffle_ps(a[4 * i + 1], a[4 * i + 3], 0x44);
        b[4 * i + 3] = _mm512_shuffle_ps(a[4 * i + 1], a[4 * i + 3], 0xEE);
    }
    UNROLL(4)
    for (int i = 0; i < 4; i++) {
        __m512 t0 = _mm512_shuffle_f32x4(b[i], b[i + 4], 0x88);
        __m512 t1 = _mm512_shuffle_f32x4(b[i], b[i + 4], 0xDD);
        __m512 t2 = _mm512_shuffle_f32x4(b[i + 8], b[i + 12], 0x88);
        __m512 t3 = _mm512_shuffle_f32x4(b[i + 8], b[i + 12], 0xDD);
        r[i] = _mm512_shuffle_f32x4(t0, t2, 0x88);
        r[i + 4] = _mm512_shuffle_f32x4(t1, t3, 0x88);
        r[i + 8] = _mm512_shuffle_f32x4(t0, t2, 0xDD);
        r[i + 12] = _mm512_shuffle_f32x4(t1, t3, 0xDD);
    }
}

typedef __m512d d_vec;
typedef __mmask8 d_mask;
static inline d_vec d_load(const double *p)
{
    return _mm512_loadu_pd(p);
}
static inline void d_store(double *p, d_vec x)
{
    _mm512_storeu_pd(p, x);
}
static inline d_vec d_words(const void *p)
{
    return _mm512_loadu_pd(p);
}
static inline d_vec d_load_n(const double *p, int64_t n)
{
    return _mm512_maskz_loadu_pd(d_first(n), p);
}
static inline void d_store_n(double *p, d_vec x, int64_t n)
{
    _mm512_mask_storeu_pd(p, d_first(n), x);
}
static inline d_vec d_set(double x)
{
    return _mm512_set1_pd(x);
}
static inline d_vec d_add(d_vec a, d_vec b)
{
    return _mm512_add_pd(a, b);
}
static inline d_vec d_sub(d_vec a, d_vec b)
{
    return _mm512_sub_pd(a, b);
}
static inline d_vec d_mul(d_vec a, d_vec b)
{
    return _mm512_mul_pd(a, b);
}
static inline d_vec d_div(d_vec a, d_vec b)
{
    return _mm512_div_pd(a, b);
}
static inline d_vec d_fma(d_vec a, d_vec b, d_vec c)
{
    return _mm512_fmadd_pd(a, b, c);
}
static inline d_vec d_max(d_vec a, d_vec b)
{
    return _mm512_max_pd(a, b);
}
static inline d_vec d_min(d_vec a, d_vec b)
{
    return _mm512_min_pd(a, b);
}
static inline d_mask d_lt(d_vec a, d_vec b)
{
    return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ);
}
static inline d_mask d_nan(d_vec a)
{
    return _mm512_cmp_pd_mask(a, a, _CMP_UNORD_Q);
}
static inline bool d_any(d_mask m)
{
    return m != 0;
}
static inline d_mask d_sign(d_vec a)
{
    return _mm512_movepi64_mask(_mm512_castpd_si512(a));
}
static inline d_mask d_mask_from(uint64_t bits)
{
    return (__mmask8)bits;
}
static inline d_vec d_select(d_mask m, d_vec yes, d_vec no)
{
    return _mm512_mask_blend_pd(m, no, yes);
}
static inline d_vec d_fma_unmarked(d_vec a, d_vec b, d_vec c)
{
    return _mm512_mask3_fmadd_pd(a, b, c, _knot_mask8(d_sign(a)));
}
static inline d_vec d_abs(d_vec a)
{
    return _mm512_abs_pd(a);
}
static inline d_vec d_copysign(d_vec a, d_vec sign)
{
    const __m512d top = _mm512_set1_pd(-0.0);
    return _mm512_or_pd(_mm512_andnot_pd(top, a), _mm512_and_pd(top, sign));
}
static inline d_vec d_scale2(d_vec x, d_vec n)
{
    return _mm512_scalef_pd(x, n);
}
static inline d_vec d_scale2_from(d_vec x, d_vec n, d_vec at, d_vec least)
{
    return _mm512_maskz_scalef_pd(_mm512_cmp_pd_mask(at, least, _CMP_NLT_UQ), x, n);
}
static inline d_vec d_round(d_vec a)
{
    return _mm512_roundscale_pd(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline d_vec d_sqrt(d_vec a)
{
    return _mm512_sqrt_pd(a);
}
static inline __m512i d_split(d_vec x)
{
    return _mm512_srli_epi64(
        _mm512_add_epi64(_mm512_castpd_si512(x), _mm512_set1_epi64((int64_t)D_SPLIT)), 52);
}
static inline d_vec d_exponent(d_vec x)
{
    return d_sub(_mm512_cvtepi64_pd(d_split(x)), d_set(1023.0));
}
static inline d_vec d_mantissa(d_vec x)
{
    __m512i e = _mm512_sub_epi64(d_split(x), _mm512_set1_epi64(1023));
    return _mm512_castsi512_pd(
        _mm512_sub_epi64(_mm512_castpd_si512(x), _mm512_slli_epi64(e, 52)));
}

/* 8 x 8: pairs inside 128-bit quarters, then the quarters. */
static inline void d_transpose(d_vec *r)
{
    __m512d a[8];
    UNROLL(4)
    for (int i = 0; i < 4; i++) {
        a[2 * i] = _mm512_unpacklo_pd(r[2 * i], r[2 * i + 1]);
        a[2 * i + 1] = _mm512_unpackhi_pd(r[2 * i], r[2 * i + 1]);
    }
    UNROLL(2)
    for (int i = 0; i < 2; i++) {
        __m512d t0 = _mm512_shuffle_f64x2(a[i], a[i + 2], 0x88);
        __m512d t1 = _mm512_shuffle_f64x2(a[i], a[i + 2], 0xDD);
        __m512d t2 = _mm512_shuffle_f64x2(a[i + 4], a[i + 6], 0x88);
        __m512d t3 = _mm512_shuffle_f64x2(a[i + 4], a[i + 6], 0xDD);
        r[i] = _mm512_shuffle_f64x2(t0, t2, 0x88);
        r[i + 2] = _mm512_shuffle_f64x2(t1, t3, 0x88);
        r[i + 4] = _mm512_shuffle_f64x2(t0, t2, 0xDD);
        r[i + 6] = _mm512_shuffle_f64x2(t1, t3, 0xDD);
    }
}

static inline d_vec d_load_f32(const float *p)
{
    return _mm512_cvtps_pd(_mm256_loadu_ps(p));
}
static inline s_vec s_mul_f64(const double *a, const double *b)
{
    __m256 low = _mm512_cvtpd_ps(d_mul(d_load(a), d_load(b)));
    __m256 high = _mm512_cvtpd_ps(d_mul(d_load(a + 8), d_load(b + 8)));
    return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}

static inline s_vec s_scale_f64(const float *a, const double *b)
{
    __m256 low = _mm512_cvtpd_ps(d_mul(d_load_f32(a), d_load(b)));
    __m256 high = _mm512_cvtpd_ps(d_mul(d_load_f32(a + 8), d_load(b + 8)));
    return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}

#endif
