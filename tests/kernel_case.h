/* SPDX-License-Identifier: MIT
 * What the kernel tests share: every usable table of both arithmetics in turn, arithmetic on
 * reals with the rounding of the table's own kind (held in doubles), matrices between guard
 * pages, and the comparison of bits.
 *
 *   ATTN_CASES=n  random cases for each table and side (200)   ATTN_SEED=s  the first of them
 *
 * Case i is drawn from seed s + i alone, the same for all tables, so a failing one is repeated
 * by ATTN_CASES=1 and the seed that the message names. */
#ifndef KERNEL_CASE_H
#define KERNEL_CASE_H

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernel/kernel.h"

#include "kernel_memory.h"
#include "support/support.h"

typedef struct kernel_case {
    const attn__kernels *k, *scalar; /* scalar: the reference table of the same arithmetic */
    memory_side side;
    uint64_t seed;
    bool wild; /* infinities, NaN, denormals and huge numbers among the operands */
    test_rng rng;
    test_arena arena;
} kernel_case;

typedef void (*kernel_check)(kernel_case *c);

static inline uint32_t kernel_allowed(void)
{
    uint32_t allowed = 0;
    assert_int_equal(attn__isa_allowed(NULL, &allowed, NULL), ATTN_OK);
    return allowed & attn__kernels_built();
}

/* check on every usable table of both arithmetics. */
static inline void kernel_tables(kernel_check check)
{
    static const attn_dtype arithmetics[] = {ATTN_DTYPE_F32, ATTN_DTYPE_F64};
    for (int a = 0; a < 2; a++)
        for (uint32_t left = kernel_allowed(); left != 0; left &= left - 1) {
            kernel_case c = {.k = attn__kernels_pick(arithmetics[a], left & (~left + 1)),
                             .scalar = attn__kernels_pick(arithmetics[a], ATTN_ISA_scalar),
                             .rng = test_rng_make(7)};
            check(&c);
            test_arena_reset(&c.arena);
        }
}

static inline void kernel_sides(kernel_case *c, kernel_check check)
{
    const uint64_t first = (uint64_t)test_env_int("ATTN_SEED", 1);
    const uint64_t n = (uint64_t)test_env_int("ATTN_CASES", test_env_long() ? 10000 : 200);
    for (uint64_t seed = first; seed < first + n; seed++)
        for (int side = 0; side < MEMORY_N_SIDES; side++) {
            c->seed = seed;
            c->side = (memory_side)side;
            c->wild = seed % 3 == 0;
            c->rng = test_rng_make(seed);
            check(c);
            test_arena_reset(&c->arena);
        }
}

