/* SPDX-License-Identifier: MIT
 * The vocabulary on AArch64 Advanced SIMD: 4 floats or 2 doubles a vector. Meaning of each
 * operation: vec/scalar.h. max and min are written as compare and select, because the
 * instructions treat NaN and signed zeros in their own way. */
#ifndef ATTN__VEC_NEON_H
#define ATTN__VEC_NEON_H

#include <arm_neon.h>

#include "vec/common.h"

enum { S_LANES = 4, S_TILE_V = 4, S_TILE_R = 6, D_LANES = 2, D_TILE_V = 4, D_TILE_R = 6 };

typedef float32x4_t s_vec;
typedef uint32x4_t s_mask;
static inline s_vec s_load(const float *p)
{
    return vld1q_f32(p);
}
static inline void s_store(float *p, s_vec x)
{
    vst1q_f32(p, x);
}
static inline s_vec s_load_n(const float *p, int64_t n)
{
    float all[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (int64_t i = 0; i < 4 && i < n; i++) all[i] = p[i];
    return vld1q_f32(all);
}
static inline void s_store_n(float *p, s_vec x, int64_t n)
{
    float all[4];
    vst1q_f32(all, x);
    for (int64_t i = 0; i < 4 && i < n; i++) p[i] = all[i];
}
static inline s_vec s_set(float x)
{
    return vdupq_n_f32(x);
}
static inline s_vec s_add(s_vec a, s_vec b)
{
    return vaddq_f32(a, b);
}
static inline s_vec s_sub(s_vec a, s_vec b)
{
    return vsubq_f32(a, b);
}
static inline s_vec s_mul(s_vec a, s_vec b)
{
    return vmulq_f32(a, b);
}
static inline s_vec s_div(s_vec a, s_vec b)
{
    return vdivq_f32(a, b);
}
static inline s_vec s_fma(s_vec a, s_vec b, s_vec c)
{
    return vfmaq_f32(c, a, b);
}
static inline s_mask s_lt(s_vec a, s_vec b)
{
    return vcltq_f32(a, b);
}
static inline s_mask s_nan(s_vec a)
{
    return vmvnq_u32(vceqq_f32(a, a));
}
static inline bool s_any(s_mask m)
{
    return vmaxvq_u32(m) != 0;
}
static inline s_mask s_sign(s_vec a)
{
    return vreinterpretq_u32_s32(vshrq_n_s32(vreinterpretq_s32_f32(a), 31));
}
static inline s_mask s_mask_from(uint64_t bits)
{
    static const uint32_t lanes[4] = {1, 2, 4, 8};
    return vtstq_u32(vdupq_n_u32((uint32_t)bits & 0xFu), vld1q_u32(lanes));
}
static inline s_vec s_select(s_mask m, s_vec yes, s_vec no)
{
    return vbslq_f32(m, yes, no);
}
static inline s_vec s_max(s_vec a, s_vec b)
{
    return vbslq_f32(vcgtq_f32(a, b), a, b);
}
static inline s_vec s_min(s_vec a, s_vec b)
{
    return vbslq_f32(vcltq_f32(a, b), a, b);
}
static inline s_vec s_fma_unmarked(s_vec a, s_vec b, s_vec c)
{
    return s_fma(a, s_select(s_sign(a), s_set(0.0f), b), c);
}
static inline s_vec s_abs(s_vec a)
{
    return vabsq_f32(a);
}
static inline s_vec s_copysign(s_vec a, s_vec sign)
{
    return vbslq_f32(vdupq_n_u32(0x80000000u), sign, a);
}
static inline s_vec s_scale2(s_vec x, s_vec n)
{
    uint32x4_t bits = vreinterpretq_u32_f32(s_add(n, s_set(S_MAGIC)));
    bits = vshlq_n_u32(vaddq_u32(bits, vdupq_n_u32(127)), 23);
    return s_mul(x, vreinterpretq_f32_u32(bits));
}
static inline s_vec s_scale2_from(s_vec x, s_vec n, s_vec at, s_vec least)
{
    return s_select(s_lt(at, least), s_set(0), s_scale2(x, n));
}
static inline s_vec s_round(s_vec a)
{
    return vrndnq_f32(a);
}
static inline s_vec s_sqrt(s_vec a)
{
    return vsqrtq_f32(a);
}
static inline uint32x4_t s_split(s_vec x)
{
    return vshrq_n_u32(vaddq_u32(vreinterpretq_u32_f32(x), vdupq_n_u32(S_SPLIT)), 23);
}
static inline s_vec s_exponent(s_vec x)
{
    return s_sub(vcvtq_f32_u32(s_split(x)), s_set(127.0f));
}
static inline s_vec s_mantissa(s_vec x)
{
    uint32x4_t e = vsubq_u32(s_split(x), vdupq_n_u32(127));
    return vreinterpretq_f32_u32(vsubq_u32(vreinterpretq_u32_f32(x), vshlq_n_u32(e, 23)));
}
static inline s_vec s_load_bf16(const uint16_t *p)
{
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
}
static inline s_vec s_load_f16(const uint16_t *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}
static inline void s_store_bf16(uint16_t *p, s_vec x)
{
    uint32x4_t bits = vreinterpretq_u32_f32(x);
    uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    uint32x4_t up = vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7FFF)), odd);
    up = vbslq_u32(s_nan(x), vdupq_n_u32(0x7FC00000), up);
    vst1_u16(p, vshrn_n_u32(up, 16));
}
static inline void s_store_f16(uint16_t *p, s_vec x)
{
    x = vbslq_f32(s_nan(x), vreinterpretq_f32_u32(vdupq_n_u32(0x7FC00000)), x);
    vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(x)));
}

