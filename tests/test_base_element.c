/* SPDX-License-Identifier: MIT
 * Elements of every type: reading, writing, and every pair of types converted. Integers are
 * checked against long double, which holds all 64 bits here; floats against the compiler's own
 * rounding. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/base.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const struct {
    attn_dtype dtype;
    int64_t low;
    uint64_t high;
} ints[] = {
    {ATTN_DTYPE_I64, INT64_MIN, INT64_MAX}, {ATTN_DTYPE_I32, INT32_MIN, INT32_MAX},
    {ATTN_DTYPE_I16, INT16_MIN, INT16_MAX}, {ATTN_DTYPE_I8, INT8_MIN, INT8_MAX},
    {ATTN_DTYPE_U8, 0, UINT8_MAX},          {ATTN_DTYPE_U16, 0, UINT16_MAX},
    {ATTN_DTYPE_U32, 0, UINT32_MAX},        {ATTN_DTYPE_U64, 0, UINT64_MAX},
};

static const double values[] = {
    0.0,     -0.0,    0.5,      1.5,          2.5,           -0.5,         -1.5,
    -2.5,    126.5,   127.5,    -128.5,       -129,          254.5,        255.5,
    32766.5, 32767.5, 65535.5,  2147483647.5, -2147483648.5, 4294967295.5, 1e10,
    -1e10,   0x1p53,  0x1p62,   0x1p63,       -0x1p63,       0x1p64,       0x1.fffffffffffffp63,
    1e300,   -1e300,  HUGE_VAL, -HUGE_VAL};

/* The integer read back whatever its type, without the library. */
static long double plain_int(attn_dtype dtype, const void *p)
{
    switch (dtype) {
    case ATTN_DTYPE_I64:
        return (long double)*(const int64_t *)p;
    case ATTN_DTYPE_I32:
        return (long double)*(const int32_t *)p;
    case ATTN_DTYPE_I16:
        return (long double)*(const int16_t *)p;
    case ATTN_DTYPE_I8:
        return (long double)*(const int8_t *)p;
    case ATTN_DTYPE_U8:
        return (long double)*(const uint8_t *)p;
    case ATTN_DTYPE_U16:
        return (long double)*(const uint16_t *)p;
    case ATTN_DTYPE_U32:
        return (long double)*(const uint32_t *)p;
    default:
        return (long double)*(const uint64_t *)p;
    }
}

static long double clamp(size_t type, long double x)
{
    if (x != x) return 0;
    long double low = (long double)ints[type].low, high = (long double)ints[type].high;
    return x < low ? low : x > high ? high : x;
}

static void integers_take_the_nearest_value_in_range(void **state)
{
    (void)state;
    for (size_t t = 0; t < COUNT(ints); t++)
        for (size_t i = 0; i < COUNT(values); i++) {
            uint64_t room[3] = {0, 0, 0};
            attn__put(ints[t].dtype, room, 1, values[i]);
            const char *at = (const char *)room + attn_dtype_size(ints[t].dtype);
            long double want = clamp(t, rintl((long double)values[i]));
            assert_true(plain_int(ints[t].dtype, at) == want);
            int64_t back = attn__get_int(ints[t].dtype, room, 1);
            assert_true((long double)back == clamp(0, want));
            assert_true(attn__get(ints[t].dtype, room, 1) == (double)want);
        }
}

static void integers_become_0_by_nan(void **state)
{
    (void)state;
    for (size_t t = 0; t < COUNT(ints); t++) {
        uint64_t room = UINT64_MAX;
        attn__put(ints[t].dtype, &room, 0, (double)NAN);
        assert_int_equal(attn__get_int(ints[t].dtype, &room, 0), 0);
    }
}

static void writes_touch_their_bytes_only(void **state)
{
    (void)state;
    for (int d = 1; d <= (int)ATTN_DTYPE_U64; d++) {
        _Alignas(8) unsigned char room[40], before[40];
        size_t size = attn_dtype_size((attn_dtype)d);
        memset(room, 0x5A, sizeof room);
        memset(before, 0x5A, sizeof before);
        attn__put((attn_dtype)d, room + 16, 1, 1.0);
        assert_memory_equal(room, before, 16 + size);
        assert_memory_equal(room + 16 + 2 * size, before, sizeof room - 16 - 2 * size);
        assert_true(attn__get((attn_dtype)d, room + 16, 1) == 1.0);
    }
}

