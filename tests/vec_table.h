/* SPDX-License-Identifier: MIT
 * What one instruction set's vocabulary does to arrays. Each tests/vec_<isa>.c is compiled with
 * the flags of its kernels and exports one table; test_vec.c compares them. */
#ifndef VEC_TABLE_H
#define VEC_TABLE_H

#include <stdbool.h>
#include <stdint.h>

enum {
#define OP(name, exact, expression) VEC_OP_##name,
#include "vec_ops.def"
#undef OP
    VEC_N_OPS
};

enum { VEC_MAX_LANES = 16 }; /* arrays are a multiple of 64 long */

/* bits: one for each element. The pointers point at floats, or at doubles. */
typedef struct vec_input {
    int64_t n;
    const void *x, *y, *z, *k, *p;
    const uint64_t *bits;
    double set;
} vec_input;

typedef struct vec_arithmetic {
    int lanes;
    void (*run)(const vec_input *in, void *const out[VEC_N_OPS]);
    void (*load_n)(const void *from, int64_t n, void *all);
    void (*store_n)(const void *all, int64_t n, void *to);
    void (*transpose)(void *square);
} vec_arithmetic;

typedef struct vec_table {
    const char *name;
    uint32_t isa;
    const vec_arithmetic *f32, *f64;
    void (*load_bf16)(int64_t n, const uint16_t *from, float *to);
    void (*load_f16)(int64_t n, const uint16_t *from, float *to);
    void (*store_bf16)(int64_t n, const float *from, uint16_t *to);
    void (*store_f16)(int64_t n, const float *from, uint16_t *to);
    void (*load_f32)(int64_t n, const float *from, double *to);
    void (*mul_f64)(int64_t n, const double *a, const double *b, float *to);
    void (*scale_f64)(int64_t n, const float *a, const double *b, float *to);
} vec_table;

extern const vec_table vec_scalar, vec_avx2, vec_avx512, vec_neon;
extern const vec_table vec_sve128, vec_sve256, vec_sve512;

#endif