static inline s_vec s_words(const void *p)
{
    return vreinterpretq_f32_u8(vld1q_u8(p));
}
static inline s_vec s_word_bf16(s_vec x, int i)
{
    const uint32x4_t w = vreinterpretq_u32_f32(x);
    return vreinterpretq_f32_u32(i ? vandq_u32(w, vdupq_n_u32(0xFFFF0000u))
                                   : vshlq_n_u32(w, 16));
}
static inline s_vec s_word_f16(s_vec x, int i)
{
    const uint32x4_t w = vreinterpretq_u32_f32(x);
    return vcvt_f32_f16(vreinterpret_f16_u16(i ? vshrn_n_u32(w, 16) : vmovn_u32(w)));
}
static inline s_vec s_word_int(s_vec x, int first, int bits)
{
    const int32x4_t w = vreinterpretq_s32_f32(x);
    const int32x4_t top = vshlq_s32(w, vdupq_n_s32(32 - bits - first));
    return vcvtq_f32_s32(vshlq_s32(top, vdupq_n_s32(bits - 32)));
}
static inline s_vec s_load_i8(const int8_t *row, int64_t e)
{
    int8x8_t all = vdup_n_s8(0);
    memcpy(&all, row + e, 4);
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(all))));
}
static inline s_vec s_load_i4(const uint8_t *row, int64_t e)
{
    static const int32_t up[4] = {28, 24, 20, 16};
    uint16_t word;
    memcpy(&word, row + e / 2, sizeof word);
    const int32x4_t top = vshlq_s32(vdupq_n_s32(word), vld1q_s32(up));
    return vcvtq_f32_s32(vshrq_n_s32(top, 28));
}

static inline void s_transpose(s_vec *r)
{
    float32x4x2_t a = vzipq_f32(r[0], r[2]), b = vzipq_f32(r[1], r[3]);
    float32x4x2_t low = vzipq_f32(a.val[0], b.val[0]), high = vzipq_f32(a.val[1], b.val[1]);
    r[0] = low.val[0];
    r[1] = low.val[1];
    r[2] = high.val[0];
    r[3] = high.val[1];
}

