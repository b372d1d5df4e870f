/* SPDX-License-Identifier: MIT
 * What gradients need of the kernels, against plain loops: weights and score gradients, the
 * product over the lanes, slopes, tangents, sums in f64. */
#include "kernel_case.h"

static uint64_t *words(kernel_case *c, int slot, int64_t n)
{
    uint64_t *bits = memory_place(slot, c->side, (size_t)n * sizeof *bits);
    for (int64_t j = 0; j < n; j++)
        bits[j] = test_rng_next(&c->rng) | (test_rng_chance(&c->rng, 30) ? ~(uint64_t)0 : 0);
    return bits;
}

static bool bit(const uint64_t *bits, int64_t j, int64_t l)
{
    return !bits || (bits[j] >> l & 1) != 0;
}

/* The weight itself is judged by the scalar table's, whose exponential test_kernel_softmax
 * judges; here it must be a number in 0 .. 2, and ds what p, dp and delta make of it. */
static void grade(kernel_case *c)
{
    const int64_t n = kernel_size(c, 0);
    const int w = kernel_width(c);
    const double coef = fabs(test_rng_normal(&c->rng));
    matrix s = matrix_make(c, 0, n, w, w), dp = matrix_make(c, 1, n, w, w);
    matrix top = matrix_make(c, 2, 1, w, w), delta = matrix_make(c, 3, 1, w, w);
    uint64_t *allowed = test_rng_chance(&c->rng, 50) ? words(c, 4, n) : NULL;
    matrix_fill(c, &s), matrix_fill(c, &dp), matrix_fill(c, &top), matrix_fill(c, &delta);
    double *scores = matrix_copy(c, &s), *products = matrix_copy(c, &dp);
    c->scalar->grade(n, w, coef, s.p, allowed, top.p, delta.p, dp.p);
    double *p = matrix_copy(c, &s), *ds = matrix_copy(c, &dp);
    for (int64_t i = 0; i < n * w; i++) {
        const double r = matrix_get(&delta, 0, i % w);
        const double want =
            bit(allowed, i / w, i % w) ? real_mul(c, p[i], real_add(c, products[i], -r)) : 0;
        if (!real_same(ds[i], want)) kernel_fail(c, "ds", i / w, i % w, ds[i], want);
        if (!(p[i] >= 0 && p[i] <= 2) && !isnan(p[i]))
            kernel_fail(c, "p", i / w, i % w, p[i], 1);
        if (signbit(p[i]) == bit(allowed, i / w, i % w) && !isnan(p[i]))
            kernel_fail(c, "the mark", i / w, i % w, p[i], 0);
    }
    matrix_load(&s, scores), matrix_load(&dp, products);
    c->k->grade(n, w, coef, s.p, allowed, top.p, delta.p, dp.p);
    kernel_expect_all(c, "grade, p", &s, p);
    kernel_expect_all(c, "grade, ds", &dp, ds);
}

/* Words for the numbers of a, some of which become 0. */
static const uint64_t *spread_words(kernel_case *c, int slot, matrix *a)
{
    uint64_t *bits = words(c, slot, a->rows);
    const int shift = (int)test_rng_range(&c->rng, 0, 47);
    for (int64_t j = 0; j < a->rows; j++) {
        bits[j] = test_rng_chance(&c->rng, 20) ? 0 : (bits[j] << shift) >> (shift / 2);
        bits[j] &= ((uint64_t)1 << a->cols) - 1;
        for (int64_t l = 0; l < a->cols; l++)
            if (!bit(bits, j, l)) matrix_put(a, j, l, test_rng_chance(&c->rng, 50) ? 0 : -0.0);
    }
    return bits;
}

