/* SPDX-License-Identifier: MIT
 * The vocabulary on one lane: what every other vec/<isa>.h must agree with, bit for bit.
 *
 * s_ operations work on floats, d_ on doubles. A mask is what lt, sign and mask_from give; any:
 * it has a lane. */
#ifndef ATTN__VEC_SCALAR_H
#define ATTN__VEC_SCALAR_H

#include "vec/common.h"

enum { S_LANES = 1, S_TILE_V = 4, S_TILE_R = 4, D_LANES = 1, D_TILE_V = 4, D_TILE_R = 4 };

typedef float s_vec;
typedef bool s_mask;
static inline s_vec s_load(const float *p)
{
    return *p;
}
static inline void s_store(float *p, s_vec x)
{
    *p = x;
}
static inline s_vec s_load_n(const float *p, int64_t n)
{
    return n > 0 ? *p : 0.0f;
}
static inline void s_store_n(float *p, s_vec x, int64_t n)
{
    if (n > 0) *p = x;
}
static inline s_vec s_set(float x)
{
    return x;
}
static inline s_vec s_add(s_vec a, s_vec b)
{
    return a + b;
}
static inline s_vec s_sub(s_vec a, s_vec b)
{
    return a - b;
}
static inline s_vec s_mul(s_vec a, s_vec b)
{
    return a * b;
}
static inline s_vec s_div(s_vec a, s_vec b)
{
    return a / b;
}
static inline s_vec s_fma(s_vec a, s_vec b, s_vec c)
{
    return fmaf(a, b, c);
}
static inline s_vec s_max(s_vec a, s_vec b)
{
    return a > b ? a : b;
}
static inline s_vec s_min(s_vec a, s_vec b)
{
    return a < b ? a : b;
}
static inline s_mask s_lt(s_vec a, s_vec b)
{
    return a < b;
}
static inline s_mask s_nan(s_vec a)
{
    return a != a;
}
static inline bool s_any(s_mask m)
{
    return m;
}
static inline s_mask s_sign(s_vec a)
{
    return signbit(a) != 0;
}
static inline s_mask s_mask_from(uint64_t bits)
{
    return (bits & 1) != 0;
}
static inline s_vec s_select(s_mask m, s_vec yes, s_vec no)
{
    return m ? yes : no;
}
/* fma, but c where the sign of a is set: b is not used there. */
static inline s_vec s_fma_unmarked(s_vec a, s_vec b, s_vec c)
{
    return s_fma(a, s_select(s_sign(a), 0.0f, b), c);
}
static inline s_vec s_abs(s_vec a)
{
    return fabsf(a);
}
static inline s_vec s_copysign(s_vec a, s_vec sign)
{
    return copysignf(a, sign);
}
static inline s_vec s_scale2(s_vec x, s_vec n)
{
    return x * attn__pow2_f32(n);
}
/* x 2^n, but 0 where at is below least. */
static inline s_vec s_scale2_from(s_vec x, s_vec n, s_vec at, s_vec least)
{
    return at < least ? 0.0f : s_scale2(x, n);
}
/* The nearest whole number, of two the even one. */
static inline s_vec s_round(s_vec a)
{
    const float whole = 0x1p23f, size = fabsf(a);
    return size < whole ? copysignf((size + whole) - whole, a) : a;
}
static inline s_vec s_sqrt(s_vec a)
{
    return sqrtf(a);
}
/* x = mantissa 2^exponent, the mantissa in [sqrt 1/2, sqrt 2), for positive normal numbers; of
 * anything else what the bits give. */
