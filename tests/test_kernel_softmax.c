/* SPDX-License-Identifier: MIT
 * What happens to a tile of scores between the products, against plain loops, and how near the
 * powers of two and the softcap come to the truth. */
#include "kernel_case.h"

static matrix tile_make(kernel_case *c, int slot, int64_t n, int w)
{
    return matrix_make(c, slot, n, w, w);
}

/* n words; the bits of lanes that are not there hold rubbish. NULL stands for all. */
static uint64_t *tile_bits(kernel_case *c, int slot, int64_t n)
{
    uint64_t *bits = memory_place(slot, c->side, (size_t)n * sizeof *bits);
    int kind = (int)test_rng_range(&c->rng, 0, 3);
    for (int64_t j = 0; j < n; j++) {
        uint64_t some = test_rng_next(&c->rng);
        bits[j] = kind == 1 ? some : kind == 2 ? some & test_rng_next(&c->rng) : 0;
    }
    return bits;
}

static bool tile_bit(const uint64_t *bits, int64_t j, int64_t l)
{
    return !bits || (bits[j] >> l & 1) != 0;
}

/* ---- one number at a time ---------------------------------------------------------------- */

static void scale(kernel_case *c)
{
    const int64_t n = kernel_size(c, 0);
    const int w = kernel_width(c);
    const double coef = test_rng_normal(&c->rng);
    matrix s = tile_make(c, 0, n, w);
    matrix_fill(c, &s);
    double *want = matrix_copy(c, &s);
    for (int64_t i = 0; i < n * w; i++) want[i] = real_mul(c, real_round(c, coef), want[i]);
    c->k->scale(n, w, coef, s.p);
    kernel_expect_all(c, "scale", &s, want);
}

/* A sum of finite numbers stops at the largest finite one; infinities stay. */
static void add(kernel_case *c)
{
    const int64_t n = kernel_size(c, 0);
    const int w = kernel_width(c);
    const double coef = fabs(test_rng_normal(&c->rng));
    matrix s = tile_make(c, 0, n, w), term = tile_make(c, 1, n, w);
    matrix_fill(c, &s);
    matrix_fill(c, &term);
    double *want = matrix_copy(c, &s), *added = matrix_copy(c, &term);
    for (int64_t i = 0; i < n * w; i++) {
        double sum = real_fma(c, added[i], real_round(c, coef), want[i]);
        bool over = isfinite(added[i]) && isfinite(want[i]) && fabs(sum) > -real_lowest(c);
        want[i] = over ? copysign(real_lowest(c), sum) : sum;
    }
    c->k->add(n, w, term.p, coef, s.p);
    kernel_expect_all(c, "add", &s, want);
}

static void drop(kernel_case *c)
{
    const int64_t n = kernel_size(c, 0);
    const int w = kernel_width(c);
    matrix p = tile_make(c, 0, n, w);
    uint64_t *keep = tile_bits(c, 1, n);
    matrix_fill(c, &p);
    double *want = matrix_copy(c, &p);
    for (int64_t i = 0; i < n * w; i++) want[i] = tile_bit(keep, i / w, i % w) ? want[i] : -0.0;
    c->k->drop(n, w, keep, p.p);
    kernel_expect_all(c, "drop", &p, want);
}

/* ---- down the columns -------------------------------------------------------------------- */

/* How many keys of a slice are allowed from the first on; their bits are set. */
static void tile_clean(kernel_case *c, const int64_t *stop, uint64_t *allowed, int64_t *clean)
{
    for (int x = 0; x < ATTN__SLICES; x++) {
        const uint64_t lanes = (((uint64_t)1 << ATTN__SLICE) - 1) << x * ATTN__SLICE;
        clean[x] = test_rng_chance(&c->rng, 50) ? test_rng_range(&c->rng, 0, stop[x]) : 0;
        for (int64_t j = 0; j < clean[x] && allowed; j++) allowed[j] |= lanes;
    }
}

/* The largest, and the same one on every table unless rows are narrow: of two zeros either may
 * stand for both. */
