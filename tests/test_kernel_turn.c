/* SPDX-License-Identifier: MIT
 * Rotations: cosines and sines of a position, against those of one angle at a time, and pairs of
 * a row that turn, against their definition in doubles: halves and neighbours, rounded to the
 * nearest real or to the odd one. Rows and angles lie against guard pages. */
#include "kernel_case.h"

/* Of the two reals around u the one whose last bit is 1; u itself where it is a real. */
static double turn_odd(const kernel_case *c, double u)
{
    float y = (float)u;
    uint32_t bits;
    memcpy(&bits, &y, sizeof bits);
    if (!real_is_f32(c) || isnan(u) || (double)y == u || bits % 2) return real_round(c, u);
    return (double)nextafterf(y, (double)y < u ? INFINITY : -INFINITY);
}

/* A cosine and a sine, or in wild cases any two numbers. */
static double *turn_angles(kernel_case *c, int64_t n)
{
    double *angle = memory_place(1, c->side, (size_t)(2 * n) * sizeof *angle);
    for (int64_t t = 0; t < n; t++) {
        const double at = 3 * test_rng_normal(&c->rng);
        angle[t] = c->wild ? real_draw(c) : cos(at);
        angle[n + t] = c->wild ? real_draw(c) : sin(at);
    }
    return angle;
}

static void turn(kernel_case *c)
{
    const bool odd = test_rng_chance(&c->rng, 50), neighbours = test_rng_chance(&c->rng, 50);
    const int64_t n = kernel_size(c, 0), gap = neighbours ? 0 : test_rng_range(&c->rng, 0, 3);
    const int64_t apart = neighbours ? 1 : n + gap, step = apart == 1 ? 2 : 1;
    const matrix row = matrix_make(c, 0, 1, 2 * n + gap, 2 * n + gap);
    const double *angle = turn_angles(c, n);
    matrix_fill(c, &row);
    double *want = matrix_copy(c, &row);
    for (int64_t t = 0; t < n; t++) {
        double *x = &want[t * step], *y = x + apart;
        const double u = *x * angle[t] - *y * angle[n + t];
        const double v = *y * angle[t] + *x * angle[n + t];
        *x = odd ? turn_odd(c, u) : real_round(c, u);
        *y = odd ? turn_odd(c, v) : real_round(c, v);
    }
    c->k->turn(n, angle, angle + n, apart, odd, row.p);
    kernel_expect_all(c, "turn", &row, want);
    for (int64_t t = 0; t < n; t++) {
        const double x = matrix_get(&row, 0, t * step), nan = (double)NAN;
        if (isnan(x) && memcmp(&x, &nan, sizeof x) != 0)
            kernel_fail(c, "the one NaN of turn", 0, t * step, x, nan);
    }
}

/* Any position, as far as an angle goes and beyond. */
static void sincos_position(kernel_case *c)
{
    const int64_t n = kernel_size(c, 0);
    double *theta = memory_place(0, c->side, (size_t)n * sizeof *theta);
    double *angle = memory_place(1, c->side, (size_t)(2 * n) * sizeof *angle);
    double m = (double)test_rng_range(&c->rng, -100000, 100000);
    if (c->wild) m = ldexp(m, (int)test_rng_range(&c->rng, -30, 40));
    for (int64_t t = 0; t < n; t++) theta[t] = exp2(-13.0 * (double)t / (double)n);
    if (c->wild && n > 0 && test_rng_chance(&c->rng, 20)) theta[n - 1] = (double)INFINITY;
    c->k->sincos(n, m, theta, angle, angle + n);
    for (int64_t t = 0; t < n; t++) {
        double cosine, sine;
        attn__sincos(m * theta[t], &sine, &cosine);
        if (!real_same(angle[t], cosine)) kernel_fail(c, "cosine", 0, t, angle[t], cosine);
        if (!real_same(angle[n + t], sine)) kernel_fail(c, "sine", 0, t, angle[n + t], sine);
    }
}

KERNEL_TEST(sincos_position)
KERNEL_TEST(turn)

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sincos_position_agrees),
                                       cmocka_unit_test(turn_agrees)};
    return cmocka_run_group_tests_name("kernel_turn", tests, memory_begin, memory_end);
}
