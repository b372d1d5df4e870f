/* SPDX-License-Identifier: MIT
 * The vocabulary on AVX2, FMA and F16C: 8 floats or 4 doubles a vector. A mask is a vector
 * whose sign bits count. Meaning of each operation: vec/scalar.h. */
#ifndef ATTN__VEC_AVX2_H
#define ATTN__VEC_AVX2_H

#include <immintrin.h>

#include "vec/common.h"

enum { S_LANES = 8, S_TILE_V = 2, S_TILE_R = 6, D_LANES = 4, D_TILE_V = 2, D_TILE_R = 6 };

/* All ones in the lanes below n. */
static inline __m256i s_first(int64_t n)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n > 8 ? 8 : (int)n), lane);
}
static inline __m256i d_first(int64_t n)
{
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}

typedef __m256 s_vec;
typedef __m256 s_mask;
static inline s_vec s_load(const float *p)
{
    return _mm256_loadu_ps(p);
}
static inline void s_store(float *p, s_vec x)
{
    _mm256_storeu_ps(p, x);
}
static inline s_vec s_load_n(const float *p, int64_t n)
{
    return _mm256_maskload_ps(p, s_first(n));
}
static inline void s_store_n(float *p, s_vec x, int64_t n)
{
    _mm256_maskstore_ps(p, s_first(n), x);
}
static inline s_vec s_set(float x)
{
    return _mm256_set1_ps(x);
}
static inline s_vec s_add(s_vec a, s_vec b)
{
    return _mm256_add_ps(a, b);
}
static inline s_vec s_sub(s_vec a, s_vec b)
{
    return _mm256_sub_ps(a, b);
}
static inline s_vec s_mul(s_vec a, s_vec b)
{
    return _mm256_mul_ps(a, b);
}
static inline s_vec s_div(s_vec a, s_vec b)
{
    return _mm256_div_ps(a, b);
}
static inline s_vec s_fma(s_vec a, s_vec b, s_vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}
static inline s_vec s_max(s_vec a, s_vec b)
{
    return _mm256_max_ps(a, b);
}
static inline s_vec s_min(s_vec a, s_vec b)
{
    return _mm256_min_ps(a, b);
}
static inline s_mask s_lt(s_vec a, s_vec b)
{
    return _mm256_cmp_ps(a, b, _CMP_LT_OQ);
}
static inline s_mask s_nan(s_vec a)
{
    return _mm256_cmp_ps(a, a, _CMP_UNORD_Q);
}
static inline bool s_any(s_mask m)
{
    return _mm256_movemask_ps(m) != 0;
}
static inline s_mask s_sign(s_vec a)
{
    return a;
}
static inline s_mask s_mask_from(uint64_t bits)
{
    const __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    __m256i some = _mm256_and_si256(_mm256_set1_epi32((int)(bits & 0xFF)), lane);
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(some, lane));
}
static inline s_vec s_select(s_mask m, s_vec yes, s_vec no)
{
    return _mm256_blendv_ps(no, yes, m);
}
static inline s_vec s_fma_unmarked(s_vec a, s_vec b, s_vec c)
{
    const __m256i marked = _mm256_srai_epi32(_mm256_castps_si256(a), 31);
    return s_fma(a, _mm256_andnot_ps(_mm256_castsi256_ps(marked), b), c);
}
static inline s_vec s_abs(s_vec a)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}
static inline s_vec s_copysign(s_vec a, s_vec sign)
{
    return _mm256_or_ps(s_abs(a), _mm256_and_ps(_mm256_set1_ps(-0.0f), sign));
}
static inline s_vec s_scale2(s_vec x, s_vec n)
{
    __m256i bits = _mm256_castps_si256(s_add(n, s_set(S_MAGIC)));
    bits = _mm256_slli_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(127)), 23);
    return s_mul(x, _mm256_castsi256_ps(bits));
}
static inline s_vec s_scale2_from(s_vec x, s_vec n, s_vec at, s_vec least)
{
    return _mm256_and_ps(_mm256_cmp_ps(at, least, _CMP_NLT_UQ), s_scale2(x, n));
}
static inline s_vec s_round(s_vec a)
{
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline s_vec s_sqrt(s_vec a)
{
    return _mm256_sqrt_ps(a);
}
static inline __m256i s_split(s_vec x)
{
    return _mm256_srli_epi32(
        _mm256_add_epi32(_mm256_castps_si256(x), _mm256_set1_epi32((int)S_SPLIT)), 23);
}
static inline s_vec s_exponent(s_vec x)
{
    return s_sub(_mm256_cvtepi32_ps(s_split(x)), s_set(127.0f));
}
static inline s_vec s_mantissa(s_vec x)
{
    __m256i e = _mm256_sub_epi32(s_split(x), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(
        _mm256_sub_epi32(_mm256_castps_si256(x), _mm256_slli_epi32(e, 23)));
}
static inline s_vec s_load_bf16(const uint16_t *p)
{
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
static inline s_vec s_load_f16(const uint16_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}
static inline void s_store_bf16(uint16_t *p, s_vec x)
{
    __m256i bits = _mm256_castps_si256(x);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i up = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7FFF)), odd);
    __m256 kept = s_select(s_nan(x), _mm256_castsi256_ps(_mm256_set1_epi32(0x7FC00000)),
                           _mm256_castsi256_ps(up));
    up = _mm256_srli_epi32(_mm256_castps_si256(kept), 16);
    __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(up, up), 0x08);
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_castsi256_si128(packed));
}
static inline void s_store_f16(uint16_t *p, s_vec x)
{
    const __m256 quiet = _mm256_castsi256_ps(_mm256_set1_epi32(0x7FC00000));
    x = s_select(s_nan(x), quiet, x);
    _mm_storeu_si128((__m128i *)(void *)p,
                     _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

static inline s_vec s_words(const void *p)
{
    return _mm256_loadu_ps(p);
}
static inline s_vec s_word_bf16(s_vec x, int i)
{
    const __m256i w = _mm256_castps_si256(x);
    return _mm256_castsi256_ps(i ? _mm256_and_si256(w, _mm256_set1_epi32((int)0xFFFF0000u))
                                 : _mm256_slli_epi32(w, 16));
}
static inline s_vec s_word_f16(s_vec x, int i)
{
    const __m256i w = _mm256_castps_si256(x), mine = _mm256_set1_epi32(0xFFFF);
    const __m256i half = i ? _mm256_srli_epi32(w, 16) : _mm256_and_si256(w, mine);
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(half, half), 0x08);
    return _mm256_cvtph_ps(_mm256_castsi256_si128(packed));
}
static inline s_vec s_word_int(s_vec x, int first, int bits)
{
    const __m256i top =
        _mm256_sll_epi32(_mm256_castps_si256(x), _mm_cvtsi32_si128(32 - bits - first));
    return _mm256_cvtepi32_ps(_mm256_sra_epi32(top, _mm_cvtsi32_si128(32 - bits)));
}
static inline s_vec s_load_i8(const int8_t *row, int64_t e)
{
    const __m128i *at = (const __m128i *)(const void *)(row + e);
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(at)));
}
static inline s_vec s_load_i4(const uint8_t *row, int64_t e)
{
    const __m256i up = _mm256_setr_epi32(28, 24, 20, 16, 12, 8, 4, 0);
    int32_t word;
    memcpy(&word, row + e / 2, sizeof word);
    const __m256i top = _mm256_sllv_epi32(_mm256_set1_epi32(word), up);
    return _mm256_cvtepi32_ps(_mm256_srai_epi32(top, 28));
}

