/* SPDX-License-Identifier: MIT
 * What the safety tests share on top of support.h: tensors that the end of a test frees, inputs
 * that every element type holds exactly, one context per usable instruction set, and calls that
 * fail the test with the library's own sentence.
 *
 * Input values are k / 64 with |k| <= 64, so f64, f32, bf16 and f16 inputs carry the same
 * numbers and a failure never hides behind the rounding of an input. */
#ifndef ATTN_TESTS_SAFETY_H
#define ATTN_TESTS_SAFETY_H

#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/support.h"

enum { SAFETY_RUBBISH = 0xA5 };

static test_arena safety_arena;
static test_contexts safety_contexts;

/* ---- around every test --------------------------------------------------------------- */

static inline int safety_begin(void **state)
{
    (void)state;
    if (safety_contexts.n_usable == 0) test_contexts_init(&safety_contexts);
    return 0;
}

static inline int safety_end(void **state)
{
    (void)state;
    test_arena_reset(&safety_arena);
    return 0;
}

static inline int safety_finish(void **state)
{
    test_contexts_free(&safety_contexts);
    return safety_end(state);
}

#define SAFETY_CASE(f) cmocka_unit_test_setup_teardown(f, safety_begin, safety_end)
/* For tests that a row of a table describes; the row arrives as *state. */
#define SAFETY_ROW(name, f, row)                                                               \
    {                                                                                          \
        (name), (f), safety_begin, safety_end, (row)                                           \
    }

/* A context for the usable instruction set number i, weakest first; NULL past the last one. */
static inline attn_ctx *safety_isa(int i)
{
    if (i >= safety_contexts.n_usable) return NULL;
    return test_contexts_get(&safety_contexts, safety_contexts.usable[i], 1);
}

/* The best instruction set with so many threads. */
static inline attn_ctx *safety_threads(int threads)
{
    int best = safety_contexts.usable[safety_contexts.n_usable - 1];
    return test_contexts_get(&safety_contexts, best, threads);
}

/* ---- numbers ------------------------------------------------------------------------- */

/* Element i of stream seed, in -1 .. 1. */
static inline double safety_value(uint64_t seed, int64_t i)
{
    test_rng rng = test_rng_make(seed * 0x9E3779B97F4A7C15u + (uint64_t)i);
    return (double)test_rng_range(&rng, -64, 64) / 64.0;
}

/* ---- elements by their number in row-major order ------------------------------------- */

static inline int64_t safety_count(attn_tensor t)
{
    return t.dtype == ATTN_DTYPE_NONE ? 0 : attn_tensor_count(t);
}

static inline size_t safety_size(attn_tensor t)
{
    return (size_t)safety_count(t) * attn_dtype_size(t.dtype);
}

static inline int64_t safety_offset(attn_tensor t, int64_t flat)
{
    int64_t at = 0;
    for (int32_t d = t.rank - 1; d >= 0; d--) {
        at += flat % t.shape[d] * t.stride[d];
        flat /= t.shape[d];
    }
    return at;
}

static inline double safety_at(attn_tensor t, int64_t flat)
{
    return oracle_get(t.dtype, t.data, safety_offset(t, flat));
}

static inline void safety_put(attn_tensor t, int64_t flat, double value)
{
    oracle_put(t.dtype, t.data, safety_offset(t, flat), value);
}

static inline void safety_fill(attn_tensor t, uint64_t seed)
{
    for (int64_t i = 0, n = safety_count(t); i < n; i++)
        safety_put(t, i, safety_value(seed, i));
}

/* ---- tensors that live until the end of a test --------------------------------------- */

static inline void *safety_bytes(size_t n)
{
    return memset(test_alloc(&safety_arena, n + 64), SAFETY_RUBBISH, n + 64);
}

/* Dense; the elements hold rubbish. */
static inline attn_tensor safety_make(attn_dtype dtype, int rank, const int64_t *shape)
{
    attn_tensor t = attn_tensor_make(NULL, dtype, rank, shape);
    t.data = safety_bytes(safety_size(t));
    return t;
}

static inline attn_tensor safety_filled(attn_dtype dtype, uint64_t seed, int rank,
                                        const int64_t *shape)
{
    attn_tensor t = safety_make(dtype, rank, shape);
    safety_fill(t, seed);
    return t;
}

#define SAFETY_DIMS(...)                                                                       \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[])               \
    {                                                                                          \
        __VA_ARGS__                                                                            \
    }
#define SAFETY_EMPTY(TYPE, ...) safety_make(ATTN_DTYPE_##TYPE, SAFETY_DIMS(__VA_ARGS__))
#define SAFETY_FILLED(TYPE, seed, ...)                                                         \
    safety_filled(ATTN_DTYPE_##TYPE, (seed), SAFETY_DIMS(__VA_ARGS__))

/* A new dense tensor with the same elements. */
static inline attn_tensor safety_copy(attn_tensor t)
{
    return test_tensor_dense(&safety_arena, t, ATTN_DTYPE_NONE);
}

/* Values of any dtype written out in the test. */
static inline attn_tensor safety_list(attn_dtype dtype, int64_t n, const double *values)
{
    attn_tensor t = safety_make(dtype, 1, &n);
    for (int64_t i = 0; i < n; i++) safety_put(t, i, values[i]);
    return t;
}

#define SAFETY_LIST(TYPE, ...)                                                                 \
    safety_list(ATTN_DTYPE_##TYPE,                                                             \
                (int64_t)(sizeof((double[]){__VA_ARGS__}) / sizeof(double)),                   \
                (const double[]){__VA_ARGS__})

static inline bool safety_untouched(attn_tensor t)
{
    const unsigned char *p = t.data;
    for (size_t i = 0, n = safety_size(t); i < n; i++)
        if (p[i] != SAFETY_RUBBISH) return false;
    return true;
}

/* ---- comparing ----------------------------------------------------------------------- */

static inline void safety_same(attn_tensor a, attn_tensor b, const char *what)
{
    int64_t first = -1, n = test_count_differing(a, b, &first);
    if (n != 0) fail_msg("%s: %" PRId64 " elements differ, first %" PRId64, what, n, first);
}

static inline void safety_near(double got, double want, double tolerance, const char *what)
{
    bool ok = got == want || fabs(got - want) <= tolerance;
    if (!ok) fail_msg("%s: got %.9g, want %.9g", what, got, want);
}

static inline bool safety_plus_zero(double x)
{
    return x == 0 && !signbit(x);
}

/* ---- calls --------------------------------------------------------------------------- */

static inline void safety_run(attn_ctx *ctx, const attn_spec *spec, const attn_args *args)
{
    attn_error error;
    char text[256] = "";
    attn_status status = attn_forward(ctx, spec, args, &error);
    if (status != ATTN_OK) attn_error_text(&error, text, sizeof text);
    if (status != ATTN_OK) fail_msg("%s: %s", attn_status_name(status), text);
}

/* Runs on every usable instruction set and holds each result to the bounds of the oracle. */
static inline void safety_run_and_judge(const attn_spec *spec, const attn_args *args)
{
    static const attn_spec plain = {.size = sizeof plain};
    oracle_result truth;
    if (spec == NULL) spec = &plain;
    assert_true(oracle_attention(&truth, spec, args, ORACLE_FLIP_NONE));
    for (int i = 0; safety_isa(i) != NULL; i++) {
        test_report report;
        memset(&report, 0, sizeof report);
        safety_run(safety_isa(i), spec, args);
        test_compare(&report, args, &truth);
        if (report.violations != 0) fail_msg("instruction set %d: %s", i, report.text);
    }
    oracle_free(&truth);
}

#endif