static void spread(kernel_case *c)
{
    enum { PARTS = 3, LAID = 1 + 2 * PARTS, WORDS = LAID + PARTS };
    const int64_t n = kernel_size(c, 0), width = kernel_size(c, 1);
    const int64_t wide = (width + c->k->step - 1) / c->k->step * c->k->step;
    const int parts = (int)test_rng_range(&c->rng, 0, PARTS);
    attn__part part[PARTS];
    matrix a[PARTS], b[PARTS], laid[PARTS],
        acc = matrix_of(c, ATTN_DTYPE_F64, 0, n, width, width);
    const void *rows[PARTS][ATTN__PANEL];
    for (int x = 0; x < parts; x++) {
        const int lanes = (int)test_rng_range(&c->rng, 0, ATTN__PANEL), ld = kernel_width(c);
        const int here = lanes < ld ? lanes : ld;
        a[x] = matrix_make(c, 1 + 2 * x, n, here, ld);
        b[x] = matrix_make(c, 2 + 2 * x, here, width, width + test_rng_range(&c->rng, 0, 3));
        matrix_fill(c, &a[x]), matrix_fill(c, &b[x]);
        for (int l = 0; l < here; l++) rows[x][l] = matrix_at(&b[x], l, 0);
        laid[x] = matrix_make(c, LAID + x, 1, wide * here, wide * here);
        c->k->lay(here, width, rows[x], laid[x].p);
        part[x] = (attn__part){.a = a[x].p, .laid = laid[x].p, .n = here, .ld = ld};
        if (!c->wild && test_rng_chance(&c->rng, 50))
            part[x].lanes = spread_words(c, WORDS + x, &a[x]);
    }
    matrix_fill(c, &acc);
    double *want = matrix_copy(c, &acc);
    for (int64_t i = 0; i < n * width; i++) {
        double sum = 0;
        for (int x = 0; x < parts; x++)
            for (int l = 0; l < part[x].n; l++)
                sum = real_fma(c, matrix_get(&a[x], i / width, l),
                               matrix_get(&b[x], l, i % width), sum);
        want[i] += sum;
    }
    c->k->spread(n, width, parts, part, (double *)(void *)acc.p);
    kernel_expect_all(c, "spread", &acc, want);
}

/* A slope of what cannot be a capped score is 0, not NaN. */
static void bend(kernel_case *c)
{
    const int64_t n = kernel_size(c, 0);
    const int w = kernel_width(c);
    const double cap = real_round(c, 1 + fabs(test_rng_normal(&c->rng)));
    matrix capped = matrix_make(c, 0, n, w, w), ds = matrix_make(c, 1, n, w, w);
    matrix_fill(c, &capped), matrix_fill(c, &ds);
    double *want = matrix_copy(c, &ds), *at = matrix_copy(c, &capped);
    for (int64_t i = 0; i < n * w; i++) {
        const double t =
            real_round(c, real_is_f32(c) ? (double)((float)at[i] / (float)cap) : at[i] / cap);
        const double slope = real_add(c, 1, -real_mul(c, t, t));
        want[i] = real_mul(c, want[i], slope > 0 ? slope : 0);
    }
    c->k->bend(n, w, cap, capped.p, ds.p);
    kernel_expect_all(c, "bend", &ds, want);
}

static void times(kernel_case *c)
{
    const int64_t n = kernel_size(c, 0);
    const int w = kernel_width(c);
    matrix slope = matrix_make(c, 0, n, w, w), ds = matrix_make(c, 1, n, w, w);
    matrix_fill(c, &slope), matrix_fill(c, &ds);
    double *want = matrix_copy(c, &ds);
    for (int64_t i = 0; i < n * w; i++)
        want[i] = real_mul(c, want[i], matrix_get(&slope, i / w, i % w));
    c->k->times(n, w, slope.p, ds.p);
    kernel_expect_all(c, "times", &ds, want);
}

/* Tangents of pairs without a weight count nothing, whatever they hold. */
static void tilt(kernel_case *c)
{
    const int64_t n = kernel_size(c, 0);
    const int w = kernel_width(c);
    matrix p = matrix_make(c, 0, n, w, w), ts = matrix_make(c, 1, n, w, w);
    matrix sum = matrix_make(c, 2, 1, w, w);
    matrix_fill(c, &p), matrix_fill(c, &ts), matrix_fill(c, &sum);
    for (int64_t i = 0; i < n * w; i++) {
        const bool none = test_rng_chance(&c->rng, 30);
        matrix_put(&p, i / w, i % w, none ? -0.0 : fabs(matrix_get(&p, i / w, i % w)));
        if (none && test_rng_chance(&c->rng, 50)) matrix_put(&ts, i / w, i % w, (double)NAN);
    }
    double *want = matrix_copy(c, &ts), *total = matrix_copy(c, &sum);
    for (int l = 0; l < w; l++) {
        double part = 0;
        for (int64_t j = 0; j < n; j++) {
            const double weight = matrix_get(&p, j, l);
            double *x = &want[j * w + l];
            *x = signbit(weight) && !isnan(weight) ? -0.0 : real_mul(c, weight, *x);
            part = real_add(c, part, *x);
        }
        total[l] = real_add(c, total[l], part);
    }
    c->k->tilt(n, w, p.p, ts.p, sum.p);
    kernel_expect_all(c, "tilt", &ts, want);
    kernel_expect_all(c, "the sum of tilt", &sum, total);
}

