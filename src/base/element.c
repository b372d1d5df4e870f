/* SPDX-License-Identifier: MIT
 * One element of any type read or written, and rows of them converted.
 *
 * Writing: a float rounds once, to nearest even; a NaN becomes the one quiet NaN of its type;
 * an integer receives the nearest integer (ties to even), the end of its range when the value
 * lies beyond it, 0 for a NaN; a bool receives whether the value is not 0. Reading widens: to
 * double (64-bit integers round) or to int64_t (as writing an i64 would).
 *
 * Each type is a row of functions. Floats have get and put, integers load and store; u64 has
 * both, because neither int64_t nor double holds all of it. */
#include "base/base.h"

#include <math.h>
#include <string.h>

/* ---- integers ---------------------------------------------------------------------------- */

static int64_t element_load_none(const void *p, int64_t i)
{
    (void)p, (void)i;
    return 0;
}

static int64_t element_load_bool(const void *p, int64_t i)
{
    return ((const uint8_t *)p)[i] != 0;
}

static int64_t element_load_i64(const void *p, int64_t i)
{
    return ((const int64_t *)p)[i];
}

static int64_t element_load_i32(const void *p, int64_t i)
{
    return ((const int32_t *)p)[i];
}

static int64_t element_load_i16(const void *p, int64_t i)
{
    return ((const int16_t *)p)[i];
}

static int64_t element_load_i8(const void *p, int64_t i)
{
    return ((const int8_t *)p)[i];
}

static int64_t element_load_u8(const void *p, int64_t i)
{
    return ((const uint8_t *)p)[i];
}

static int64_t element_load_u16(const void *p, int64_t i)
{
    return ((const uint16_t *)p)[i];
}

static int64_t element_load_u32(const void *p, int64_t i)
{
    return ((const uint32_t *)p)[i];
}

static int64_t element_load_u64(const void *p, int64_t i)
{
    uint64_t x = ((const uint64_t *)p)[i];
    return x > INT64_MAX ? INT64_MAX : (int64_t)x;
}

static int64_t element_clamp(int64_t x, int64_t low, int64_t high)
{
    return attn__max(low, attn__min(x, high));
}

static void element_store_none(void *p, int64_t i, int64_t x)
{
    (void)p, (void)i, (void)x;
}

static void element_store_bool(void *p, int64_t i, int64_t x)
{
    ((uint8_t *)p)[i] = x != 0;
}

static void element_store_i64(void *p, int64_t i, int64_t x)
{
    ((int64_t *)p)[i] = x;
}

static void element_store_i32(void *p, int64_t i, int64_t x)
{
    ((int32_t *)p)[i] = (int32_t)element_clamp(x, INT32_MIN, INT32_MAX);
}

static void element_store_i16(void *p, int64_t i, int64_t x)
{
    ((int16_t *)p)[i] = (int16_t)element_clamp(x, INT16_MIN, INT16_MAX);
}

static void element_store_i8(void *p, int64_t i, int64_t x)
{
    ((int8_t *)p)[i] = (int8_t)element_clamp(x, INT8_MIN, INT8_MAX);
}

static void element_store_u8(void *p, int64_t i, int64_t x)
{
    ((uint8_t *)p)[i] = (uint8_t)element_clamp(x, 0, UINT8_MAX);
}

static void element_store_u16(void *p, int64_t i, int64_t x)
{
    ((uint16_t *)p)[i] = (uint16_t)element_clamp(x, 0, UINT16_MAX);
}

static void element_store_u32(void *p, int64_t i, int64_t x)
{
    ((uint32_t *)p)[i] = (uint32_t)element_clamp(x, 0, UINT32_MAX);
}

static void element_store_u64(void *p, int64_t i, int64_t x)
{
    ((uint64_t *)p)[i] = (uint64_t)attn__max(x, 0);
}

/* ---- floats ------------------------------------------------------------------------------ */

static double element_get_f64(const void *p, int64_t i)
{
    return ((const double *)p)[i];
}

static double element_get_f32(const void *p, int64_t i)
{
    return (double)((const float *)p)[i];
}

static double element_get_bf16(const void *p, int64_t i)
{
    return (double)attn__bf16_to_f32(((const uint16_t *)p)[i]);
}

static double element_get_f16(const void *p, int64_t i)
{
    return (double)attn__f16_to_f32(((const uint16_t *)p)[i]);
}

static double element_get_u64(const void *p, int64_t i)
{
    return (double)((const uint64_t *)p)[i];
}

static void element_put_f64(void *p, int64_t i, double x)
{
    const uint64_t nan = UINT64_C(0x7FF8000000000000);
    if (x != x) memcpy(&x, &nan, sizeof x);
    memcpy((double *)p + i, &x, sizeof x);
}

static void element_put_f32(void *p, int64_t i, double x)
{
    const uint32_t nan = 0x7FC00000;
    float y = (float)x;
    if (x != x) memcpy(&y, &nan, sizeof y);
    memcpy((float *)p + i, &y, sizeof y);
}

static void element_put_bf16(void *p, int64_t i, double x)
{
    ((uint16_t *)p)[i] = attn__f64_to_bf16(x);
}

static void element_put_f16(void *p, int64_t i, double x)
{
    ((uint16_t *)p)[i] = attn__f64_to_f16(x);
}