static void row_max(kernel_case *c)
{
    const int64_t n = kernel_size(c, 0);
    const int w = kernel_scores_width(c);
    matrix s = tile_make(c, 0, n, w), m = tile_make(c, 1, 1, w), same = tile_make(c, 3, 1, w);
    uint64_t *allowed = test_rng_chance(&c->rng, 30) ? NULL : tile_bits(c, 2, n);
    int64_t stop[ATTN__SLICES];
    kernel_stops(c, test_rng_chance(&c->rng, 50), n, stop);
    matrix_fill(c, &s);
    for (int l = 0; l < w; l++) matrix_put(&m, 0, l, l % 2 ? -(double)INFINITY : real_draw(c));
    double *want = matrix_copy(c, &m);
    matrix_load(&same, want);
    for (int64_t j = 0; j < n; j++)
        for (int l = 0; l < w; l++) {
            double x = matrix_get(&s, j, l);
            if (j >= stop[l / ATTN__SLICE]) continue;
            if (tile_bit(allowed, j, l) && x > want[l]) want[l] = x;
        }
    c->scalar->row_max(stop, w, s.p, allowed, same.p);
    c->k->row_max(stop, w, s.p, allowed, m.p);
    if (w >= c->k->step) kernel_expect_all(c, "row_max", &m, matrix_copy(c, &same));
    for (int l = 0; l < w; l++)
        if (matrix_get(&m, 0, l) != want[l] || isnan(want[l]))
            kernel_expect(c, "row_max", &m, 0, l, want[l]);
}

/* Scores up to the maximum of their lane where they are allowed, rubbish where not. */
static void exp_sum_fill(kernel_case *c, const matrix *s, const matrix *m, double coef,
                         const uint64_t *allowed)
{
    for (int64_t l = 0; l < m->cols; l++) {
        bool empty = test_rng_chance(&c->rng, 10);
        double top = empty ? -(double)INFINITY : 4 * test_rng_normal(&c->rng);
        matrix_put(m, 0, l, top);
        for (int64_t j = 0; j < s->rows; j++) {
            double below =
                fabs(test_rng_normal(&c->rng)) * (test_rng_chance(&c->rng, 10) ? 99 : 9);
            double x = ((empty ? 0 : top) - below) / coef;
            if (c->wild && test_rng_chance(&c->rng, 5))
                x = test_rng_chance(&c->rng, 50) ? (double)NAN : -(double)INFINITY;
            if (!tile_bit(allowed, j, l)) x = 1e3 * real_special(c);
            matrix_put(s, j, l, x);
        }
    }
}

/* The weights as the scalar table has them, the sums as a plain loop has them. */
static void exp_sum_judge(kernel_case *c, const matrix *p, const matrix *sum,
                          const double *want, const double *before, const uint64_t *allowed)
{
    kernel_expect_all(c, "weights of exp_sum", p, want);
    for (int64_t l = 0; l < p->cols; l++) {
        double total = 0;
        for (int64_t j = 0; j < p->rows; j++) {
            double x = want[j * p->cols + l];
            bool in = tile_bit(allowed, j, l);
            if (in && signbit(x) && !isnan(x)) kernel_fail(c, "an allowed weight", j, l, x, 0);
            if (!in && !real_same(x, -0.0)) kernel_fail(c, "a forbidden weight", j, l, x, -0.0);
            if (in) total = real_add(c, total, x);
        }
        kernel_expect(c, "sum of exp_sum", sum, 0, l, real_add(c, before[l], total));
    }
}

/* All lanes up to n. */
static void exp_sum_all(const attn__kernels *k, int64_t n, int w, double coef, const matrix *s,
                        const uint64_t *allowed, const matrix *m, const matrix *sum)
{
    const int64_t stop[ATTN__SLICES] = {n, n, n}, clean[ATTN__SLICES] = {0};
    k->exp_sum(stop, clean, w, coef, s->p, allowed, m->p, sum->p);
}

