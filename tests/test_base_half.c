/* SPDX-License-Identifier: MIT
 * f16 and bf16 against a search: every value of the format in a sorted list, the nearest one
 * found by comparing with midpoints, which are exact in double. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "base/base.h"

typedef struct half_format {
    const char *name;
    uint16_t infinity, nan;
    int exponent_bits, mantissa_bits;
    float (*widen)(uint16_t x);
    uint16_t (*from_float)(float x);
    uint16_t (*from_double)(double x);
} half_format;

static const half_format formats[] = {
    {"f16", 0x7C00, 0x7E00, 5, 10, attn__f16_to_f32, attn__f32_to_f16, attn__f64_to_f16},
    {"bf16", 0x7F80, 0x7FC0, 8, 7, attn__bf16_to_f32, attn__f32_to_bf16, attn__f64_to_bf16},
};

enum { N_FORMATS = sizeof formats / sizeof formats[0] };

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* What the magnitude bits stand for, by the definition of the format; the pattern of infinity
 * gives the power of two that would come next, which is where rounding to infinity begins. */
static double meaning(const half_format *f, uint32_t bits)
{
    int bias = (1 << (f->exponent_bits - 1)) - 1;
    int exponent = (int)(bits >> f->mantissa_bits);
    double mantissa = (double)(bits & ((1U << f->mantissa_bits) - 1));
    if (exponent == 0) return ldexp(mantissa, 1 - bias - f->mantissa_bits);
    return ldexp(mantissa + ldexp(1, f->mantissa_bits), exponent - bias - f->mantissa_bits);
}

static uint16_t nearest(const half_format *f, double x)
{
    uint32_t low = 0, high = f->infinity;
    double magnitude = fabs(x);
    if (x != x) return f->nan;
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if (meaning(f, middle) <= magnitude)
            low = middle;
        else
            high = middle;
    }
    double tie = (meaning(f, low) + meaning(f, high)) / 2;
    bool up = magnitude > tie || (magnitude == tie && (low & 1));
    if (up) low = high;
    return (uint16_t)(low | (signbit(x) ? 0x8000 : 0));
}

static void check(const half_format *f, double x)
{
    uint16_t want = nearest(f, x), got = f->from_double(x);
    if (got != want) fail_msg("%s of %a: want %04x, got %04x", f->name, x, want, got);
    float narrow = (float)x;
    if ((double)narrow == x) assert_int_equal(f->from_float(narrow), want);
}

static void widening_gives_the_value(void **state)
{
    (void)state;
    for (const half_format *f = formats; f < formats + N_FORMATS; f++)
        for (uint32_t x = 0; x < 0x10000; x++) {
            uint32_t magnitude = x & 0x7FFF;
            float got = f->widen((uint16_t)x);
            if (magnitude > f->infinity) {
                assert_int_equal(bits_of(got), 0x7FC00000);
                continue;
            }
            assert_int_equal(signbit(got) != 0, x >> 15);
            if (magnitude == f->infinity)
                assert_true(isinf(got));
            else
                assert_true((double)fabsf(got) == meaning(f, magnitude));
        }
}

static void every_value_survives_a_round_trip(void **state)
{
    (void)state;
    for (const half_format *f = formats; f < formats + N_FORMATS; f++)
        for (uint32_t x = 0; x < 0x10000; x++) {
            float wide = f->widen((uint16_t)x);
            uint32_t want = (x & 0x7FFF) > f->infinity ? f->nan : x;
            assert_int_equal(f->from_float(wide), want);
            assert_int_equal(f->from_double((double)wide), want);
        }
}

/* The neighbours of a tie in double differ from it by less than float can hold: rounding
 * through float would fail here. */
static void ties_and_their_neighbours(void **state)
{
    (void)state;
    for (const half_format *f = formats; f < formats + N_FORMATS; f++)
        for (uint32_t x = 0; x < f->infinity; x++) {
            double tie = (meaning(f, x) + meaning(f, x + 1)) / 2;
            check(f, tie);
            check(f, -tie);
            check(f, nextafter(tie, 0));
            check(f, nextafter(tie, HUGE_VAL));
            check(f, -nextafter(tie, HUGE_VAL));
        }
}

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static void random_doubles(void **state)
{
    uint64_t seed = 0x9E3779B97F4A7C15;
    (void)state;
    for (const half_format *f = formats; f < formats + N_FORMATS; f++)
        for (int i = 0; i < 200000; i++) {
            uint64_t bits = next_random(&seed);
            double x, scaled;
            memcpy(&x, &bits, sizeof x);
            check(f, x);
            scaled = ldexp((double)(bits >> 11), (int)(bits % 300) - 203);
            check(f, bits & 1024 ? scaled : -scaled);
        }
}

static void special_values(void **state)
{
    static const double special[] = {
        0.0,       -0.0,           HUGE_VAL,   -HUGE_VAL,  (double)NAN,  0x1p-1074,
        0x1p-1022, 65504,          65519.999,  65520,      -65520,       65536,
        1e308,     0x1p-24,        0x1p-25,    0x1.8p-25,  0x1p-26,      0x1p-133,
        0x1p-134,  0x1.00001p-134, 0x1.fep127, 0x1.ffp127, 0x1.fefffp127};
    (void)state;
    for (const half_format *f = formats; f < formats + N_FORMATS; f++) {
        for (size_t i = 0; i < sizeof special / sizeof special[0]; i++) check(f, special[i]);
        assert_int_equal(f->from_double(-(double)NAN), f->nan);
    }
    assert_int_equal(attn__f64_to_f16(65519.999), 0x7BFF);
    assert_int_equal(attn__f64_to_f16(65520), 0x7C00);
    assert_int_equal(attn__f64_to_f16(1), 0x3C00);
    assert_int_equal(attn__f64_to_f16(-0x1p-24), 0x8001);
    assert_int_equal(attn__f64_to_bf16(1), 0x3F80);
    assert_int_equal(attn__f64_to_bf16(-2.5), 0xC020);
    assert_int_equal(attn__f64_to_bf16(1e39), 0x7F80);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(widening_gives_the_value),
        cmocka_unit_test(every_value_survives_a_round_trip),
        cmocka_unit_test(ties_and_their_neighbours),
        cmocka_unit_test(random_doubles),
        cmocka_unit_test(special_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
