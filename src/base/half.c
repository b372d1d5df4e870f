/* SPDX-License-Identifier: MIT
 * The two 16-bit floats. f16: 1 sign, 5 exponent, 10 mantissa bits (IEEE binary16). bf16: 1, 8,
 * 7 (the upper half of an f32).
 *
 * Narrowing starts from a double and rounds once, to nearest, ties to even; going through float
 * would round twice. Both formats share one routine, because they differ in two widths only.
 * Every NaN becomes the one quiet NaN, so results do not depend on where a NaN came from. */
#include "base/base.h"

#include <string.h>

enum {
    HALF_F64_BIAS = 1023,
    HALF_F64_MANTISSA = 52,
    HALF_F16_EXPONENT = 5,
    HALF_F16_MANTISSA = 10,
    HALF_BF16_EXPONENT = 8,
    HALF_BF16_MANTISSA = 7
};

static float half_float(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* x / 2^shift to nearest even; shift in 1..63. */
static uint64_t half_shift(uint64_t x, int shift)
{
    uint64_t quotient = x >> shift;
    uint64_t rest = x & ((UINT64_C(1) << shift) - 1);
    uint64_t tie = UINT64_C(1) << (shift - 1);
    bool up = rest > tie || (rest == tie && (quotient & 1) != 0);
    return quotient + (up ? 1 : 0);
}

/* The magnitude of a finite double as bits of a format with these widths. The carry of the
 * rounding runs into the exponent field, which makes subnormals normal and the largest numbers
 * infinite, as it should. */
static uint64_t half_finite(uint64_t magnitude, int exponent_bits, int mantissa_bits)
{
    int bias = (1 << (exponent_bits - 1)) - 1;
    int exponent = (int)(magnitude >> HALF_F64_MANTISSA) - HALF_F64_BIAS;
    uint64_t one = UINT64_C(1) << HALF_F64_MANTISSA;
    uint64_t mantissa = (magnitude & (one - 1)) | one;
    int shift = HALF_F64_MANTISSA - mantissa_bits;
    if (exponent > bias) return (UINT64_C(2) * (uint64_t)bias + 1) << mantissa_bits;
    if (exponent >= 1 - bias) {
        uint64_t field = (uint64_t)(exponent + bias - 1);
        return (field << mantissa_bits) + half_shift(mantissa, shift);
    }
    shift += 1 - bias - exponent;
    return shift > HALF_F64_MANTISSA + 1 ? 0 : half_shift(mantissa, shift);
}

static uint16_t half_narrow(double x, int exponent_bits, int mantissa_bits)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint64_t magnitude = bits & INT64_MAX;
    uint64_t infinity = ((UINT64_C(1) << exponent_bits) - 1) << mantissa_bits;
    if (x != x) return (uint16_t)(infinity | UINT64_C(1) << (mantissa_bits - 1));
    return (uint16_t)((bits >> 63) << 15 |
                      half_finite(magnitude, exponent_bits, mantissa_bits));
}

uint16_t attn__f64_to_f16(double x)
{
    return half_narrow(x, HALF_F16_EXPONENT, HALF_F16_MANTISSA);
}

uint16_t attn__f64_to_bf16(double x)
{
    return half_narrow(x, HALF_BF16_EXPONENT, HALF_BF16_MANTISSA);
}

/* Through the wider double, which is exact, to the same single rounding. */
uint16_t attn__f32_to_f16(float x)
{
    return attn__f64_to_f16((double)x);
}

uint16_t attn__f32_to_bf16(float x)
{
    return attn__f64_to_bf16((double)x);
}

float attn__bf16_to_f32(uint16_t x)
{
    bool nan = (x & 0x7FFF) > 0x7F80;
    return half_float(nan ? 0x7FC00000 : (uint32_t)x << 16);
}

float attn__f16_to_f32(uint16_t x)
{
    uint32_t sign = (uint32_t)(x & 0x8000) << 16;
    uint32_t exponent = (uint32_t)x >> 10 & 31, mantissa = x & 0x3FF;
    if (exponent == 31) return half_float(mantissa ? 0x7FC00000 : sign | 0x7F800000);
    if (exponent > 0) return half_float(sign | (exponent + 112) << 23 | mantissa << 13);
    float magnitude = (float)mantissa * 0x1p-24f;
    return sign ? -magnitude : magnitude;
}
