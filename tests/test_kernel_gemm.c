/* SPDX-License-Identifier: MIT
 * The block of a product of matrices against plain loops: one fma chain a number, added once,
 * whatever the tile; rows of a apart, turned, repeated or backward; b in place or in panels. */
#include "kernel_case.h"

/* Steps of a: along a row first, or down a column first. */
static matrix gemm_a(kernel_case *c, attn__gemm *g)
{
    const bool turned = test_rng_chance(&c->rng, 40);
    const int64_t rows = turned ? g->depth : g->m, cols = turned ? g->m : g->depth;
    int64_t stride = cols + test_rng_range(&c->rng, 0, 5);
    if (test_rng_chance(&c->rng, 20)) stride = test_rng_chance(&c->rng, 50) ? 0 : -stride;
    matrix a = matrix_make(c, 0, rows, cols, stride);
    matrix_fill(c, &a);
    g->a = a.p;
    g->a_row = turned ? 1 : stride;
    g->a_step = turned ? stride : 1;
    return a;
}

/* Depth x n in place, or panel after panel, the last one cut to whole vectors. */
static matrix gemm_b(kernel_case *c, attn__gemm *g)
{
    const int64_t wide = c->k->gemm_cols, step = c->k->step;
    const bool packed = test_rng_chance(&c->rng, 50);
    const int64_t w = g->n < wide ? (g->n + step - 1) / step * step : wide;
    const int64_t gap = test_rng_range(&c->rng, 0, 5);
    matrix b = packed ? matrix_make(c, 1, (g->n + wide - 1) / wide * g->depth, w, w)
                      : matrix_make(c, 1, g->depth, g->n, g->n + gap);
    matrix_fill(c, &b);
    g->b = b.p;
    g->b_row = b.stride;
    g->b_panel = packed ? w * g->depth : wide;
    return b;
}

static double gemm_real(const kernel_case *c, const void *p, int64_t i)
{
    return real_is_f32(c) ? (double)((const float *)p)[i] : ((const double *)p)[i];
}

static double gemm_want(const kernel_case *c, const attn__gemm *g, int64_t i, int64_t j,
                        double before)
{
    const int64_t wide = c->k->gemm_cols, at = j / wide * g->b_panel + j % wide;
    double sum = 0;
    for (int64_t k = 0; k < g->depth; k++)
        sum = real_fma(c, gemm_real(c, g->a, i * g->a_row + k * g->a_step),
                       gemm_real(c, g->b, at + k * g->b_row), sum);
    return real_add(c, g->fresh ? 0 : before, sum);
}

/* The one quiet NaN, not just any. */
static void gemm_nan(const kernel_case *c, const matrix *m, int64_t i, int64_t j)
{
    const uint32_t f32 = 0x7FC00000;
    const uint64_t f64 = UINT64_C(0x7FF8000000000000);
    const bool same = real_is_f32(c) ? !memcmp(matrix_at(m, i, j), &f32, sizeof f32)
                                     : !memcmp(matrix_at(m, i, j), &f64, sizeof f64);
    if (!same) kernel_fail(c, "gemm, NaN", i, j, matrix_get(m, i, j), (double)NAN);
}

static void gemm(kernel_case *c)
{
    attn__gemm g = {.m = kernel_size(c, 1), .n = kernel_size(c, 1), .depth = kernel_size(c, 0)};
    gemm_a(c, &g);
    gemm_b(c, &g);
    g.fresh = test_rng_chance(&c->rng, 50);
    g.c_row = g.n + test_rng_range(&c->rng, 0, 5);
    matrix to = matrix_make(c, 2, g.m, g.n, g.c_row);
    if (!g.fresh) matrix_fill(c, &to); /* else it stays NaN: it is only written */
    g.c = to.p;
    double *want = matrix_copy(c, &to);
    for (int64_t i = 0; i < g.m; i++)
        for (int64_t j = 0; j < g.n; j++)
            want[i * g.n + j] = gemm_want(c, &g, i, j, want[i * g.n + j]);
    c->k->gemm(&g);
    kernel_expect_all(c, "gemm", &to, want);
    for (int64_t i = 0; i < g.m; i++)
        for (int64_t j = 0; j < g.n; j++)
            if (isnan(want[i * g.n + j])) gemm_nan(c, &to, i, j);
}

KERNEL_TEST(gemm)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemm_agrees),
    };
    return cmocka_run_group_tests_name("kernel_gemm", tests, memory_begin, memory_end);
}