static void exp_sum(kernel_case *c)
{
    const int64_t n = kernel_size(c, 0);
    const int w = kernel_scores_width(c);
    const double coef = real_round(c, 0.5 + test_rng_uniform(&c->rng));
    uint64_t *allowed = test_rng_chance(&c->rng, 30) ? NULL : tile_bits(c, 3, n);
    matrix s = tile_make(c, 0, n, w), m = tile_make(c, 1, 1, w), sum = tile_make(c, 2, 1, w);
    matrix copy = tile_make(c, 4, n, w), other = tile_make(c, 5, 1, w);
    exp_sum_fill(c, &s, &m, coef, allowed);
    matrix_load(&copy, matrix_copy(c, &s));
    for (int l = 0; l < w; l++) {
        matrix_put(&sum, 0, l, fabs(test_rng_normal(&c->rng)));
        matrix_put(&other, 0, l, 0);
    }
    double *before = matrix_copy(c, &sum);
    exp_sum_all(c->scalar, n, w, coef, &copy, allowed, &m, &other);
    exp_sum_all(c->k, n, w, coef, &s, allowed, &m, &sum);
    exp_sum_judge(c, &s, &sum, matrix_copy(c, &copy), before, allowed);
}

/* Lanes that stop have the sums of what is before, and weights up to there. */
static void exp_sum_stops(kernel_case *c)
{
    const int64_t n = kernel_size(c, 0);
    const int w = kernel_width(c);
    int64_t stop[ATTN__SLICES], clean[ATTN__SLICES];
    matrix s = tile_make(c, 0, n, w), m = tile_make(c, 1, 1, w), sum = tile_make(c, 2, 1, w);
    uint64_t *allowed = test_rng_chance(&c->rng, 30) ? NULL : tile_bits(c, 3, n);
    matrix copy = tile_make(c, 4, n, w), part = tile_make(c, 5, 1, w);
    kernel_stops(c, test_rng_chance(&c->rng, 50), n, stop);
    tile_clean(c, stop, allowed, clean);
    exp_sum_fill(c, &s, &m, 1, allowed);
    matrix_load(&copy, matrix_copy(c, &s));
    for (int l = 0; l < w; l++) matrix_put(&sum, 0, l, l);
    c->k->exp_sum(stop, clean, w, 1, s.p, allowed, m.p, sum.p);
    for (int l = 0, x = -1; l < w; l++) {
        if (x != l / ATTN__SLICE) {
            x = l / ATTN__SLICE;
            matrix again = tile_make(c, 6 + x, n, w);
            matrix_load(&again, matrix_copy(c, &copy));
            for (int i = 0; i < w; i++) matrix_put(&part, 0, i, i);
            exp_sum_all(c->k, stop[x], w, 1, &again, allowed, &m, &part);
            for (int64_t j = 0; j < stop[x]; j++)
                for (int i = l; i < w && i < l + ATTN__SLICE; i++)
                    kernel_expect(c, "exp_sum_stops", &s, j, i, matrix_get(&again, j, i));
        }
        kernel_expect(c, "sum of exp_sum_stops", &sum, 0, l, matrix_get(&part, 0, l));
    }
}

/* However large the scores are, the largest of a lane weighs 1, and one far below it nothing. */
static void exp_sum_top(kernel_case *c)
{
    const int w = kernel_scores_width(c);
    const double coef = real_round(c, 0.1 + test_rng_uniform(&c->rng));
    matrix s = tile_make(c, 0, 2, w), m = tile_make(c, 1, 1, w), sum = tile_make(c, 2, 1, w);
    for (int l = 0; l < w; l++) {
        double x = real_round(c, ldexp(test_rng_normal(&c->rng), 2 * l - 4));
        matrix_put(&s, 0, l, x);
        matrix_put(&s, 1, l, x - fabs(x) - 1e5);
        matrix_put(&m, 0, l, real_mul(c, coef, x));
        matrix_put(&sum, 0, l, 0);
    }
    exp_sum_all(c->k, 2, w, coef, &s, NULL, &m, &sum);
    for (int l = 0; l < w; l++) {
        const double p = matrix_get(&s, 0, l), low = matrix_get(&s, 1, l);
        if (p != 1) kernel_fail(c, "the largest weight", 0, l, p, 1);
        if (low != 0) kernel_fail(c, "a weight far below", 1, l, low, 0);
    }
}

/* Whether coef is multiplied in before or in passing does not show: a term that adds nothing, or
 * a callback that only forbids, leaves every bit. */
