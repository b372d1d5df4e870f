/* SPDX-License-Identifier: MIT
 * The vocabulary on SVE at a length fixed by the compiler (-msve-vector-bits), 128, 256 or 512
 * bits: a vector of known size may stand in an array, so the bodies serve unchanged. Masks are
 * predicates. Meaning of each operation: vec/scalar.h. max and min are written as compare and
 * select, because the instructions treat NaN and signed zeros in their own way. */
#ifndef ATTN__VEC_SVE_H
#define ATTN__VEC_SVE_H

#include <arm_sve.h>

#include "vec/common.h"

#define SVE_BITS  __ARM_FEATURE_SVE_BITS
#define SVE_FIXED __attribute__((arm_sve_vector_bits(SVE_BITS)))

/* 32 registers; a panel of 48 lanes is a multiple of three vectors of 512 bits. */
enum {
    S_LANES = SVE_BITS / 32,
    S_TILE_V = SVE_BITS > 128 ? 3 : 4,
    S_TILE_R = SVE_BITS > 128 ? 8 : 6,
    D_LANES = SVE_BITS / 64,
    D_TILE_V = S_TILE_V,
    D_TILE_R = S_TILE_R
};

typedef svfloat32_t s_vec SVE_FIXED;
typedef svbool_t s_mask SVE_FIXED;
static inline svbool_t s_all(void)
{
    return svptrue_b32();
}
static inline s_vec s_load(const float *p)
{
    return svld1_f32(s_all(), p);
}
static inline void s_store(float *p, s_vec x)
{
    svst1_f32(s_all(), p, x);
}
static inline s_vec s_load_n(const float *p, int64_t n)
{
    return svld1_f32(svwhilelt_b32_s64(0, n), p);
}
static inline void s_store_n(float *p, s_vec x, int64_t n)
{
    svst1_f32(svwhilelt_b32_s64(0, n), p, x);
}
static inline s_vec s_set(float x)
{
    return svdup_n_f32(x);
}
static inline s_vec s_add(s_vec a, s_vec b)
{
    return svadd_f32_x(s_all(), a, b);
}
static inline s_vec s_sub(s_vec a, s_vec b)
{
    return svsub_f32_x(s_all(), a, b);
}
static inline s_vec s_mul(s_vec a, s_vec b)
{
    return svmul_f32_x(s_all(), a, b);
}
static inline s_vec s_div(s_vec a, s_vec b)
{
    return svdiv_f32_x(s_all(), a, b);
}
static inline s_vec s_fma(s_vec a, s_vec b, s_vec c)
{
    return svmla_f32_x(s_all(), c, a, b);
}
static inline s_mask s_lt(s_vec a, s_vec b)
{
    return svcmplt_f32(s_all(), a, b);
}
static inline s_mask s_nan(s_vec a)
{
    return svcmpuo_f32(s_all(), a, a);
}
static inline bool s_any(s_mask m)
{
    return svptest_any(s_all(), m);
}
static inline s_mask s_sign(s_vec a)
{
    return svcmplt_n_s32(s_all(), svreinterpret_s32_f32(a), 0);
}
static inline s_mask s_mask_from(uint64_t bits)
{
    svuint32_t lanes = svlsl_u32_x(s_all(), svdup_n_u32(1), svindex_u32(0, 1));
    return svcmpne_n_u32(s_all(), svand_n_u32_x(s_all(), lanes, (uint32_t)bits), 0);
}
static inline s_vec s_select(s_mask m, s_vec yes, s_vec no)
{
    return svsel_f32(m, yes, no);
}
static inline s_vec s_max(s_vec a, s_vec b)
{
    return svsel_f32(svcmpgt_f32(s_all(), a, b), a, b);
}
static inline s_vec s_min(s_vec a, s_vec b)
{
    return svsel_f32(svcmplt_f32(s_all(), a, b), a, b);
}
static inline s_vec s_fma_unmarked(s_vec a, s_vec b, s_vec c)
{
    svbool_t plain = svcmpge_n_s32(s_all(), svreinterpret_s32_f32(a), 0);
    return svmla_f32_m(plain, c, a, b);
}
static inline s_vec s_abs(s_vec a)
{
    return svabs_f32_x(s_all(), a);
}
static inline s_vec s_copysign(s_vec a, s_vec sign)
{
    const uint32_t top = 0x80000000u;
    svuint32_t size = svand_n_u32_x(s_all(), svreinterpret_u32_f32(a), ~top);
    svuint32_t side = svand_n_u32_x(s_all(), svreinterpret_u32_f32(sign), top);
    return svreinterpret_f32_u32(svorr_u32_x(s_all(), size, side));
}
static inline s_vec s_scale2(s_vec x, s_vec n)
{
    return svscale_f32_x(s_all(), x, svcvt_s32_f32_x(s_all(), n));
}
static inline s_vec s_scale2_from(s_vec x, s_vec n, s_vec at, s_vec least)
{
    return s_select(s_lt(at, least), s_set(0), s_scale2(x, n));
}
static inline s_vec s_round(s_vec a)
{
    return svrintn_f32_x(s_all(), a);
}
static inline s_vec s_sqrt(s_vec a)
{
    return svsqrt_f32_x(s_all(), a);
}
static inline svuint32_t s_split(s_vec x)
{
    svuint32_t shifted = svadd_n_u32_x(s_all(), svreinterpret_u32_f32(x), S_SPLIT);
    return svlsr_n_u32_x(s_all(), shifted, 23);
}
static inline s_vec s_exponent(s_vec x)
{
    return s_sub(svcvt_f32_u32_x(s_all(), s_split(x)), s_set(127.0f));
}
static inline s_vec s_mantissa(s_vec x)
{
    svuint32_t e = svsub_n_u32_x(s_all(), s_split(x), 127);
    e = svlsl_n_u32_x(s_all(), e, 23);
    return svreinterpret_f32_u32(svsub_u32_x(s_all(), svreinterpret_u32_f32(x), e));
}
static inline s_vec s_load_bf16(const uint16_t *p)
{
    svuint32_t wide = svld1uh_u32(s_all(), p);
    return svreinterpret_f32_u32(svlsl_n_u32_x(s_all(), wide, 16));
}
static inline s_vec s_load_f16(const uint16_t *p)
{
    return svcvt_f32_f16_x(s_all(), svreinterpret_f16_u32(svld1uh_u32(s_all(), p)));
}
static inline void s_store_bf16(uint16_t *p, s_vec x)
{
    svuint32_t bits = svreinterpret_u32_f32(x);
    svuint32_t odd = svand_n_u32_x(s_all(), svlsr_n_u32_x(s_all(), bits, 16), 1);
    svuint32_t up = svadd_u32_x(s_all(), svadd_n_u32_x(s_all(), bits, 0x7FFF), odd);
    up = svsel_u32(s_nan(x), svdup_n_u32(0x7FC00000), up);
    svst1h_u32(s_all(), p, svlsr_n_u32_x(s_all(), up, 16));
}
static inline void s_store_f16(uint16_t *p, s_vec x)
{
    svuint32_t half = svreinterpret_u32_f16(svcvt_f16_f32_x(s_all(), x));
    svst1h_u32(s_all(), p, svsel_u32(s_nan(x), svdup_n_u32(0x7E00), half));
}