static void bool_is_whether_not_0(void **state)
{
    static const double yes[] = {1, -1, 0.25, 1e-300, HUGE_VAL, (double)NAN, 256};
    unsigned char room[2] = {9, 9};
    (void)state;
    for (size_t i = 0; i < COUNT(yes); i++) {
        room[0] = 9;
        attn__put(ATTN_DTYPE_BOOL, room, 0, yes[i]);
        assert_int_equal(room[0], 1);
    }
    attn__put(ATTN_DTYPE_BOOL, room, 0, -0.0);
    assert_int_equal(room[0], 0);
    assert_int_equal(attn__get_int(ATTN_DTYPE_BOOL, room, 1), 1);
    assert_true(attn__get(ATTN_DTYPE_BOOL, room, 1) == 1.0);
}

static void floats_round_once_and_nan_is_one(void **state)
{
    static const uint64_t nan64 = UINT64_C(0xFFF8000000000123);
    double x, f64;
    uint32_t f32;
    uint16_t f16, bf16;
    (void)state;
    memcpy(&x, &nan64, sizeof x);
    attn__put(ATTN_DTYPE_F64, &f64, 0, x);
    attn__put(ATTN_DTYPE_F32, &f32, 0, x);
    attn__put(ATTN_DTYPE_F16, &f16, 0, x);
    attn__put(ATTN_DTYPE_BF16, &bf16, 0, x);
    uint64_t bits;
    memcpy(&bits, &f64, sizeof bits);
    assert_true(bits == UINT64_C(0x7FF8000000000000));
    assert_int_equal(f32, 0x7FC00000);
    assert_int_equal(f16, 0x7E00);
    assert_int_equal(bf16, 0x7FC0);
    attn__put(ATTN_DTYPE_F16, &f16, 0, 1 + 0x1p-11 + 0x1p-40); /* a tie for float */
    assert_int_equal(f16, 0x3C01);
    assert_int_equal(attn__get_int(ATTN_DTYPE_F16, &f16, 0), 1);
}

static void unknown_types_read_0_and_write_nothing(void **state)
{
    uint64_t room = UINT64_MAX;
    (void)state;
    attn__put((attn_dtype)99, &room, 0, 1.0);
    attn__put(ATTN_DTYPE_NONE, &room, 0, 1.0);
    assert_true(room == UINT64_MAX);
    assert_true(attn__get((attn_dtype)99, &room, 0) == 0.0);
    assert_int_equal(attn__get_int(ATTN_DTYPE_NONE, &room, 0), 0);
}

/* ---- conversions ------------------------------------------------------------------------ */

static void expected_int(attn_dtype to, void *out, int64_t x)
{
    uint64_t natural = x < 0 ? 0 : (uint64_t)x;
    if (to == ATTN_DTYPE_I64)
        memcpy(out, &x, sizeof x);
    else if (to == ATTN_DTYPE_U64)
        memcpy(out, &natural, sizeof natural);
    else if (to == ATTN_DTYPE_BOOL)
        *(unsigned char *)out = x != 0;
    else
        attn__put(to, out, 0, (double)x); /* narrow: the rounding is beyond the range */
}

/* What converting must give, one element through the plainest way: by int64_t between integers,
 * by double else. (64-bit integers towards narrow floats have a test of their own.) */
static void expected(attn_dtype to, void *out, attn_dtype from, const void *in)
{
    if (attn__dtype_is_float(to) || attn__dtype_is_float(from))
        attn__put(to, out, 0, attn__get(from, in, 0));
    else
        expected_int(to, out, attn__get_int(from, in, 0));
}

static bool wide_to_narrow(attn_dtype to, attn_dtype from)
{
    bool wide = from == ATTN_DTYPE_I64 || from == ATTN_DTYPE_U64;
    return wide && attn__dtype_is_float(to) && to != ATTN_DTYPE_F64;
}

