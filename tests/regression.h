/* SPDX-License-Identifier: MIT
 * For the regression tests: calls of a given shape with ordinary random inputs, and questions
 * to their results. Every test guards against a failure somebody reported elsewhere: its
 * comment cites the report, and reg_NNN_ is its number in our list of them. What went wrong
 * there must be right here. */
#ifndef ATTN_TESTS_REGRESSION_H
#define ATTN_TESTS_REGRESSION_H

#include "safety.h"

typedef struct reg_shape {
    int64_t B, H, G, T, S, D, E;
} reg_shape;

#define REG_SHAPE(...) ((reg_shape){__VA_ARGS__})

static inline attn_tensor reg_normal(attn_dtype dtype, uint64_t seed, int rank,
                                     const int64_t *shape)
{
    attn_tensor t = safety_make(dtype, rank, shape);
    test_rng rng = test_rng_make(seed);
    test_fill_normal(&t, &rng, 1);
    return t;
}

/* q, k, v and out of the type, lse of f32. */
static inline attn_args reg_args(attn_dtype dtype, reg_shape n)
{
    return ATTN_ARGS(.q = reg_normal(dtype, 1, SAFETY_DIMS(n.B, n.H, n.T, n.D)),
                     .k = reg_normal(dtype, 2, SAFETY_DIMS(n.B, n.G, n.S, n.D)),
                     .v = reg_normal(dtype, 3, SAFETY_DIMS(n.B, n.G, n.S, n.E)),
                     .out = safety_make(dtype, SAFETY_DIMS(n.B, n.H, n.T, n.E)),
                     .lse = SAFETY_EMPTY(F32, n.B, n.H, n.T));
}

/* One head whose queries are 0, so that a row is the mean of the v it sees, and lse the log of
 * their number; v of key j is j. */
static inline attn_args reg_counting(int64_t T, int64_t S)
{
    attn_args a = ATTN_ARGS(.q = SAFETY_EMPTY(F32, T, 4), .k = SAFETY_FILLED(F32, 2, S, 4),
                            .v = SAFETY_EMPTY(F32, S, 1), .out = SAFETY_EMPTY(F32, T, 1),
                            .lse = SAFETY_EMPTY(F32, T));
    test_fill_value(&a.q, 0);
    for (int64_t j = 0; j < S; j++) safety_put(a.v, j, (double)j);
    return a;
}

/* Row i of such a call sees exactly the keys first .. last; last < first: none. */
static inline void reg_sees(const attn_args *a, int64_t i, int64_t first, int64_t last)
{
    double n = (double)(last - first + 1), mean = 0.5 * (double)(first + last);
    bool none = last < first;
    safety_near(safety_at(a->out, i), none ? 0 : mean, 1e-5 * fabs(mean),
                "mean of the keys seen");
    safety_near(safety_at(a->lse, i), none ? (double)-INFINITY : log(n), 2e-6 * (1 + log(n)),
                "number of the keys seen");
}

static inline attn_tensor reg_filled(attn_dtype dtype, double value, int rank,
                                     const int64_t *shape)
{
    attn_tensor t = safety_make(dtype, rank, shape);
    test_fill_value(&t, value);
    return t;
}

#define REG_FILLED(TYPE, value, ...)                                                           \
    reg_filled(ATTN_DTYPE_##TYPE, (value), SAFETY_DIMS(__VA_ARGS__))
#define REG_MINUS_INF ((double)-INFINITY)
#define REG_NAN       ((double)NAN)

static inline void reg_all_finite(attn_tensor t)
{
    for (int64_t i = 0, n = safety_count(t); i < n; i++) assert_true(isfinite(safety_at(t, i)));
}

static inline void reg_all_near(attn_tensor t, double want, double tolerance, const char *what)
{
    for (int64_t i = 0, n = safety_count(t); i < n; i++)
        safety_near(safety_at(t, i), want, tolerance, what);
}

/* Row number row (over all dimensions but the last) of out is +0 and its lse -inf. */
static inline void reg_row_empty(const attn_args *a, int64_t row)
{
    int64_t E = a->out.shape[a->out.rank - 1];
    for (int64_t e = 0; e < E; e++)
        assert_true(safety_plus_zero(safety_at(a->out, row * E + e)));
    assert_true(safety_at(a->lse, row) == REG_MINUS_INF);
}

#endif