static void exp_sum_scaled(kernel_case *c)
{
    const int64_t n = kernel_size(c, 0);
    const int w = kernel_width(c);
    const double coef = real_round(c, 0.5 + test_rng_uniform(&c->rng));
    uint64_t *allowed = test_rng_chance(&c->rng, 30) ? NULL : tile_bits(c, 3, n);
    matrix s = tile_make(c, 0, n, w), m = tile_make(c, 1, 1, w), sum = tile_make(c, 2, 1, w);
    matrix scaled = tile_make(c, 4, n, w), other = tile_make(c, 5, 1, w);
    exp_sum_fill(c, &s, &m, coef, allowed);
    matrix_load(&scaled, matrix_copy(c, &s));
    matrix_load(&other, matrix_copy(c, &sum));
    c->k->scale(n, w, coef, scaled.p);
    exp_sum_all(c->k, n, w, 1, &scaled, allowed, &m, &other);
    exp_sum_all(c->k, n, w, coef, &s, allowed, &m, &sum);
    kernel_expect_all(c, "weights of scaled scores", &s, matrix_copy(c, &scaled));
    kernel_expect_all(c, "their sums", &sum, matrix_copy(c, &other));
}

/* ---- how near to the truth --------------------------------------------------------------- */

enum { SWEEP_ROWS = 64, SWEEP = SWEEP_ROWS * ATTN__PANEL };

/* |got - want| <= ulps of the true value + least in any case. */
static void sweep_near(const kernel_case *c, const char *what, double x, double got,
                       double want, double ulps, double least)
{
    double error = fabs(got - want), allowed = ulps * real_ulp(c, want) + least;
    if (real_same(got, want) || error <= allowed) return;
    fail_msg("%s %s: %s(%a) is %a instead of %a, off by %g ulp", c->k->name,
             attn_dtype_name(c->k->dtype), what, x, got, want, error / real_ulp(c, want));
}

/* exp2 of SWEEP numbers by the table, as exp_sum with a maximum of 0. */
static void sweep_exp2(kernel_case *c, const double *x, const attn__kernels *k, matrix *p)
{
    matrix m = tile_make(c, 1, 1, ATTN__PANEL), l = tile_make(c, 2, 1, ATTN__PANEL);
    *p = tile_make(c, 0, SWEEP_ROWS, ATTN__PANEL);
    matrix_load(p, x);
    for (int i = 0; i < ATTN__PANEL; i++) {
        matrix_put(&m, 0, i, 0);
        matrix_put(&l, 0, i, 0);
    }
    exp_sum_all(k, SWEEP_ROWS, ATTN__PANEL, 1, p, NULL, &m, &l);
}

/* 2^x within 0.85 ulp: half from q = 1 + f P(f), one fma; near f = -1/2, where q falls below 1,
 * a quarter or so from P; a twentieth from the polynomial. All floats between -125 and -4e-10
 * came within 0.8431. A double is judged by a double, so in whole steps. */
static void sweep_exp2_judge(kernel_case *c, const double *x)
{
    const double lowest = real_is_f32(c) ? -125 : -1021, ulps = real_is_f32(c) ? 0.85 : 1;
    matrix p;
    sweep_exp2(c, x, c->scalar, &p);
    double *same = matrix_copy(c, &p);
    sweep_exp2(c, x, c->k, &p);
    kernel_expect_all(c, "exp2", &p, same);
    for (int i = 0; i < SWEEP; i++) {
        double want = x[i] < lowest    ? 0
                      : real_is_f32(c) ? exp2(x[i])
                                       : (double)exp2l((long double)x[i]);
        sweep_near(c, "exp2", x[i], same[i], want, x[i] < lowest ? 0 : ulps, 0);
    }
}

static int64_t sweep_rounds(void)
{
    int64_t cases = test_env_int("ATTN_CASES", 200);
    return (cases < 200 ? 10 : 150) * (test_env_long() ? 20 : 1);
}

/* Some emulators compute long doubles as doubles; they cannot judge f64. */
static bool sweep_can_judge(const kernel_case *c)
{
    volatile long double one = 1, tiny = 0x1p-60L;
    return real_is_f32(c) || one + tiny != 1;
}