static inline s_vec s_words(const void *p)
{
    return svreinterpret_f32_u8(svld1_u8(svptrue_b8(), p));
}
static inline s_vec s_word_bf16(s_vec x, int i)
{
    svuint32_t w = svreinterpret_u32_f32(x);
    return svreinterpret_f32_u32(i ? svand_n_u32_x(s_all(), w, 0xFFFF0000u)
                                   : svlsl_n_u32_x(s_all(), w, 16));
}
static inline s_vec s_word_f16(s_vec x, int i)
{
    svuint32_t w = svlsr_n_u32_x(s_all(), svreinterpret_u32_f32(x), (uint32_t)(16 * i));
    return svcvt_f32_f16_x(s_all(), svreinterpret_f16_u32(w));
}
static inline s_vec s_word_int(s_vec x, int first, int bits)
{
    svuint32_t top =
        svlsl_n_u32_x(s_all(), svreinterpret_u32_f32(x), (uint32_t)(32 - bits - first));
    svuint32_t down = svdup_n_u32((uint32_t)(32 - bits));
    return svcvt_f32_s32_x(s_all(), svasr_s32_x(s_all(), svreinterpret_s32_u32(top), down));
}
static inline s_vec s_load_i8(const int8_t *row, int64_t e)
{
    return svcvt_f32_s32_x(s_all(), svld1sb_s32(s_all(), row + e));
}
static inline s_vec s_load_i4(const uint8_t *row, int64_t e)
{
    svuint32_t lane = svindex_u32(0, 1);
    svuint32_t low =
        svld1ub_gather_u32offset_u32(s_all(), row + e / 2, svlsr_n_u32_x(s_all(), lane, 1));
    svuint32_t up = svmls_n_u32_x(s_all(), svdup_n_u32(28), svand_n_u32_x(s_all(), lane, 1), 4);
    svint32_t top = svreinterpret_s32_u32(svlsl_u32_x(s_all(), low, up));
    return svcvt_f32_s32_x(s_all(), svasr_n_s32_x(s_all(), top, 28));
}