static void dot(kernel_case *c)
{
    const int64_t n = kernel_size(c, 0);
    const int w = kernel_width(c);
    matrix a = matrix_make(c, 0, n, w, w), b = matrix_make(c, 1, n, w, w);
    matrix sum = matrix_of(c, ATTN_DTYPE_F64, 2, 1, w, w);
    double *want = matrix_copy(c, &sum);
    matrix_fill(c, &a), matrix_fill(c, &b);
    for (int64_t i = 0; i < n; i++)
        if (test_rng_chance(&c->rng, 30))
            matrix_put(&b, i, 0, 0), matrix_put(&a, i, 0, (double)NAN);
    for (int l = 0; l < w; l++) {
        want[l] = 0;
        for (int64_t i = 0; i < n; i++)
            if (matrix_get(&b, i, l) != 0)
                want[l] = fma(matrix_get(&a, i, l), matrix_get(&b, i, l), want[l]);
    }
    c->k->dot(n, w, a.p, b.p, (double *)(void *)sum.p);
    kernel_expect_all(c, "dot", &sum, want);
}

static void gather(kernel_case *c)
{
    const int64_t n = kernel_size(c, 0);
    const bool fresh = test_rng_chance(&c->rng, 50);
    matrix x = matrix_make(c, 0, 1, n, n), sum = matrix_of(c, ATTN_DTYPE_F64, 1, 1, n, n);
    matrix_fill(c, &x);
    if (!fresh) matrix_fill(c, &sum);
    double *want = matrix_copy(c, &sum);
    for (int64_t i = 0; i < n; i++)
        want[i] = fresh ? matrix_get(&x, 0, i) : want[i] + matrix_get(&x, 0, i);
    c->k->gather(n, fresh, x.p, (double *)(void *)sum.p);
    kernel_expect_all(c, "gather", &sum, want);
}

static void settle(kernel_case *c)
{
    const int64_t n = kernel_size(c, 0);
    const double factor = test_rng_normal(&c->rng);
    matrix sum = matrix_of(c, ATTN_DTYPE_F64, 0, 1, n, n), x = matrix_make(c, 1, 1, n, n);
    matrix_fill(c, &sum);
    double *want = matrix_copy(c, &x);
    for (int64_t i = 0; i < n; i++)
        want[i] = real_round(c, matrix_get(&sum, 0, i) * factor) + 0;
    c->k->settle(n, (const double *)(const void *)sum.p, factor, x.p);
    kernel_expect_all(c, "settle", &x, want);
    for (int64_t i = 0; i < n; i++)
        if (isnan(want[i]) && signbit(matrix_get(&x, 0, i)))
            kernel_fail(c, "the NaN of settle", 0, i, want[i], (double)NAN);
}

static void finite_all(kernel_case *c)
{
    const int64_t n = kernel_size(c, 0);
    matrix x = matrix_make(c, 0, 1, n, n);
    bool want = true;
    matrix_fill(c, &x);
    for (int64_t i = 0; i < n; i++) want = want && isfinite(matrix_get(&x, 0, i));
    if (c->k->finite(n, x.p) != want) kernel_fail(c, "finite", 0, n, !want, want);
}

static void tidy(kernel_case *c)
{
    const int64_t n = kernel_size(c, 0);
    matrix x = matrix_make(c, 0, 1, n, n);
    matrix_fill(c, &x);
    double *want = matrix_copy(c, &x);
    for (int64_t i = 0; i < n; i++) want[i] += 0;
    c->k->tidy(n, x.p);
    kernel_expect_all(c, "tidy", &x, want);
    for (int64_t i = 0; i < n; i++)
        if (isnan(want[i]) && signbit(matrix_get(&x, 0, i)))
            kernel_fail(c, "the NaN of tidy", 0, i, want[i], (double)NAN);
}

KERNEL_TEST(grade)
KERNEL_TEST(spread)
KERNEL_TEST(bend)
KERNEL_TEST(times)
KERNEL_TEST(tilt)
KERNEL_TEST(dot)
KERNEL_TEST(gather)
KERNEL_TEST(settle)
KERNEL_TEST(tidy)
KERNEL_TEST(finite_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grade_agrees),      cmocka_unit_test(spread_agrees),
        cmocka_unit_test(bend_agrees),       cmocka_unit_test(times_agrees),
        cmocka_unit_test(tilt_agrees),       cmocka_unit_test(dot_agrees),
        cmocka_unit_test(gather_agrees),     cmocka_unit_test(settle_agrees),
        cmocka_unit_test(finite_all_agrees), cmocka_unit_test(tidy_agrees),
    };
    return cmocka_run_group_tests_name("kernel_backward", tests, memory_begin, memory_end);
}
