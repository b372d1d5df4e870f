/* SPDX-License-Identifier: MIT
 * The normalisers' kernels: every table has the bits of the scalar one, that one is near the
 * formulas, and what only selects or counts is exact. */
#include "kernel_case.h"

static const char *const norm_names[] = {
#define NORM(name) #name,
#include "kernel/norm.def"
#undef NORM
};

/* n words; NULL stands for all. */
static uint64_t *norm_bits(kernel_case *c, int slot, int64_t n)
{
    uint64_t *bits = memory_place(slot, c->side, (size_t)n * sizeof *bits);
    for (int64_t j = 0; j < n; j++) bits[j] = test_rng_next(&c->rng);
    return test_rng_chance(&c->rng, 30) ? NULL : bits;
}

static bool norm_bit(const uint64_t *bits, int64_t j, int64_t l)
{
    return !bits || (bits[j] >> l & 1) != 0;
}

/* One power for all lanes, or one for each. */
static attn__norm_rows norm_rows(kernel_case *c)
{
    static const double powers[] = {1, 2, 0, 1.75, 3, 0.5};
    attn__norm_rows rows;
    const int64_t one = test_rng_range(&c->rng, 0, 8);
    for (int l = 0; l < ATTN__PANEL; l++) {
        const int64_t kind = one < 6 ? one : test_rng_range(&c->rng, 0, 5);
        rows.shift[l] = test_rng_normal(&c->rng);
        rows.slope[l] = 0.125 + test_rng_uniform(&c->rng);
        rows.power[l] = powers[kind];
        rows.factor[l] = 0.25 + test_rng_uniform(&c->rng);
        rows.mean[l] = test_rng_normal(&c->rng);
        rows.top[l] = (double)(float)test_rng_normal(&c->rng);
    }
    return rows;
}

/* ---- a weight and its slope -------------------------------------------------------------- */

typedef struct norm_pair {
    double weight, slope;
} norm_pair;

static norm_pair norm_truth(int op, const attn__norm_rows *r, int l, double x)
{
    const double f = r->factor[l], y = (x + r->shift[l]) * log(2);
    const double z = r->slope[l] * (x - r->top[l]) - r->shift[l], p = r->power[l];
    if (op == ATTN__NORM_sigmoid) {
        const double s = 1 / (1 + exp(-y));
        return (norm_pair){f * s, f * s / (1 + exp(y))};
    }
    if (op == ATTN__NORM_linear) return (norm_pair){f * y, f};
    if (op == ATTN__NORM_relu2)
        return (norm_pair){y > 0 ? f * y * y : 0, y > 0 ? 2 * f * y : 0};
    if (p == 0) return (norm_pair){f * exp2(z), f * exp2(z)};
    if (!(z > 0)) return (norm_pair){0, 0};
    return (norm_pair){f * pow(z, p), pow(z, p - 1)};
}

/* What errors of a few units in the numbers it is made of make of it; near 0 a power below 1
 * may be anything, and a slope jumps. */
static void norm_near(kernel_case *c, const char *what, double got, double want, double size)
{
    const double by = 64 * real_ulp(c, 1) * (1 + fabs(size));
    if (!(fabs(got - want) <= by * (1 + fabs(want)))) kernel_fail(c, what, 0, 0, got, want);
}

static void norm_judge(kernel_case *c, int op, const attn__norm_rows *rows, int l, double x,
                       double weight)
{
    const double z = rows->slope[l] * (x - rows->top[l]) - rows->shift[l];
    const norm_pair want = norm_truth(op, rows, l, x);
    if (op == ATTN__NORM_entmax && fabs(z) < 1e-3) return;
    norm_near(c, norm_names[op], weight, want.weight, x);
}

static void norm_one(kernel_case *c, int op)
{
    const int64_t n = kernel_size(c, 0);
    const int w = kernel_width(c);
    const attn__norm_rows rows = norm_rows(c);
    const uint64_t *allowed = norm_bits(c, 4, n);
    matrix s = matrix_make(c, 0, n, w, w), dp = matrix_make(c, 1, n, w, w);
    matrix same = matrix_make(c, 2, n, w, w), d_same = matrix_make(c, 3, n, w, w);
    matrix_fill(c, &s);
    matrix_fill(c, &dp);
    const double *x = matrix_copy(c, &s), *d = matrix_copy(c, &dp);
    matrix_load(&same, x);
    matrix_load(&d_same, d);
    c->scalar->norm_grade[op](n, w, &rows, same.p, allowed, d_same.p);
    c->k->norm_grade[op](n, w, &rows, s.p, allowed, dp.p);
    kernel_expect_all(c, norm_names[op], &s, matrix_copy(c, &same));
    kernel_expect_all(c, "its slope", &dp, matrix_copy(c, &d_same));
    matrix_load(&s, x);
    c->k->norm[op](n, w, &rows, s.p, allowed);
    kernel_expect_all(c, "without slopes", &s, matrix_copy(c, &same));
    for (int64_t j = 0; j < n; j++)
        for (int l = 0; l < w; l++) {
            const double weight = matrix_get(&s, j, l);
            if (!norm_bit(allowed, j, l))
                kernel_expect(c, "a forbidden weight", &s, j, l, -0.0);
            else if (isfinite(x[j * w + l]) && fabs(x[j * w + l]) < 100)
                norm_judge(c, op, &rows, l, x[j * w + l], weight);
        }
}

