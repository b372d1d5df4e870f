/* SPDX-License-Identifier: MIT
 * The scalar functions whose bits do not depend on the C library, against the long double ones
 * of the C library: errors in units of the last place (ulp) of the true value, over random
 * arguments of every size and over the special ones.
 *
 *   ATTN_CASES=n  arguments of each range (200000)   ATTN_LONG=1  twenty times as many
 *
 * The bounds are those of the recipes in math.c: the last operation rounds by half an ulp, and
 * what comes before it is worth, in ulps of the result,
 *     log2        0.06   corrections a hundred times smaller than the result
 *     exp2        0.36   a half times the error of the term before, for f = -1/2
 *     sincos      0.32   the cubic term, a sixth of the result near pi/4 in both series
 *     root_power  0.01   pairs of doubles up to the last addition
 * Ten million arguments came within 0.01 of these sums; 0.04 on top of them is the margin. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernel/kernel.h"
#include "support/support.h"

static const double log2_bound = 0.60, exp2_bound = 0.90, sincos_bound = 0.86,
                    root_bound = 0.55;

/* ---- measuring ----------------------------------------------------------------------- */

/* |got - want| in ulps of want as a double. */
static double math_error(double got, long double want)
{
    if (want == 0 || isinf((double)want)) return got == (double)want ? 0 : (double)INFINITY;
    int exponent = ilogbl(want) < -1022 ? -1022 : ilogbl(want);
    return (double)fabsl(ldexpl((long double)got - want, 52 - exponent));
}

static void math_near(const char *what, double x, double got, long double want, double bound)
{
    double error = math_error(got, want);
    if (!(error <= bound))
        fail_msg("%s at %a is %a, off by %g ulp (at most %g)", what, x, got, error, bound);
}

static void math_is(double got, double want)
{
    if (!(got == want)) fail_msg("%a instead of %a", got, want);
}

/* Some emulators compute long doubles as doubles; they cannot judge. */
static void math_need_reference(void)
{
    volatile long double one = 1, tiny = 0x1p-60L;
    if (one + tiny != 1) return;
    print_message("no long double wider than double here\n");
    skip();
}

static int64_t math_cases(void)
{
    return test_env_int("ATTN_CASES", 200000) * (test_env_long() ? 20 : 1);
}

/* ---- arguments ----------------------------------------------------------------------- */

