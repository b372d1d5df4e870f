/* SPDX-License-Identifier: MIT
 * What all vocabularies share: powers of two made from bits.
 *
 * Adding the magic number puts the integer n into the low bits of the sum; shifted to the place
 * of the exponent, with the bias, those bits are 2^n. Valid while 2^n is a normal number. */
#ifndef ATTN__VEC_COMMON_H
#define ATTN__VEC_COMMON_H

#include <math.h>
#include <string.h>

#include "kernel/kernel.h"

#define S_MAGIC 0x1.8p23f
#define D_MAGIC 0x1.8p52

static inline float attn__pow2_f32(float n)
{
    float z = n + S_MAGIC;
    uint32_t bits;
    memcpy(&bits, &z, sizeof bits);
    bits = (bits + 127u) << 23;
    memcpy(&z, &bits, sizeof bits);
    return z;
}

static inline double attn__pow2_f64(double n)
{
    double z = n + D_MAGIC;
    uint64_t bits;
    memcpy(&bits, &z, sizeof bits);
    bits = (bits + 1023u) << 52;
    memcpy(&z, &bits, sizeof bits);
    return z;
}

#endif