static inline uint32_t s_split(s_vec x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits + S_SPLIT) >> 23;
}
static inline s_vec s_exponent(s_vec x)
{
    return (float)s_split(x) - 127.0f;
}
static inline s_vec s_mantissa(s_vec x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits -= (s_split(x) - 127u) << 23;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static inline void s_transpose(s_vec *r)
{
    (void)r;
}
static inline s_vec s_load_bf16(const uint16_t *p)
{
    return attn__bf16_to_f32(*p);
}
static inline s_vec s_load_f16(const uint16_t *p)
{
    return attn__f16_to_f32(*p);
}
static inline void s_store_bf16(uint16_t *p, s_vec x)
{
    *p = attn__f32_to_bf16(x);
}
static inline void s_store_f16(uint16_t *p, s_vec x)
{
    *p = attn__f32_to_f16(x);
}

/* S_LANES words of 32 bits from anywhere, as they are; and number i in each of them: two halves,
 * or a whole number in two's complement of bits bits from bit first on. */
static inline s_vec s_words(const void *p)
{
    s_vec x;
    memcpy(&x, p, sizeof x);
    return x;
}
static inline uint32_t s_word(s_vec x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
static inline s_vec s_word_bf16(s_vec x, int i)
{
    return attn__bf16_to_f32((uint16_t)(s_word(x) >> 16 * i));
}
static inline s_vec s_word_f16(s_vec x, int i)
{
    return attn__f16_to_f32((uint16_t)(s_word(x) >> 16 * i));
}
static inline s_vec s_word_int(s_vec x, int first, int bits)
{
    const uint32_t sign = 1u << (bits - 1), low = s_word(x) >> first & (2 * sign - 1);
    return (float)((int)(low ^ sign) - (int)sign);
}
/* Elements e .. e + S_LANES of a row of bytes, or of halves of bytes; e a multiple of S_LANES. */
static inline s_vec s_load_i8(const int8_t *row, int64_t e)
{
    return (float)row[e];
}
static inline s_vec s_load_i4(const uint8_t *row, int64_t e)
{
    const int low = row[e / 2] >> 4 * (e % 2) & 15;
    return (float)((low ^ 8) - 8);
}

typedef double d_vec;
typedef bool d_mask;
static inline d_vec d_load(const double *p)
{
    return *p;
}
static inline void d_store(double *p, d_vec x)
{
    *p = x;
}
static inline d_vec d_words(const void *p)
{
    d_vec x;
    memcpy(&x, p, sizeof x);
    return x;
}
static inline d_vec d_load_n(const double *p, int64_t n)
{
    return n > 0 ? *p : 0.0;
}
static inline void d_store_n(double *p, d_vec x, int64_t n)
{
    if (n > 0) *p = x;
}
static inline d_vec d_set(double x)
{
    return x;
}
static inline d_vec d_add(d_vec a, d_vec b)
{
    return a + b;
}
static inline d_vec d_sub(d_vec a, d_vec b)
{
    return a - b;
}
static inline d_vec d_mul(d_vec a, d_vec b)
{
    return a * b;
}
static inline d_vec d_div(d_vec a, d_vec b)
{
    return a / b;
}
static inline d_vec d_fma(d_vec a, d_vec b, d_vec c)
{
    return fma(a, b, c);
}
static inline d_vec d_max(d_vec a, d_vec b)
{
    return a > b ? a : b;
}
static inline d_vec d_min(d_vec a, d_vec b)
{
    return a < b ? a : b;
}
static inline d_mask d_lt(d_vec a, d_vec b)
{
    return a < b;
}
static inline d_mask d_nan(d_vec a)
{
    return a != a;
}
static inline bool d_any(d_mask m)
{
    return m;
}
static inline d_mask d_sign(d_vec a)
{
    return signbit(a) != 0;
}
static inline d_mask d_mask_from(uint64_t bits)
{
    return (bits & 1) != 0;
}
static inline d_vec d_select(d_mask m, d_vec yes, d_vec no)
{
    return m ? yes : no;
}
static inline d_vec d_fma_unmarked(d_vec a, d_vec b, d_vec c)
{
    return d_fma(a, d_select(d_sign(a), 0.0, b), c);
}
static inline d_vec d_abs(d_vec a)
{
    return fabs(a);
}
static inline d_vec d_copysign(d_vec a, d_vec sign)
{
    return copysign(a, sign);
}
static inline d_vec d_scale2(d_vec x, d_vec n)
{
    return x * attn__pow2_f64(n);
}
static inline d_vec d_scale2_from(d_vec x, d_vec n, d_vec at, d_vec least)
{
    return at < least ? 0.0 : d_scale2(x, n);
}
static inline d_vec d_round(d_vec a)
{
    const double whole = 0x1p52, size = fabs(a);
    return size < whole ? copysign((size + whole) - whole, a) : a;
}
static inline d_vec d_sqrt(d_vec a)
{
    return sqrt(a);
}
static inline uint64_t d_split(d_vec x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits + D_SPLIT) >> 52;
}
static inline d_vec d_exponent(d_vec x)
{
    return (double)d_split(x) - 1023.0;
}
static inline d_vec d_mantissa(d_vec x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits -= (d_split(x) - 1023u) << 52;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static inline void d_transpose(d_vec *r)
{
    (void)r;
}

/* D_LANES floats widened, and S_LANES products of doubles rounded to float. */
static inline d_vec d_load_f32(const float *p)
{
    return (double)*p;
}
static inline s_vec s_mul_f64(const double *a, const double *b)
{
    return (float)(*a * *b);
}

static inline s_vec s_scale_f64(const float *a, const double *b)
{
    return (float)((double)*a * *b);
}

#endif