/* 8 x 8: pairs, then quads inside the halves, then the halves. */
static inline void s_transpose(s_vec *r)
{
    __m256 a[8], b[8];
    UNROLL(4)
    for (int i = 0; i < 4; i++) {
        a[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        a[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    UNROLL(2)
    for (int i = 0; i < 2; i++) {
        b[4 * i] = _mm256_shuffle_ps(a[4 * i], a[4 * i + 2], 0x44);
        b[4 * i + 1] = _mm256_shuffle_ps(a[4 * i], a[4 * i + 2], 0xEE);
        b[4 * i + 2] = _mm256_shuffle_ps(a[4 * i + 1], a[4 * i + 3], 0x44);
        b[4 * i + 3] = _mm256_shuffle_ps(a[4 * i + 1], a[4 * i + 3], 0xEE);
    }
    UNROLL(4)
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
    }
}

typedef __m256d d_vec;
typedef __m256d d_mask;
static inline d_vec d_load(const double *p)
{
    return _mm256_loadu_pd(p);
}
static inline void d_store(double *p, d_vec x)
{
    _mm256_storeu_pd(p, x);
}
static inline d_vec d_words(const void *p)
{
    return _mm256_loadu_pd(p);
}
static inline d_vec d_load_n(const double *p, int64_t n)
{
    return _mm256_maskload_pd(p, d_first(n));
}
static inline void d_store_n(double *p, d_vec x, int64_t n)
{
    _mm256_maskstore_pd(p, d_first(n), x);
}
static inline d_vec d_set(double x)
{
    return _mm256_set1_pd(x);
}
static inline d_vec d_add(d_vec a, d_vec b)
{
    return _mm256_add_pd(a, b);
}
static inline d_vec d_sub(d_vec a, d_vec b)
{
    return _mm256_sub_pd(a, b);
}
static inline d_vec d_mul(d_vec a, d_vec b)
{
    return _mm256_mul_pd(a, b);
}
static inline d_vec d_div(d_vec a, d_vec b)
{
    return _mm256_div_pd(a, b);
}
static inline d_vec d_fma(d_vec a, d_vec b, d_vec c)
{
    return _mm256_fmadd_pd(a, b, c);
}
static inline d_vec d_max(d_vec a, d_vec b)
{
    return _mm256_max_pd(a, b);
}
static inline d_vec d_min(d_vec a, d_vec b)
{
    return _mm256_min_pd(a, b);
}
static inline d_mask d_lt(d_vec a, d_vec b)
{
    return _mm256_cmp_pd(a, b, _CMP_LT_OQ);
}
static inline d_mask d_nan(d_vec a)
{
    return _mm256_cmp_pd(a, a, _CMP_UNORD_Q);
}
static inline bool d_any(d_mask m)
{
    return _mm256_movemask_pd(m) != 0;
}
static inline d_mask d_sign(d_vec a)
{
    return a;
}
static inline d_mask d_mask_from(uint64_t bits)
{
    const __m256i lane = _mm256_setr_epi64x(1, 2, 4, 8);
    __m256i some = _mm256_and_si256(_mm256_set1_epi64x((int64_t)(bits & 0xF)), lane);
    return _mm256_castsi256_pd(_mm256_cmpeq_epi64(some, lane));
}
static inline d_vec d_select(d_mask m, d_vec yes, d_vec no)
{
    return _mm256_blendv_pd(no, yes, m);
}
static inline d_vec d_fma_unmarked(d_vec a, d_vec b, d_vec c)
{
    const __m256i marked = _mm256_cmpgt_epi64(_mm256_setzero_si256(), _mm256_castpd_si256(a));
    return d_fma(a, _mm256_andnot_pd(_mm256_castsi256_pd(marked), b), c);
}
static inline d_vec d_abs(d_vec a)
{
    return _mm256_andnot_pd(_mm256_set1_pd(-0.0), a);
}
static inline d_vec d_copysign(d_vec a, d_vec sign)
{
    return _mm256_or_pd(d_abs(a), _mm256_and_pd(_mm256_set1_pd(-0.0), sign));
}
static inline d_vec d_scale2(d_vec x, d_vec n)
{
    __m256i bits = _mm256_castpd_si256(d_add(n, d_set(D_MAGIC)));
    bits = _mm256_slli_epi64(_mm256_add_epi64(bits, _mm256_set1_epi64x(1023)), 52);
    return d_mul(x, _mm256_castsi256_pd(bits));
}
static inline d_vec d_scale2_from(d_vec x, d_vec n, d_vec at, d_vec least)
{
    return _mm256_and_pd(_mm256_cmp_pd(at, least, _CMP_NLT_UQ), d_scale2(x, n));
}
static inline d_vec d_round(d_vec a)
{
    return _mm256_round_pd(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline d_vec d_sqrt(d_vec a)
{
    return _mm256_sqrt_pd(a);
}
static inline __m256i d_split(d_vec x)
{
    return _mm256_srli_epi64(
        _mm256_add_epi64(_mm256_castpd_si256(x), _mm256_set1_epi64x((int64_t)D_SPLIT)), 52);
}
static inline d_vec d_exponent(d_vec x) /* AVX2 turns no 64-bit integers into doubles */
{
    __m256i bits = _mm256_or_si256(d_split(x), _mm256_castpd_si256(d_set(0x1p52)));
    return d_sub(_mm256_castsi256_pd(bits), d_set(0x1p52 + 1023.0));
}
static inline d_vec d_mantissa(d_vec x)
{
    __m256i e = _mm256_sub_epi64(d_split(x), _mm256_set1_epi64x(1023));
    return _mm256_castsi256_pd(
        _mm256_sub_epi64(_mm256_castpd_si256(x), _mm256_slli_epi64(e, 52)));
}

/* 4 x 4: pairs inside the halves, then the halves. */
static inline void d_transpose(d_vec *r)
{
    __m256d a0 = _mm256_unpacklo_pd(r[0], r[1]), a1 = _mm256_unpackhi_pd(r[0], r[1]);
    __m256d a2 = _mm256_unpacklo_pd(r[2], r[3]), a3 = _mm256_unpackhi_pd(r[2], r[3]);
    r[0] = _mm256_permute2f128_pd(a0, a2, 0x20);
    r[1] = _mm256_permute2f128_pd(a1, a3, 0x20);
    r[2] = _mm256_permute2f128_pd(a0, a2, 0x31);
    r[3] = _mm256_permute2f128_pd(a1, a3, 0x31);
}

static inline d_vec d_load_f32(const float *p)
{
    return _mm256_cvtps_pd(_mm_loadu_ps(p));
}
static inline s_vec s_mul_f64(const double *a, const double *b)
{
    __m128 low = _mm256_cvtpd_ps(d_mul(d_load(a), d_load(b)));
    __m128 high = _mm256_cvtpd_ps(d_mul(d_load(a + 4), d_load(b + 4)));
    return _mm256_set_m128(high, low);
}

static inline s_vec s_scale_f64(const float *a, const double *b)
{
    __m128 low = _mm256_cvtpd_ps(d_mul(d_load_f32(a), d_load(b)));
    __m128 high = _mm256_cvtpd_ps(d_mul(d_load_f32(a + 4), d_load(b + 4)));
    return _mm256_set_m128(high, low);
}

#endif
