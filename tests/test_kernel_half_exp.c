/* SPDX-License-Identifier: MIT
 * Weights of the half mode against section 17 of docs/numerics.md in plain loops, where this machine
 * has the kernels: parts of a block as scores become weights, and whole blocks as they become what
 * is rounded. The same bits, in guarded memory. */
#include "half_case.h"

/* 2^x for x <= 0 by section 17 of docs/numerics.md. */
static float half_exp2(float x)
{
    static const float terms[] = {0x1.62e12cp-1f, 0x1.ec0378p-3f, 0x1.c9fc46p-5f,
                                  0x1.3a02ccp-7f};
    if (x < -125) return 0;
    const float n = nearbyintf(x), f = x - n;
    float p = terms[3];
    for (int i = 2; i >= 0; i--) p = fmaf(p, f, terms[i]);
    return ldexpf(fmaf(p, f, 1), (int)n);
}

/* Maxima of lanes, sums as the kernel leaves them, and as they are to be. */
typedef struct half_made {
    float *m, *l, *sum, *most;
    float want_l[ATTN__PANEL], want_sum[ATTN__PANEL], want_most[ATTN__PANEL];
} half_made;

static half_made half_make(kernel_case *c, int slot, int w)
{
    half_made made = {half_floats(c, slot, w, 0, 3), half_floats(c, slot + 1, w, 0, 9),
                      half_floats(c, slot + 2, w, 0, 1), half_floats(c, slot + 3, w, 0, 1)};
    for (int x = 0; x < w; x++) {
        if (test_rng_chance(&c->rng, 3)) made.m[x] = -INFINITY;
        made.want_l[x] = made.l[x];
        made.want_sum[x] = made.sum[x];
        made.want_most[x] = made.most[x];
    }
    return made;
}

/* Scores up to the largest, which may be -inf. */
static void half_scores_below(kernel_case *c, const matrix *s, const half_made *made,
                              double coef, double spread)
{
    for (int i = 0; i < s->rows * s->cols; i++) {
        const double below = fabs(test_rng_normal(&c->rng)) * spread;
        const bool least = test_rng_chance(&c->rng, 3);
        const double x = ((double)made->m[i % s->cols] - below) / coef;
        matrix_put(s, i / s->cols, i % s->cols, least ? -(double)INFINITY : x);
    }
}

static void half_expect_made(const kernel_case *c, const half_made *made, int w)
{
    half_expect_floats(c, "sum of weights", made->l, made->want_l, w);
    half_expect_floats(c, "sum for weigh", made->sum, made->want_sum, w);
    half_expect_floats(c, "most for weigh", made->most, made->want_most, w);
}

/* Lane x of it by plain loops; s gets the weights. */
static void half_weights_of(const matrix *s, int x, int first, double coef,
                            const uint64_t *allowed, const float *unit, half_made *made)
{
    float total = 0, part[4] = {0};
    const float top = made->m[x] < -FLT_MAX ? 0 : made->m[x];
    for (int j = 0; j < s->rows; j++) {
        const bool on = !allowed || (allowed[j] >> x & 1);
        const float p = half_exp2((float)matrix_get(s, j, x) * (float)coef - top);
        matrix_put(s, j, x, on ? (double)p : -0.0);
        if (!on) continue;
        const float y = p * unit[first + j];
        total += p;
        part[(first + j) % 4] += y;
        if (y > made->want_most[x]) made->want_most[x] = y;
    }
    made->want_l[x] += total;
    made->want_sum[x] += (part[0] + part[1]) + (part[2] + part[3]);
}

/* All keys of a block or some, all allowed or not. */
static void exponential(kernel_case *c)
{
    const int w = kernel_width(c);
    const double coef = fabs(test_rng_normal(&c->rng));
    const bool whole = test_rng_chance(&c->rng, 40);
    const int first = whole ? 0 : (int)test_rng_range(&c->rng, 0, 63);
    const int n = whole ? 64 : (int)test_rng_range(&c->rng, 1, 64 - first);
    if (!half_of(c)) return;
    float *unit = half_floats(c, 0, ATTN__BLOCK, 0, 1);
    uint64_t *bits = memory_place(1, c->side, (size_t)n * sizeof *bits);
    const uint64_t *allowed = test_rng_chance(&c->rng, 50) ? bits : NULL;
    for (int j = 0; j < n; j++) bits[j] = test_rng_next(&c->rng) | test_rng_next(&c->rng);
    matrix s = matrix_make(c, 2, n, w, w), same = matrix_make(c, 3, n, w, w);
    half_made made = half_make(c, 4, w);
    half_scores_below(c, &s, &made, coef, 9);
    matrix_load(&same, matrix_copy(c, &s));
    for (int x = 0; x < w; x++) half_weights_of(&same, x, first, coef, allowed, unit, &made);
    half_of(c)->exp(first, n, w, coef, s.p, allowed, unit, made.m, made.l, made.sum, made.most);
    kernel_expect_all(c, "half exp", &s, matrix_copy(c, &same));
    half_expect_made(c, &made, w);
}

/* Both halves of a block, as exp has them one after the other, but for s. */
static void exponential_block(kernel_case *c)
{
    enum { N = ATTN__HALF_BLOCK };
    const int w = kernel_width(c);
    const double coef = fabs(test_rng_normal(&c->rng));
    if (!half_of(c)) return;
    float *unit = half_floats(c, 0, N, 0, 1);
    matrix s = matrix_make(c, 1, N, w, w), same = matrix_make(c, 2, N, w, w);
    half_made made = half_make(c, 3, w);
    half_scores_below(c, &s, &made, coef, 40);
    matrix_load(&same, matrix_copy(c, &s));
    float *weights = (float *)(void *)same.p;
    for (int half = 0; half < N; half += ATTN__BLOCK)
        half_of(c)->exp(0, ATTN__BLOCK, w, coef, weights + half * w, NULL, unit + half, made.m,
                        made.want_l, made.want_sum, made.want_most);
    for (int i = 0; i < N * w; i++) weights[i] *= unit[i / w];
    half_of(c)->exp_block(w, coef, s.p, unit, made.m, made.l, made.sum, made.most);
    kernel_expect_all(c, "half exp of a block", &s, matrix_copy(c, &same));
    half_expect_made(c, &made, w);
}

KERNEL_TEST(exponential)
KERNEL_TEST(exponential_block)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exponential_agrees),
        cmocka_unit_test(exponential_block_agrees),
    };
    return cmocka_run_group_tests_name("kernel_half_exp", tests, memory_begin, memory_end);
}
