/* SPDX-License-Identifier: MIT
 * Elements by their definition: a float of e exponent and m fraction bits is sign, exponent and
 * fraction put together with ldexp. Rounding scales by a power of two, where the fraction
 * becomes an integer, and takes the nearest even one. */
#include "oracle/oracle.h"

#include <math.h>
#include <string.h>

/* The layout of a float type; min_exponent is that of the smallest normal number. */
typedef struct float_format {
    int fraction_bits, exponent_bits, min_exponent;
} float_format;

static const float_format formats[] = {
    [ATTN_DTYPE_F64] = {52, 11, -1022},
    [ATTN_DTYPE_F32] = {23, 8, -126},
    [ATTN_DTYPE_BF16] = {7, 8, -126},
    [ATTN_DTYPE_F16] = {10, 5, -14},
};

static double element_from_bits(float_format f, uint32_t bits)
{
    uint32_t fraction = bits & ((1u << f.fraction_bits) - 1);
    int exponent = (int)(bits >> f.fraction_bits) & ((1 << f.exponent_bits) - 1);
    bool negative = bits >> (f.fraction_bits + f.exponent_bits) & 1;
    double x;
    if (exponent == (1 << f.exponent_bits) - 1)
        x = fraction ? (double)NAN : (double)INFINITY;
    else if (exponent == 0)
        x = ldexp(fraction, f.min_exponent - f.fraction_bits);
    else
        x = ldexp(1.0 + ldexp(fraction, -f.fraction_bits), exponent - 1 + f.min_exponent);
    return negative ? -x : x;
}

static int element_exponent(float_format f, double x)
{
    int exponent;
    frexp(x, &exponent); /* x in [2^(exponent-1), 2^exponent) */
    bool small = x == 0 || exponent - 1 < f.min_exponent;
    return small ? f.min_exponent : exponent - 1;
}

/* Nearest integer, ties to even, whatever the rounding mode of the caller is. */
static double element_nearest(double x)
{
    double low = floor(x), rest = x - low;
    if (rest > 0.5) return low + 1;
    if (rest < 0.5) return low;
    return fmod(low, 2) == 0 ? low : low + 1;
}

double oracle_round(attn_dtype dtype, double value)
{
    if (dtype == ATTN_DTYPE_F64 || isnan(value) || isinf(value) || value == 0) return value;
    float_format f = formats[dtype];
    int step = element_exponent(f, value) - f.fraction_bits;
    double rounded = ldexp(element_nearest(ldexp(value, -step)), step);
    double limit = ldexp(2.0, (1 << (f.exponent_bits - 1)) - 1);
    return fabs(rounded) >= limit ? copysign((double)INFINITY, value) : rounded;
}

double oracle_half_ulp(attn_dtype dtype, double value)
{
    float_format f = formats[dtype];
    return ldexp(0.5, element_exponent(f, value) - f.fraction_bits);
}

static uint32_t element_to_bits(float_format f, double x)
{
    uint32_t sign = (signbit(x) ? 1u : 0u) << (f.fraction_bits + f.exponent_bits);
    uint32_t top = ((1u << f.exponent_bits) - 1) << f.fraction_bits;
    if (isnan(x)) return top | 1u << (f.fraction_bits - 1);
    if (isinf(x)) return sign | top;
    int exponent = element_exponent(f, x);
    uint32_t count = (uint32_t)ldexp(fabs(x), f.fraction_bits - exponent);
    /* A normal number carries its leading 1 into the exponent field. */
    return sign | (((uint32_t)(exponent - f.min_exponent) << f.fraction_bits) + count);
}

static double element_get_float(attn_dtype dtype, const unsigned char *at)
{
    uint16_t half;
    uint32_t word;
    double wide;
    if (dtype == ATTN_DTYPE_F64) return memcpy(&wide, at, 8), wide;
    if (dtype == ATTN_DTYPE_F32)
        return memcpy(&word, at, 4), element_from_bits(formats[dtype], word);
    memcpy(&half, at, 2);
    return element_from_bits(formats[dtype], half);
}

#define ELEMENT_INT(name, type)                                                                \
    static int64_t element_get_##name(const unsigned char *at)                                 \
    {                                                                                          \
        type x;                                                                                \
        memcpy(&x, at, sizeof x);                                                              \
        return (int64_t)x;                                                                     \
    }                                                                                          \
    static void element_put_##name(unsigned char *at, int64_t value)                           \
    {                                                                                          \
        type x = (type)value;                                                                  \
        memcpy(at, &x, sizeof x);                                                              \
    }
ELEMENT_INT(i64, int64_t)
ELEMENT_INT(i32, int32_t)
ELEMENT_INT(i16, int16_t)
ELEMENT_INT(i8, int8_t)
ELEMENT_INT(u64, uint64_t)
ELEMENT_INT(u32, uint32_t)
ELEMENT_INT(u16, uint16_t)
ELEMENT_INT(u8, uint8_t)

typedef struct element_integer {
    size_t size;
    int64_t (*get)(const unsigned char *at);
    void (*put)(unsigned char *at, int64_t value);
} element_integer;

static const element_integer integers[] = {
    [ATTN_DTYPE_BOOL] = {1, element_get_u8, element_put_u8},
    [ATTN_DTYPE_I64] = {8, element_get_i64, element_put_i64},
    [ATTN_DTYPE_I32] = {4, element_get_i32, element_put_i32},
    [ATTN_DTYPE_I16] = {2, element_get_i16, element_put_i16},
    [ATTN_DTYPE_I8] = {1, element_get_i8, element_put_i8},
    [ATTN_DTYPE_U8] = {1, element_get_u8, element_put_u8},
    [ATTN_DTYPE_U16] = {2, element_get_u16, element_put_u16},
    [ATTN_DTYPE_U32] = {4, element_get_u32, element_put_u32},
    [ATTN_DTYPE_U64] = {8, element_get_u64, element_put_u64},
};

static bool element_is_float(attn_dtype dtype)
{
    return dtype >= ATTN_DTYPE_F64 && dtype <= ATTN_DTYPE_F16;
}

static size_t element_size(attn_dtype dtype)
{
    static const size_t floats[] = {[ATTN_DTYPE_F64] = 8,
                                    [ATTN_DTYPE_F32] = 4,
                                    [ATTN_DTYPE_BF16] = 2,
                                    [ATTN_DTYPE_F16] = 2};
    return element_is_float(dtype) ? floats[dtype] : integers[dtype].size;
}

double oracle_get(attn_dtype dtype, const void *data, int64_t i)
{
    const unsigned char *at = (const unsigned char *)data + i * (int64_t)element_size(dtype);
    return element_is_float(dtype) ? element_get_float(dtype, at)
                                   : (double)integers[dtype].get(at);
}

int64_t oracle_get_int(attn_dtype dtype, const void *data, int64_t i)
{
    const unsigned char *at = (const unsigned char *)data + i * (int64_t)element_size(dtype);
    return integers[dtype].get(at);
}

void oracle_put(attn_dtype dtype, void *data, int64_t i, double value)
{
    unsigned char *at = (unsigned char *)data + i * (int64_t)element_size(dtype);
    if (!element_is_float(dtype)) {
        integers[dtype].put(at, (int64_t)value);
    } else if (dtype == ATTN_DTYPE_F64) {
        memcpy(at, &value, 8);
    } else {
        uint32_t word = element_to_bits(formats[dtype], oracle_round(dtype, value));
        uint16_t half = (uint16_t)word;
        memcpy(at, dtype == ATTN_DTYPE_F32 ? (void *)&word : (void *)&half,
               element_size(dtype));
    }
}