static double math_of_bits(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static double math_symmetric(test_rng *rng, double limit)
{
    return (2 * test_rng_uniform(rng) - 1) * limit;
}

static double draw_positive(test_rng *rng)
{
    return math_of_bits(test_rng_next(rng) % 0x7FF0000000000000u);
}

static double draw_denormal(test_rng *rng)
{
    return math_of_bits(1 + (test_rng_next(rng) >> test_rng_range(rng, 12, 60)));
}

static double draw_octaves(test_rng *rng)
{
    return exp2(math_symmetric(rng, 2));
}

static double draw_near_1(test_rng *rng)
{
    return 1 + math_symmetric(rng, 0.5) * exp2(-50 * test_rng_uniform(rng));
}

static double draw_exponent(test_rng *rng)
{
    return -1021 + 2045 * test_rng_uniform(rng);
}

static double draw_small(test_rng *rng)
{
    return math_symmetric(rng, 1) * exp2(-70 * test_rng_uniform(rng));
}

static double draw_angle(test_rng *rng)
{
    return math_symmetric(rng, 0x1p31) * exp2(-34 * test_rng_uniform(rng));
}

static double draw_tiny(test_rng *rng)
{
    return math_symmetric(rng, 1) * exp2(-1000 * test_rng_uniform(rng));
}

/* The doubles next to a multiple of pi/2, where a quarter turn leaves almost nothing. */
static double draw_quarter(test_rng *rng)
{
    int64_t range = (int64_t)1 << test_rng_range(rng, 1, 30);
    double n = (double)test_rng_range(rng, -range, range);
    double x = (double)((long double)n * 0x1.921fb54442d1846ap+0L);
    return test_rng_chance(rng, 50) ? x : nextafter(x, 0);
}

typedef double (*math_draw)(test_rng *rng);

typedef void (*math_judge)(double x);

static void math_over(const math_draw *draws, size_t n, math_judge judge)
{
    math_need_reference();
    test_rng rng = test_rng_make(91);
    for (size_t d = 0; d < n; d++)
        for (int64_t i = 0, cases = math_cases(); i < cases; i++) judge(draws[d](&rng));
}
#define MATH_OVER(judge, ...)                                                                  \
    math_over((const math_draw[]){__VA_ARGS__},                                                \
              sizeof((const math_draw[]){__VA_ARGS__}) / sizeof(math_draw), judge)

/* ---- log2 ---------------------------------------------------------------------------- */

static void judge_log2(double x)
{
    math_near("log2", x, attn__log2(x), log2l((long double)x), log2_bound);
}

static void log2_is_near(void **state)
{
    (void)state;
    MATH_OVER(judge_log2, draw_positive, draw_denormal, draw_octaves, draw_near_1);
    judge_log2(DBL_MAX);
    judge_log2(nextafter(1, 0));
    judge_log2(nextafter(1, 2));
    for (double x = 0x1.6a09e667f3bc0p-1; x < 0x1.6a09e667f3bdfp-1; x = nextafter(x, 1)) {
        judge_log2(x); /* both sides of the cut at sqrt 1/2 */
        judge_log2(2 * x);
    }
}

static void log2_of_powers_is_exact(void **state)
{
    (void)state;
    for (int k = -1074; k <= 1023; k++) math_is(attn__log2(ldexp(1, k)), k);
}

static void log2_specials(void **state)
{
    (void)state;
    const double inf = (double)INFINITY;
    math_is(attn__log2(0.0), -inf);
    math_is(attn__log2(-0.0), -inf);
    math_is(attn__log2(inf), inf);
    const double none[] = {(double)NAN, -1, -inf, -DBL_MIN, -0x1p-1074};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        assert_true(isnan(attn__log2(none[i])));
}

/* ---- exp2 ---------------------------------------------------------------------------- */

static void judge_exp2(double x)
{
    math_near("exp2", x, attn__exp2(x), exp2l((long double)x), exp2_bound);
}

static void exp2_is_near(void **state)
{
    (void)state;
    MATH_OVER(judge_exp2, draw_exponent, draw_small, draw_tiny);
    for (int k = -1020; k < 1024; k++) { /* both sides of the cut at a half */
        judge_exp2(k + 0.5);
        judge_exp2(nextafter(k + 0.5, k));
        judge_exp2(nextafter(k + 0.5, k + 1));
    }
    judge_exp2(nextafter(1024, 0));
}

static void exp2_of_integers_is_exact(void **state)
{
    (void)state;
    for (int k = -1021; k <= 1023; k++) math_is(attn__exp2(k), ldexp(1, k));
}

static void exp2_specials(void **state)
{
    (void)state;
    const double inf = (double)INFINITY;
    math_is(attn__exp2(0.0), 1);
    math_is(attn__exp2(-0.0), 1);
    math_is(attn__exp2(0x1p-1074), 1);
    math_is(attn__exp2(nextafter(-1021, -1022)), 0);
    math_is(attn__exp2(-DBL_MAX), 0);
    math_is(attn__exp2(-inf), 0);
    math_is(attn__exp2(1024), inf);
    math_is(attn__exp2(DBL_MAX), inf);
    math_is(attn__exp2(inf), inf);
    assert_true(isnan(attn__exp2((double)NAN)));
}

/* ---- sincos -------------------------------------------------------------------------- */

static void judge_sincos(double x)
{
    double s, c, s_back, c_back;
    attn__sincos(x, &s, &c);
    math_near("sin", x, s, sinl((long double)x), sincos_bound);
    math_near("cos", x, c, cosl((long double)x), sincos_bound);
    attn__sincos(-x, &s_back, &c_back);
    math_is(s_back, -s);
    math_is(c_back, c);
}

static void sincos_is_near(void **state)
{
    (void)state;
    MATH_OVER(judge_sincos, draw_angle, draw_quarter, draw_small, draw_tiny);
    for (int k = 0; k <= 31; k++) {
        judge_sincos(ldexp(1, k));
        judge_sincos(nextafter(ldexp(1, k), 0));
    }
}

static void sincos_specials(void **state)
{
    (void)state;
    const double inf = (double)INFINITY, none[] = {inf, -inf, (double)NAN};
    double s, c;
    attn__sincos(0.0, &s, &c);
    math_is(s, 0);
    math_is(c, 1);
    attn__sincos(0x1p-1074, &s, &c);
    math_is(s, 0x1p-1074);
    math_is(c, 1);
    for (size_t i = 0; i < 3; i++) {
        attn__sincos(none[i], &s, &c);
        assert_true(isnan(s) && isnan(c));
    }
}

/* Beyond its range it knows no angle any more, but still a point of the circle. */
static void sincos_of_huge_is_finite(void **state)
{
    (void)state;
    test_rng rng = test_rng_make(92);
    for (int i = 0; i < 10000; i++) {
        double s, c, x = math_symmetric(&rng, 1) * exp2((double)test_rng_range(&rng, 31, 1023));
        attn__sincos(x, &s, &c);
        if (!(fabs(s * s + c * c - 1) < 0x1p-50)) fail_msg("(%a, %a) at %a", s, c, x);
    }
}

/* ---- root_power ---------------------------------------------------------------------- */

static void judge_root(double base, int64_t t, int64_t n)
{
    long double want = powl((long double)base, -(long double)t / (long double)n);
    double error = math_error(attn__root_power(base, t, n), want);
    if (!(error <= root_bound))
        fail_msg("%g^(-%d/%d) is off by %g ulp", base, (int)t, (int)n, error);
}

static void judge_base(double base, int64_t n_max)
{
    for (int64_t n = 1; n <= n_max; n += n < 130 ? 1 : 61)
        for (int64_t t = 0; t < n; t++) judge_root(base, t, n);
}

static void root_is_near(void **state)
{
    (void)state;
    math_need_reference();
    const int64_t n_max = math_cases() < 1000 ? 40 : 520;
    static const double bases[] = {1e4, 5e5, 1e6, 1.5, 1.0000001, 0.5, 1e-4, 1e12};
    for (size_t i = 0; i < sizeof bases / sizeof bases[0]; i++) judge_base(bases[i], n_max);
    for (int base = 2; base <= 64; base++) judge_base(base, n_max / 4);
}

static void root_of_powers_is_exact(void **state)
{
    (void)state;
    for (int n = 1; n <= 512; n++)
        for (int t = 0; t < n; t++) {
            math_is(attn__root_power(ldexp(1, n), t, n), ldexp(1, -t));
            math_is(attn__root_power(1, t, n), 1);
        }
    for (int base = 2; base <= 1000; base++) math_is(attn__root_power(base, 0, 7), 1);
    for (int root = 2; root <= 1000; root++)
        math_is(attn__root_power((double)root * root, 1, 2), 1.0 / root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log2_is_near),
        cmocka_unit_test(log2_of_powers_is_exact),
        cmocka_unit_test(log2_specials),
        cmocka_unit_test(exp2_is_near),
        cmocka_unit_test(exp2_of_integers_is_exact),
        cmocka_unit_test(exp2_specials),
        cmocka_unit_test(sincos_is_near),
        cmocka_unit_test(sincos_specials),
        cmocka_unit_test(sincos_of_huge_is_finite),
        cmocka_unit_test(root_is_near),
        cmocka_unit_test(root_of_powers_is_exact),
    };
    return cmocka_run_group_tests_name("math", tests, NULL, NULL);
}
