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

/* Whole, so that arrays indexed by the loop become registers. clang knows the first word only as
 * one of its own: without it the products run at a third of their speed. Under a sanitizer every
 * copy brings its checks along and a table takes more than ten minutes to build, so not there. */
#if defined(__clang__)
#    if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#        define UNROLL(times)
#    else
#        define UNROLL(times) _Pragma("unroll")
#    endif
#else
#    define UNROLL_TEXT(text) _Pragma(#    text)
#    define UNROLL(times)     UNROLL_TEXT(GCC unroll times)
#endif

/* A pointer that moves on step by step: compilers would rather keep every place it comes to, in
 * more registers than there are. */
#define MOVED(pointer) __asm__("" : "+r"(pointer))

#define S_MAGIC 0x1.8p23f
#define D_MAGIC 0x1.8p52

/* x = 2^e m with m in [sqrt 1/2, sqrt 2): the bits of x, shifted so that the exponent steps at
 * sqrt 1/2 instead of 1/2, hold e + the bias where an exponent lies. */
#define S_SPLIT ((127u << 23) - 0x3F3504F3u)
#define D_SPLIT (((uint64_t)1023 << 52) - 0x3FE6A09E667F3BCDu)

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