/* A cmocka test that runs check on random cases of every table. */
#define KERNEL_TEST(check)                                                                     \
    static void check##_each(kernel_case *c)                                                   \
    {                                                                                          \
        kernel_sides(c, check);                                                                \
    }                                                                                          \
    static void check##_agrees(void **state)                                                   \
    {                                                                                          \
        (void)state;                                                                           \
        kernel_tables(check##_each);                                                           \
    }

/* ---- reals ----------------------------------------------------------------------------- */

static inline bool real_is_f32(const kernel_case *c)
{
    return c->k->dtype == ATTN_DTYPE_F32;
}

static inline double real_round(const kernel_case *c, double x)
{
    return real_is_f32(c) ? (double)(float)x : x;
}

static inline double real_add(const kernel_case *c, double a, double b)
{
    return real_is_f32(c) ? (double)((float)a + (float)b) : a + b;
}

static inline double real_mul(const kernel_case *c, double a, double b)
{
    return real_is_f32(c) ? (double)((float)a * (float)b) : a * b;
}

static inline double real_fma(const kernel_case *c, double a, double b, double d)
{
    return real_is_f32(c) ? (double)fmaf((float)a, (float)b, (float)d) : fma(a, b, d);
}

static inline double real_lowest(const kernel_case *c)
{
    return real_is_f32(c) ? -(double)FLT_MAX : -DBL_MAX;
}

/* The distance of two neighbours around x, denormal ones included. */
static inline double real_ulp(const kernel_case *c, double x)
{
    const int digits = real_is_f32(c) ? FLT_MANT_DIG : DBL_MANT_DIG;
    const int least = real_is_f32(c) ? FLT_MIN_EXP : DBL_MIN_EXP;
    int exponent;
    frexp(x, &exponent);
    return ldexp(1, (x == 0 || exponent < least ? least : exponent) - digits);
}

static inline double real_special(kernel_case *c)
{
    const double least = real_is_f32(c) ? (double)FLT_MIN : DBL_MIN;
    const double all[] = {0,
                          -0.0,
                          least,
                          -least / 8,
                          (double)INFINITY,
                          -(double)INFINITY,
                          (double)NAN,
                          -real_lowest(c),
                          real_lowest(c)};
    return all[test_rng_range(&c->rng, 0, 8)];
}

static inline double real_draw(kernel_case *c)
{
    if (c->wild && test_rng_chance(&c->rng, 2)) return real_special(c);
    return real_round(c, test_rng_normal(&c->rng));
}

/* ---- sizes ----------------------------------------------------------------------------- */

static inline int64_t kernel_size(kernel_case *c, int64_t low)
{
    static const int64_t far[] = {64, 65, 128, 257};
    if (test_rng_chance(&c->rng, 5)) return test_rng_pick(&c->rng, far, 4);
    return test_rng_range(&c->rng, low, test_rng_chance(&c->rng, 70) ? 20 : 70);
}

static inline int kernel_width(kernel_case *c)
{
    /* Drawn before it is rounded: all tables get the same numbers after it. */
    int w = (int)test_rng_range(&c->rng, 1, ATTN__PANEL), step = c->k->step;
    return (w + step - 1) / step * step;
}

/* Of a row of scores for so many lanes at least: one of the narrow ones below step, or whole
 * vectors. */
static inline int kernel_narrow(kernel_case *c, int lanes)
{
    static const int narrow[] = {1, 4, 8};
    const int w = narrow[test_rng_range(&c->rng, 0, 2)], step = c->k->step;
    return lanes <= w && w < step ? w : (lanes + step - 1) / step * step;
}

static inline int kernel_scores_width(kernel_case *c)
{
    return test_rng_chance(&c->rng, 50) ? kernel_narrow(c, 1) : kernel_width(c);
}

/* Where slices of lanes stop to see keys, never before the slice in front; without steps at the
 * end. */
static inline void kernel_stops(kernel_case *c, bool steps, int64_t n, int64_t *stop)
{
    int64_t least = steps ? 0 : n;
    for (int x = 0; x < ATTN__SLICES; x++) stop[x] = least = test_rng_range(&c->rng, least, n);
}

/* ---- matrices -------------------------------------------------------------------------- */

typedef struct matrix {
    attn_dtype dtype;
    char *p; /* element (0, 0) */
    int64_t rows, cols, stride;
} matrix;

/* Every byte 0xFF; a negative stride lets the rows run downwards. */
static inline matrix matrix_of(const kernel_case *c, attn_dtype dtype, int slot, int64_t rows,
                               int64_t cols, int64_t stride)
{
    int64_t size = (int64_t)attn_dtype_size(dtype), step = stride < 0 ? -stride : stride;
    int64_t n = rows > 0 && cols > 0 ? (rows - 1) * step + cols : 0;
    char *p = memory_place(slot, c->side, (size_t)(n * size));
    if (stride < 0 && rows > 0) p += (rows - 1) * step * size;
    return (matrix){dtype, p, rows, cols, stride};
}

static inline matrix matrix_make(const kernel_case *c, int slot, int64_t rows, int64_t cols,
                                 int64_t stride)
{
    return matrix_of(c, c->k->dtype, slot, rows, cols, stride);
}

static inline void *matrix_at(const matrix *m, int64_t row, int64_t col)
{
    return m->p + (row * m->stride + col) * (int64_t)attn_dtype_size(m->dtype);
}

static inline double matrix_get(const matrix *m, int64_t row, int64_t col)
{
    const void *at = matrix_at(m, row, col);
    return m->dtype == ATTN_DTYPE_F64 ? *(const double *)at : (double)*(const float *)at;
}

static inline void matrix_put(const matrix *m, int64_t row, int64_t col, double x)
{
    void *at = matrix_at(m, row, col);
    if (m->dtype == ATTN_DTYPE_F64)
        *(double *)at = x;
    else
        *(float *)at = (float)x;
}

static inline void matrix_fill(kernel_case *c, const matrix *m)
{
    for (int64_t r = 0; r < m->rows; r++)
        for (int64_t i = 0; i < m->cols; i++) matrix_put(m, r, i, real_draw(c));
}

/* The elements as doubles, rows x cols. */
static inline double *matrix_copy(kernel_case *c, const matrix *m)
{
    double *all = test_alloc(&c->arena, (size_t)(m->rows * m->cols + 1) * sizeof *all);
    for (int64_t r = 0; r < m->rows; r++)
        for (int64_t i = 0; i < m->cols; i++) all[r * m->cols + i] = matrix_get(m, r, i);
    return all;
}

static inline void matrix_load(const matrix *m, const double *all)
{
    for (int64_t r = 0; r < m->rows; r++)
        for (int64_t i = 0; i < m->cols; i++) matrix_put(m, r, i, all[r * m->cols + i]);
}

/* Nobody wrote between the rows. */
static inline bool matrix_gaps_intact(const matrix *m)
{
    int64_t size = (int64_t)attn_dtype_size(m->dtype);
    for (int64_t r = 0; r + 1 < m->rows; r++) {
        const unsigned char *gap = matrix_at(m, r, m->cols);
        for (int64_t i = 0; i < (m->stride - m->cols) * size; i++)
            if (gap[i] != 0xFF) return false;
    }
    return true;
}

/* ---- comparing ------------------------------------------------------------------------- */

/* The same bits, or both NaN. */
static inline bool real_same(double a, double b)
{
    return (isnan(a) && isnan(b)) || !memcmp(&a, &b, sizeof a);
}

static inline void kernel_fail(const kernel_case *c, const char *what, int64_t row, int64_t col,
                               double got, double want)
{
    fail_msg("%s %s %s at (%d, %d): %a instead of %a; %s guards, ATTN_SEED=%d", c->k->name,
             attn_dtype_name(c->k->dtype), what, (int)row, (int)col, got, want,
             c->side == MEMORY_LEFT ? "left" : "right", (int)c->seed);
}

static inline void kernel_expect(const kernel_case *c, const char *what, const matrix *m,
                                 int64_t row, int64_t col, double want)
{
    double got = matrix_get(m, row, col);
    if (!real_same(got, want)) kernel_fail(c, what, row, col, got, want);
}

static inline void kernel_expect_all(const kernel_case *c, const char *what, const matrix *m,
                                     const double *want)
{
    for (int64_t r = 0; r < m->rows; r++)
        for (int64_t i = 0; i < m->cols; i++)
            kernel_expect(c, what, m, r, i, want[r * m->cols + i]);
    if (!matrix_gaps_intact(m)) kernel_fail(c, "a gap of", m->rows, m->cols, 0, 0);
}

#endif