static void check_pair(attn_dtype to, attn_dtype from)
{
    enum { N = COUNT(values) };
    uint64_t src[3 * N], dst[2 * N], want;
    size_t size = attn_dtype_size(to), from_size = attn_dtype_size(from);
    memset(src, 0, sizeof src);
    memset(dst, 0, sizeof dst);
    for (int64_t i = 0; i < N; i++) attn__put(from, src, 3 * i, values[i]);
    attn__row target = {to, -2}, source = {from, 3};
    attn__convert(target, (char *)dst + 2 * (N - 1) * size, source, src, N);
    for (size_t i = 0; i < N && !wide_to_narrow(to, from); i++) {
        want = 0;
        expected(to, &want, from, (char *)src + 3 * i * from_size);
        assert_memory_equal(&want, (char *)dst + 2 * (N - 1 - i) * size, size);
    }
}

static void every_pair_of_types(void **state)
{
    (void)state;
    for (int to = 1; to <= (int)ATTN_DTYPE_U64; to++)
        for (int from = 1; from <= (int)ATTN_DTYPE_U64; from++)
            if (to != from) check_pair((attn_dtype)to, (attn_dtype)from);
}

/* 2^62 + half a unit in the last place of the format is a tie; one more is not, although double
 * cannot tell the two apart. */
static void wide_integers_round_once(void **state)
{
    static const struct {
        int64_t x;
        float want;
    } f32[] = {{(INT64_C(1) << 62) + (INT64_C(1) << 38), 0x1p62f},
               {(INT64_C(1) << 62) + (INT64_C(1) << 38) + 1, 0x1.000002p62f},
               {-(INT64_C(1) << 62) - (INT64_C(1) << 38) - 1, -0x1.000002p62f},
               {(INT64_C(1) << 62) + 3 * (INT64_C(1) << 38) - 1, 0x1.000002p62f},
               {(INT64_C(1) << 62) + 3 * (INT64_C(1) << 38), 0x1.000004p62f},
               {INT64_MIN, -0x1p63f},
               {INT64_MAX, 0x1p63f},
               {(1 << 24) + 1, 0x1p24f},
               {(1 << 24) + 3, 0x1.000004p24f}};
    (void)state;
    for (size_t i = 0; i < COUNT(f32); i++) {
        float got;
        attn__convert((attn__row){ATTN_DTYPE_F32, 1}, &got, (attn__row){ATTN_DTYPE_I64, 1},
                      &f32[i].x, 1);
        assert_true(got == f32[i].want);
    }
    int64_t tie = (INT64_C(1) << 62) + (INT64_C(1) << 54), both[] = {tie, tie + 1};
    uint16_t bf16[2], f16[2];
    attn__row source = {ATTN_DTYPE_I64, 1};
    attn__convert((attn__row){ATTN_DTYPE_BF16, 1}, bf16, source, both, 2);
    assert_int_equal(bf16[0], 0x5E80);
    assert_int_equal(bf16[1], 0x5E81);
    attn__convert((attn__row){ATTN_DTYPE_F16, 1}, f16, source, (int64_t[]){65519, 65520}, 2);
    assert_int_equal(f16[0], 0x7BFF);
    assert_int_equal(f16[1], 0x7C00);
}

static void u64_keeps_its_upper_half(void **state)
{
    const uint64_t x[] = {UINT64_MAX, (UINT64_C(1) << 63) + (UINT64_C(1) << 39) + 1};
    float f32[2];
    double f64;
    int64_t i64;
    (void)state;
    attn__row source = {ATTN_DTYPE_U64, 1};
    attn__convert((attn__row){ATTN_DTYPE_F32, 1}, f32, source, x, 2);
    assert_true(f32[0] == 0x1p64f && f32[1] == 0x1.000002p63f);
    attn__convert((attn__row){ATTN_DTYPE_F64, 1}, &f64, source, x, 1);
    assert_true(f64 == 0x1p64);
    attn__convert((attn__row){ATTN_DTYPE_I64, 1}, &i64, source, x, 1);
    assert_true(i64 == INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_take_the_nearest_value_in_range),
        cmocka_unit_test(integers_become_0_by_nan),
        cmocka_unit_test(writes_touch_their_bytes_only),
        cmocka_unit_test(bool_is_whether_not_0),
        cmocka_unit_test(floats_round_once_and_nan_is_one),
        cmocka_unit_test(unknown_types_read_0_and_write_nothing),
        cmocka_unit_test(every_pair_of_types),
        cmocka_unit_test(wide_integers_round_once),
        cmocka_unit_test(u64_keeps_its_upper_half),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