/* Every pass interleaves row i with the row half a square below it; log2(lanes) passes turn the
 * square. */
static inline void s_transpose(s_vec *r)
{
    s_vec next[S_LANES];
    UNROLL(4)
    for (int pass = 1; pass < S_LANES; pass *= 2) {
        UNROLL(8)
        for (int i = 0; i < S_LANES / 2; i++) {
            next[2 * i] = svzip1_f32(r[i], r[i + S_LANES / 2]);
            next[2 * i + 1] = svzip2_f32(r[i], r[i + S_LANES / 2]);
        }
        UNROLL(16)
        for (int i = 0; i < S_LANES; i++) r[i] = next[i];
    }
}

typedef svfloat64_t d_vec SVE_FIXED;
typedef svbool_t d_mask SVE_FIXED;
static inline svbool_t d_all(void)
{
    return svptrue_b64();
}
static inline d_vec d_load(const double *p)
{
    return svld1_f64(d_all(), p);
}
static inline void d_store(double *p, d_vec x)
{
    svst1_f64(d_all(), p, x);
}
static inline d_vec d_words(const void *p)
{
    return svreinterpret_f64_u8(svld1_u8(svptrue_b8(), p));
}
static inline d_vec d_load_n(const double *p, int64_t n)
{
    return svld1_f64(svwhilelt_b64_s64(0, n), p);
}
static inline void d_store_n(double *p, d_vec x, int64_t n)
{
    svst1_f64(svwhilelt_b64_s64(0, n), p, x);
}
static inline d_vec d_set(double x)
{
    return svdup_n_f64(x);
}
static inline d_vec d_add(d_vec a, d_vec b)
{
    return svadd_f64_x(d_all(), a, b);
}
static inline d_vec d_sub(d_vec a, d_vec b)
{
    return svsub_f64_x(d_all(), a, b);
}
static inline d_vec d_mul(d_vec a, d_vec b)
{
    return svmul_f64_x(d_all(), a, b);
}
static inline d_vec d_div(d_vec a, d_vec b)
{
    return svdiv_f64_x(d_all(), a, b);
}
static inline d_vec d_fma(d_vec a, d_vec b, d_vec c)
{
    return svmla_f64_x(d_all(), c, a, b);
}
static inline d_mask d_lt(d_vec a, d_vec b)
{
    return svcmplt_f64(d_all(), a, b);
}
static inline d_mask d_nan(d_vec a)
{
    return svcmpuo_f64(d_all(), a, a);
}
static inline bool d_any(d_mask m)
{
    return svptest_any(d_all(), m);
}
static inline d_mask d_sign(d_vec a)
{
    return svcmplt_n_s64(d_all(), svreinterpret_s64_f64(a), 0);
}
static inline d_mask d_mask_from(uint64_t bits)
{
    svuint64_t lanes = svlsl_u64_x(d_all(), svdup_n_u64(1), svindex_u64(0, 1));
    return svcmpne_n_u64(d_all(), svand_n_u64_x(d_all(), lanes, bits), 0);
}
static inline d_vec d_select(d_mask m, d_vec yes, d_vec no)
{
    return svsel_f64(m, yes, no);
}
static inline d_vec d_max(d_vec a, d_vec b)
{
    return svsel_f64(svcmpgt_f64(d_all(), a, b), a, b);
}
static inline d_vec d_min(d_vec a, d_vec b)
{
    return svsel_f64(svcmplt_f64(d_all(), a, b), a, b);
}
static inline d_vec d_fma_unmarked(d_vec a, d_vec b, d_vec c)
{
    svbool_t plain = svcmpge_n_s64(d_all(), svreinterpret_s64_f64(a), 0);
    return svmla_f64_m(plain, c, a, b);
}
static inline d_vec d_abs(d_vec a)
{
    return svabs_f64_x(d_all(), a);
}
static inline d_vec d_copysign(d_vec a, d_vec sign)
{
    const uint64_t top = (uint64_t)1 << 63;
    svuint64_t size = svand_n_u64_x(d_all(), svreinterpret_u64_f64(a), ~top);
    svuint64_t side = svand_n_u64_x(d_all(), svreinterpret_u64_f64(sign), top);
    return svreinterpret_f64_u64(svorr_u64_x(d_all(), size, side));
}
static inline d_vec d_scale2(d_vec x, d_vec n)
{
    return svscale_f64_x(d_all(), x, svcvt_s64_f64_x(d_all(), n));
}
static inline d_vec d_scale2_from(d_vec x, d_vec n, d_vec at, d_vec least)
{
    return d_select(d_lt(at, least), d_set(0), d_scale2(x, n));
}
static inline d_vec d_round(d_vec a)
{
    return svrintn_f64_x(d_all(), a);
}
static inline d_vec d_sqrt(d_vec a)
{
    return svsqrt_f64_x(d_all(), a);
}
static inline svuint64_t d_split(d_vec x)
{
    svuint64_t shifted = svadd_n_u64_x(d_all(), svreinterpret_u64_f64(x), D_SPLIT);
    return svlsr_n_u64_x(d_all(), shifted, 52);
}
static inline d_vec d_exponent(d_vec x)
{
    return d_sub(svcvt_f64_u64_x(d_all(), d_split(x)), d_set(1023.0));
}
static inline d_vec d_mantissa(d_vec x)
{
    svuint64_t e = svsub_n_u64_x(d_all(), d_split(x), 1023);
    e = svlsl_n_u64_x(d_all(), e, 52);
    return svreinterpret_f64_u64(svsub_u64_x(d_all(), svreinterpret_u64_f64(x), e));
}
static inline void d_transpose(d_vec *r)
{
    d_vec next[D_LANES];
    UNROLL(3)
    for (int pass = 1; pass < D_LANES; pass *= 2) {
        UNROLL(4)
        for (int i = 0; i < D_LANES / 2; i++) {
            next[2 * i] = svzip1_f64(r[i], r[i + D_LANES / 2]);
            next[2 * i + 1] = svzip2_f64(r[i], r[i + D_LANES / 2]);
        }
        UNROLL(8)
        for (int i = 0; i < D_LANES; i++) r[i] = next[i];
    }
}

/* Conversions read and write the even floats of a vector. */
static inline d_vec d_load_f32(const float *p)
{
    s_vec half = s_load_n(p, D_LANES);
    return svcvt_f64_f32_x(d_all(), svzip1_f32(half, half));
}
static inline s_vec s_mul_f64(const double *a, const double *b)
{
    d_vec low = d_mul(d_load(a), d_load(b));
    d_vec high = d_mul(d_load(a + D_LANES), d_load(b + D_LANES));
    return svuzp1_f32(svcvt_f32_f64_x(d_all(), low), svcvt_f32_f64_x(d_all(), high));
}

static inline s_vec s_scale_f64(const float *a, const double *b)
{
    d_vec low = d_mul(d_load_f32(a), d_load(b));
    d_vec high = d_mul(d_load_f32(a + D_LANES), d_load(b + D_LANES));
    return svuzp1_f32(svcvt_f32_f64_x(d_all(), low), svcvt_f32_f64_x(d_all(), high));
}

#endif