typedef float64x2_t d_vec;
typedef uint64x2_t d_mask;
static inline d_vec d_load(const double *p)
{
    return vld1q_f64(p);
}
static inline void d_store(double *p, d_vec x)
{
    vst1q_f64(p, x);
}
static inline d_vec d_words(const void *p)
{
    return vreinterpretq_f64_u8(vld1q_u8(p));
}
static inline d_vec d_load_n(const double *p, int64_t n)
{
    double all[2] = {n > 0 ? p[0] : 0.0, n > 1 ? p[1] : 0.0};
    return vld1q_f64(all);
}
static inline void d_store_n(double *p, d_vec x, int64_t n)
{
    if (n > 0) p[0] = vgetq_lane_f64(x, 0);
    if (n > 1) p[1] = vgetq_lane_f64(x, 1);
}
static inline d_vec d_set(double x)
{
    return vdupq_n_f64(x);
}
static inline d_vec d_add(d_vec a, d_vec b)
{
    return vaddq_f64(a, b);
}
static inline d_vec d_sub(d_vec a, d_vec b)
{
    return vsubq_f64(a, b);
}
static inline d_vec d_mul(d_vec a, d_vec b)
{
    return vmulq_f64(a, b);
}
static inline d_vec d_div(d_vec a, d_vec b)
{
    return vdivq_f64(a, b);
}
static inline d_vec d_fma(d_vec a, d_vec b, d_vec c)
{
    return vfmaq_f64(c, a, b);
}
static inline d_mask d_lt(d_vec a, d_vec b)
{
    return vcltq_f64(a, b);
}
static inline d_mask d_nan(d_vec a)
{
    return veorq_u64(vceqq_f64(a, a), vdupq_n_u64(~(uint64_t)0));
}
static inline bool d_any(d_mask m)
{
    return (vgetq_lane_u64(m, 0) | vgetq_lane_u64(m, 1)) != 0;
}
static inline d_mask d_sign(d_vec a)
{
    return vreinterpretq_u64_s64(vshrq_n_s64(vreinterpretq_s64_f64(a), 63));
}
static inline d_mask d_mask_from(uint64_t bits)
{
    static const uint64_t lanes[2] = {1, 2};
    return vtstq_u64(vdupq_n_u64(bits & 3u), vld1q_u64(lanes));
}
static inline d_vec d_select(d_mask m, d_vec yes, d_vec no)
{
    return vbslq_f64(m, yes, no);
}
static inline d_vec d_max(d_vec a, d_vec b)
{
    return vbslq_f64(vcgtq_f64(a, b), a, b);
}
static inline d_vec d_min(d_vec a, d_vec b)
{
    return vbslq_f64(vcltq_f64(a, b), a, b);
}
static inline d_vec d_fma_unmarked(d_vec a, d_vec b, d_vec c)
{
    return d_fma(a, d_select(d_sign(a), d_set(0.0), b), c);
}
static inline d_vec d_abs(d_vec a)
{
    return vabsq_f64(a);
}
static inline d_vec d_copysign(d_vec a, d_vec sign)
{
    return vbslq_f64(vdupq_n_u64((uint64_t)1 << 63), sign, a);
}
static inline d_vec d_scale2(d_vec x, d_vec n)
{
    uint64x2_t bits = vreinterpretq_u64_f64(d_add(n, d_set(D_MAGIC)));
    bits = vshlq_n_u64(vaddq_u64(bits, vdupq_n_u64(1023)), 52);
    return d_mul(x, vreinterpretq_f64_u64(bits));
}
static inline d_vec d_scale2_from(d_vec x, d_vec n, d_vec at, d_vec least)
{
    return d_select(d_lt(at, least), d_set(0), d_scale2(x, n));
}
static inline d_vec d_round(d_vec a)
{
    return vrndnq_f64(a);
}
static inline d_vec d_sqrt(d_vec a)
{
    return vsqrtq_f64(a);
}
static inline uint64x2_t d_split(d_vec x)
{
    return vshrq_n_u64(vaddq_u64(vreinterpretq_u64_f64(x), vdupq_n_u64(D_SPLIT)), 52);
}
static inline d_vec d_exponent(d_vec x)
{
    return d_sub(vcvtq_f64_u64(d_split(x)), d_set(1023.0));
}
static inline d_vec d_mantissa(d_vec x)
{
    uint64x2_t e = vsubq_u64(d_split(x), vdupq_n_u64(1023));
    return vreinterpretq_f64_u64(vsubq_u64(vreinterpretq_u64_f64(x), vshlq_n_u64(e, 52)));
}
static inline void d_transpose(d_vec *r)
{
    d_vec low = vzip1q_f64(r[0], r[1]);
    r[1] = vzip2q_f64(r[0], r[1]);
    r[0] = low;
}

static inline d_vec d_load_f32(const float *p)
{
    return vcvt_f64_f32(vld1_f32(p));
}
static inline s_vec s_mul_f64(const double *a, const double *b)
{
    float32x2_t low = vcvt_f32_f64(d_mul(d_load(a), d_load(b)));
    return vcvt_high_f32_f64(low, d_mul(d_load(a + 2), d_load(b + 2)));
}

static inline s_vec s_scale_f64(const float *a, const double *b)
{
    float32x2_t low = vcvt_f32_f64(d_mul(d_load_f32(a), d_load(b)));
    return vcvt_high_f32_f64(low, d_mul(d_load_f32(a + 2), d_load(b + 2)));
}

#endif