static void element_put_u64(void *p, int64_t i, double x)
{
    uint64_t *to = (uint64_t *)p + i;
    if (x >= 0x1p64)
        *to = UINT64_MAX;
    else
        *to = x > 0 ? (uint64_t)rint(x) : 0;
}

static void element_put_bool(void *p, int64_t i, double x)
{
    ((uint8_t *)p)[i] = x != 0;
}

/* ---- 64-bit integers on their way to a narrow float -------------------------------------- */

/* x as a double rounded to odd: whatever is lost shows in the last bit, so rounding once more,
 * to a format at least two bits narrower, gives what rounding x itself would have given. */
static double element_odd(uint64_t x)
{
    if (x >> 53) x = (x >> 11 | ((x & 2047) != 0)) << 11;
    return (double)x;
}

static double element_odd_u64(const void *p, int64_t i)
{
    return element_odd(((const uint64_t *)p)[i]);
}

static double element_odd_i64(const void *p, int64_t i)
{
    int64_t x = ((const int64_t *)p)[i];
    return x < 0 ? -element_odd(0 - (uint64_t)x) : element_odd((uint64_t)x);
}

/* ---- the table --------------------------------------------------------------------------- */

typedef struct element {
    int64_t (*load)(const void *p, int64_t i);
    void (*store)(void *p, int64_t i, int64_t x);
    double (*get)(const void *p, int64_t i);
    void (*put)(void *p, int64_t i, double x);
    double (*odd)(const void *p, int64_t i);
} element;

static const element element_table[] = {
    [ATTN_DTYPE_NONE] = {.load = element_load_none, .store = element_store_none},
    [ATTN_DTYPE_F64] = {.get = element_get_f64, .put = element_put_f64},
    [ATTN_DTYPE_F32] = {.get = element_get_f32, .put = element_put_f32},
    [ATTN_DTYPE_BF16] = {.get = element_get_bf16, .put = element_put_bf16},
    [ATTN_DTYPE_F16] = {.get = element_get_f16, .put = element_put_f16},
    [ATTN_DTYPE_BOOL] = {.load = element_load_bool,
                         .store = element_store_bool,
                         .put = element_put_bool},
    [ATTN_DTYPE_I64] = {.load = element_load_i64,
                        .store = element_store_i64,
                        .odd = element_odd_i64},
    [ATTN_DTYPE_I32] = {.load = element_load_i32, .store = element_store_i32},
    [ATTN_DTYPE_I16] = {.load = element_load_i16, .store = element_store_i16},
    [ATTN_DTYPE_I8] = {.load = element_load_i8, .store = element_store_i8},
    [ATTN_DTYPE_U8] = {.load = element_load_u8, .store = element_store_u8},
    [ATTN_DTYPE_U16] = {.load = element_load_u16, .store = element_store_u16},
    [ATTN_DTYPE_U32] = {.load = element_load_u32, .store = element_store_u32},
    [ATTN_DTYPE_U64] = {.load = element_load_u64,
                        .store = element_store_u64,
                        .get = element_get_u64,
                        .put = element_put_u64,
                        .odd = element_odd_u64},
};

enum { ELEMENT_COUNT = sizeof element_table / sizeof element_table[0] };

static const element *element_of(attn_dtype dtype)
{
    size_t i = (size_t)dtype;
    return &element_table[i < ELEMENT_COUNT ? i : 0];
}

static int64_t element_round(double x)
{
    if (x != x) return 0;
    if (x >= 0x1p63) return INT64_MAX;
    return x < -0x1p63 ? INT64_MIN : (int64_t)rint(x);
}

static double element_read(const element *from, const void *p, int64_t i)
{
    return from->get ? from->get(p, i) : (double)from->load(p, i);
}

static void element_write(const element *to, void *p, int64_t i, double x)
{
    if (to->put)
        to->put(p, i, x);
    else
        to->store(p, i, element_round(x));
}

double attn__get(attn_dtype dtype, const void *data, int64_t i)
{
    return element_read(element_of(dtype), data, i);
}

int64_t attn__get_int(attn_dtype dtype, const void *data, int64_t i)
{
    const element *from = element_of(dtype);
    bool rounds = attn__dtype_is_float(dtype);
    return rounds ? element_round(from->get(data, i)) : from->load(data, i);
}

void attn__put(attn_dtype dtype, void *data, int64_t i, double value)
{
    element_write(element_of(dtype), data, i, value);
}

static void element_convert_float(attn__row to, void *dst, attn__row from, const void *src,
                                  int64_t n)
{
    element reader = *element_of(from.dtype);
    const element *writer = element_of(to.dtype);
    if (reader.odd && to.dtype != ATTN_DTYPE_F64) reader.get = reader.odd;
    for (int64_t i = 0; i < n; i++)
        element_write(writer, dst, i * to.stride, element_read(&reader, src, i * from.stride));
}

void attn__convert(attn__row to, void *dst, attn__row from, const void *src, int64_t n)
{
    const element *reader = element_of(from.dtype), *writer = element_of(to.dtype);
    if (attn__dtype_is_float(to.dtype) || attn__dtype_is_float(from.dtype)) {
        element_convert_float(to, dst, from, src, n);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        writer->store(dst, i * to.stride, reader->load(src, i * from.stride));
}