static void exp2_table(kernel_case *c)
{
    const double lowest = real_is_f32(c) ? -127 : -1023;
    double *x = test_alloc(&c->arena, SWEEP * sizeof *x);
    if (!sweep_can_judge(c)) return;
    for (int64_t round = 0, rounds = sweep_rounds(); round < rounds; round++) {
        for (int i = 0; i < SWEEP; i++) {
            double u = test_rng_uniform(&c->rng);
            x[i] = real_round(c, i % 3 == 0 ? lowest * u : i % 3 == 1 ? -u : -exp2(-40 * u));
            if (i % 64 == 0) x[i] = ceil(lowest * u);
            if (i % 64 == 1) x[i] = ceil(lowest * u) - 0.5;
        }
        sweep_exp2_judge(c, x);
    }
}

static void exp2_is_near(void **state)
{
    (void)state;
    kernel_tables(exp2_table);
}

/* tanh itself within 4 ulp; cap * tanh(s / cap) within 6. Eight roundings, each worth between a
 * half and one ulp: the quotient, the factor 2 log2(e), P, f P, e^y - 1, e^y + 1, the fraction
 * and the product; the first and the last are exact for caps 2^k. A hundred million numbers
 * came within 3.9 and 5.1. Where s / cap is denormal, its rounding counts cap times as much. */
static void cap_judge(kernel_case *c, double cap, const double *x)
{
    const double denormal = real_ulp(c, 0), ulps = cap == 1 || cap == 2 ? 4 : 6;
    matrix s = tile_make(c, 0, SWEEP_ROWS, ATTN__PANEL);
    matrix_load(&s, x);
    c->scalar->cap(SWEEP_ROWS, ATTN__PANEL, cap, s.p);
    double *same = matrix_copy(c, &s);
    matrix_load(&s, x);
    c->k->cap(SWEEP_ROWS, ATTN__PANEL, cap, s.p);
    kernel_expect_all(c, "cap", &s, same);
    for (int i = 0; i < SWEEP; i++) {
        long double want = (long double)cap * tanhl((long double)x[i] / (long double)cap);
        sweep_near(c, "cap", x[i], same[i], (double)want, ulps,
                   3 * (cap > 1 ? cap : 1) * denormal);
        if (!isnan(x[i]) && signbit(same[i]) != signbit(x[i]))
            kernel_fail(c, "the sign of cap", i, 0, same[i], x[i]);
    }
}

static void cap_table(kernel_case *c)
{
    static const double caps[] = {1, 2, 20, 50, 1e-3, 3.5e-10};
    double *x = test_alloc(&c->arena, SWEEP * sizeof *x);
    if (!sweep_can_judge(c)) return;
    c->wild = true;
    for (int64_t round = 0, rounds = sweep_rounds() / 2; round < rounds; round++) {
        double cap = real_round(c, caps[round % 6]);
        for (int i = 0; i < SWEEP; i++) {
            double size =
                exp2((i % 2 ? -3 : -140) + (i % 2 ? 9 : 150) * test_rng_uniform(&c->rng));
            x[i] = real_round(c, i % 97 == 0 ? real_special(c) : cap * size * real_draw(c));
        }
        cap_judge(c, cap, x);
    }
}

static void cap_is_near(void **state)
{
    (void)state;
    kernel_tables(cap_table);
}

KERNEL_TEST(scale)
KERNEL_TEST(add)
KERNEL_TEST(drop)
KERNEL_TEST(row_max)
KERNEL_TEST(exp_sum)
KERNEL_TEST(exp_sum_stops)
KERNEL_TEST(exp_sum_top)
KERNEL_TEST(exp_sum_scaled)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scale_agrees),          cmocka_unit_test(add_agrees),
        cmocka_unit_test(drop_agrees),           cmocka_unit_test(row_max_agrees),
        cmocka_unit_test(exp_sum_agrees),        cmocka_unit_test(exp_sum_top_agrees),
        cmocka_unit_test(exp_sum_scaled_agrees), cmocka_unit_test(exp2_is_near),
        cmocka_unit_test(exp_sum_stops_agrees),  cmocka_unit_test(cap_is_near),
    };
    return cmocka_run_group_tests_name("kernel_softmax", tests, memory_begin, memory_end);
}