static void norm(kernel_case *c)
{
    for (int op = 0; op < ATTN__N_NORMS; op++) norm_one(c, op);
}

/* ---- what selects and counts ------------------------------------------------------------- */

static void forbid(kernel_case *c)
{
    const int64_t n = kernel_size(c, 0);
    const int w = kernel_width(c);
    uint64_t *allowed = memory_place(1, c->side, (size_t)n * sizeof *allowed);
    matrix s = matrix_make(c, 0, n, w, w);
    matrix_fill(c, &s);
    for (int64_t j = 0; j < n; j++) allowed[j] = test_rng_next(&c->rng);
    double *want = matrix_copy(c, &s);
    for (int64_t i = 0; i < n * w; i++)
        if (!norm_bit(allowed, i / w, i % w)) want[i] = -(double)INFINITY;
    c->k->forbid(n, w, allowed, s.p);
    kernel_expect_all(c, "forbid", &s, want);
}

static void count(kernel_case *c)
{
    const int64_t n = kernel_size(c, 0);
    const int w = kernel_width(c);
    matrix s = matrix_make(c, 0, n, w, w), level = matrix_make(c, 1, 1, w, w);
    double above[ATTN__PANEL];
    matrix_fill(c, &s);
    matrix_fill(c, &level);
    c->k->count_above(n, w, s.p, level.p, above);
    for (int l = 0; l < w; l++) {
        double want = 0;
        for (int64_t j = 0; j < n; j++) want += matrix_get(&s, j, l) > matrix_get(&level, 0, l);
        if (above[l] != want) kernel_fail(c, "count_above", 0, l, above[l], want);
    }
}

/* ---- sums over a row --------------------------------------------------------------------- */

static void norm_same(kernel_case *c, const char *what, const double *got, const double *want,
                      int n)
{
    for (int l = 0; l < n; l++)
        if (!real_same(got[l], want[l])) kernel_fail(c, what, 0, l, got[l], want[l]);
}

static void norm_total(kernel_case *c, const attn__norm_rows *rows, const matrix *s, int lanes)
{
    double total[ATTN__PANEL], slope[ATTN__PANEL], same[ATTN__PANEL], also[ATTN__PANEL];
    const int w = (int)s->cols;
    c->k->entmax_total(s->rows, w, rows, s->p, total, slope);
    c->scalar->entmax_total(s->rows, w, rows, s->p, same, also);
    norm_same(c, "entmax_total", total, same, w);
    norm_same(c, "its slope", slope, also, w);
    for (int l = 0; l < lanes && !c->wild; l++) {
        double want = 0;
        for (int64_t j = 0; j < s->rows; j++)
            want += norm_truth(ATTN__NORM_entmax, rows, l, matrix_get(s, j, l)).weight /
                    rows->factor[l];
        if (!(fabs(total[l] - want) <= 1e-11 * (1 + want)))
            kernel_fail(c, "a total", 0, l, total[l], want);
    }
}

static void sums(kernel_case *c)
{
    const int64_t n = kernel_size(c, 0);
    const int w = kernel_width(c);
    const attn__norm_rows rows = norm_rows(c);
    attn__norm_sums got, want;
    matrix s = matrix_make(c, 0, n, w, w), dp = matrix_make(c, 1, n, w, w);
    matrix_fill(c, &s);
    matrix_fill(c, &dp);
    norm_total(c, &rows, &s, w);
    for (int logs = 0; logs < 2; logs++) {
        memset(&got, 0, sizeof got);
        memset(&want, 0, sizeof want);
        c->k->entmax_sums(n, w, &rows, s.p, dp.p, logs, &got);
        c->scalar->entmax_sums(n, w, &rows, s.p, dp.p, logs, &want);
        const double *a = (const double *)&got, *b = (const double *)&want;
        for (size_t i = 0; i < sizeof got / sizeof got.w; i++)
            norm_same(c, "entmax_sums", a + i * ATTN__PANEL, b + i * ATTN__PANEL, w);
    }
}

KERNEL_TEST(norm)
KERNEL_TEST(forbid)
KERNEL_TEST(count)
KERNEL_TEST(sums)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norm_agrees),
        cmocka_unit_test(forbid_agrees),
        cmocka_unit_test(count_agrees),
        cmocka_unit_test(sums_agrees),
    };
    return cmocka_run_group_tests_name("kernel_norm", tests, memory_begin, memory_end);
}
