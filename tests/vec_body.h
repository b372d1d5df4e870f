/* SPDX-License-Identifier: MIT
 * A table over the vocabulary that was included before, named vec_<VEC_NAME>. */
#include "vec_table.h"

#define REAL    float
#define LANES   S_LANES
#define V(name) s_##name
#define F(name) name##_f32
#include "vec_arithmetic.h"
#undef REAL
#undef LANES
#undef V
#undef F

#define REAL    double
#define LANES   D_LANES
#define V(name) d_##name
#define F(name) name##_f64
#include "vec_arithmetic.h"

static void load_bf16(int64_t n, const uint16_t *from, float *to)
{
    for (int64_t i = 0; i < n; i += S_LANES) s_store(to + i, s_load_bf16(from + i));
}

static void load_f16(int64_t n, const uint16_t *from, float *to)
{
    for (int64_t i = 0; i < n; i += S_LANES) s_store(to + i, s_load_f16(from + i));
}

static void store_bf16(int64_t n, const float *from, uint16_t *to)
{
    for (int64_t i = 0; i < n; i += S_LANES) s_store_bf16(to + i, s_load(from + i));
}

static void store_f16(int64_t n, const float *from, uint16_t *to)
{
    for (int64_t i = 0; i < n; i += S_LANES) s_store_f16(to + i, s_load(from + i));
}

static void load_f32(int64_t n, const float *from, double *to)
{
    for (int64_t i = 0; i < n; i += D_LANES) d_store(to + i, d_load_f32(from + i));
}

static void mul_f64(int64_t n, const double *a, const double *b, float *to)
{
    for (int64_t i = 0; i < n; i += S_LANES) s_store(to + i, s_mul_f64(a + i, b + i));
}

static void scale_f64(int64_t n, const float *a, const double *b, float *to)
{
    for (int64_t i = 0; i < n; i += S_LANES) s_store(to + i, s_scale_f64(a + i, b + i));
}

#define TABLE2(name)                                                                           \
    const vec_table vec_##name = {                                                             \
        #name,      ATTN_ISA_##name, &arithmetic_f32, &arithmetic_f64, load_bf16, load_f16,    \
        store_bf16, store_f16,       load_f32,        mul_f64,         scale_f64}
#define TABLE(name) TABLE2(name)
TABLE(VEC_NAME);
