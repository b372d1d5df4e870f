/* SPDX-License-Identifier: MIT
 * The oracle's gradients and tangents against numerical derivatives of its own forward pass, in
 * doubles: (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h. The library is not asked. What later
 * judges attn_backward and attn_jvp is right because of this.
 *
 * Each option of support/options.def that has to do with values is forced in turn, so an option
 * without a derivative cannot be added unnoticed; then everything is mixed.
 *
 *   ATTN_CASES=n   mixed cases (400)     ATTN_SEED=s   the first seed     ATTN_LONG=1  20 times
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "support/support.h"

/* Options about types, layouts and threads; outputs without gradient; scores so far apart that
 * no difference quotient follows them. */
static const uint64_t not_values =
    TEST_OPTION(LAYOUT) | TEST_OPTION(DTYPES) | TEST_OPTION(F64) | TEST_OPTION(RANK) |
    TEST_OPTION(LSE) | TEST_OPTION(WEIGHTS) | TEST_OPTION(SCORES) | TEST_OPTION(POISON) |
    TEST_OPTION(THREADS) | TEST_OPTION(LARGE);

static void numeric_fail(const test_case *c, const char *what, double got, double want)
{
    test_case_print(stderr, c);
    fail_msg("%s: numerically %.12g, the oracle says %.12g (ATTN_SEED=0x%llx)", what, want, got,
             (unsigned long long)c->seed);
}

/* Within a millionth; a derivative that cancels, within 1e-9 of what cancelled; and within what
 * the quotient itself cannot tell. */
static void numeric_near(const test_case *c, const char *what, const oracle_sum *x, double want,
                         double noise)
{
    double got = (double)x->value, bound = 1e-6 * fabs(want) + 1e-9 * (double)x->mass + noise;
    if (!(fabs(got - want) <= bound)) numeric_fail(c, what, got, want);
}

/* ---- the case in doubles ---------------------------------------------------------------- */

static bool numeric_is_float(const attn_tensor *t)
{
    return t->dtype >= ATTN_DTYPE_F64 && t->dtype <= ATTN_DTYPE_F16;
}

/* Centres off the grid on which their windows gain and lose keys. */
static void numeric_move_centers(const attn_tensor *center)
{
    int64_t index[ATTN_MAX_RANK] = {0};
    if (!center->dtype || test_tensor_empty(center)) return;
    do test_put(center, index, test_get(center, index) + 0.11);
    while (test_index_next(center, index));
}

static void numeric_widen(test_case *c)
{
#define TENSOR(name, kind)                                                                     \
    if (numeric_is_float(&c->args.name) && kind != 'o')                                        \
        c->args.name = test_tensor_dense(&c->arena, c->args.name, ATTN_DTYPE_F64);
#include "support/tensors.def"
#undef TENSOR
    numeric_move_centers(&c->args.center);
}

/* ---- gradients -------------------------------------------------------------------------- */

/* sum d_out out + sum d_lse lse; rows without a key have neither. *mass: of the magnitudes. */
static double numeric_loss(const test_case *c, double *mass)
{
    oracle_result r;
    *mass = 0;
    const double *d_out = c->args.d_out.data, *d_lse = c->args.d_lse.data;
    double sum = 0;
    assert_true(oracle_attention(&r, &c->spec, &c->args, ORACLE_FLIP_NONE));
    for (int64_t row = 0; row < r.B * r.H * r.T; row++) {
        const double lse = d_lse && !isinf(r.lse[row]) ? d_lse[row] * r.lse[row] : 0;
        sum += lse;
        *mass += fabs(lse);
        for (int64_t e = 0; e < r.E && d_out; e++) {
            const double term = d_out[row * r.E + e] * r.out[row * r.E + e];
            sum += term;
            *mass += fabs(term);
        }
    }
    oracle_free(&r);
    return sum;
}

/* x += step * direction; what is -inf stays so. */
static void numeric_move(double *x, const double *direction, int64_t n, double step)
{
    for (int64_t i = 0; i < n; i++) x[i] += step * direction[i];
}

/* The derivative of the loss along a direction in one operand. Results, products and sums are
 * doubles: *noise is what three roundings of every term come to behind the division by h. */
static double numeric_along(const test_case *c, const attn_tensor *t, const double *direction,
                            double h, double *noise)
{
    static const double at[4] = {1, -1, 2, -2}, factor[4] = {8, -8, -1, 1};
    int64_t n = attn_tensor_count(*t);
    double sum = 0, mass, *x = t->data;
    test_arena arena = {0};
    *noise = 0;
    double *kept = test_alloc(&arena, (size_t)n * sizeof *kept);
    for (int64_t i = 0; i < n; i++) kept[i] = x[i];
    for (int i = 0; i < 4; i++) {
        numeric_move(x, direction, n, at[i] * h);
        sum += factor[i] * numeric_loss(c, &mass);
        *noise += 3 * 0x1p-53 * fabs(factor[i]) * mass / (12 * h);
        for (int64_t k = 0; k < n; k++) x[k] = kept[k];
    }
    test_arena_reset(&arena);
    return sum / (12 * h);
}

/* A slope of alibi is multiplied by distances. */
static double numeric_step(const test_case *c, oracle_grad g)
{
    double far = 1;
    for (int64_t n = 0; n < c->n_seq && g == ORACLE_GRAD_alibi; n++)
        far = fmax(far, (double)(llabs(c->span[n].offset) + c->span[n].T + c->span[n].S));
    return 0x1p-9 / far;
}

/* Random directions of length 1, the first ones along a single element. */
static void numeric_direction(test_rng *rng, double *direction, int64_t n, bool single)
{
    double norm = 0;
    for (int64_t i = 0; i < n; i++) {
        direction[i] = single ? 0 : test_rng_normal(rng);
        norm += direction[i] * direction[i];
    }
    for (int64_t i = 0; i < n && !single; i++) direction[i] /= sqrt(norm);
    if (single) direction[test_rng_range(rng, 0, n - 1)] = 1;
}

static void numeric_check_operand(const test_case *c, oracle_grad g, const oracle_sums *truth,
                                  test_rng *rng)
{
    enum { SINGLE = 4, DIRECTIONS = 6 };
    const attn_tensor *t = test_grad_operand(&c->args, g);
    int64_t n = attn_tensor_count(*t);
    test_arena arena = {0};
    double *direction = test_alloc(&arena, (size_t)n * sizeof *direction);
    for (int i = 0; i < DIRECTIONS && n > 0; i++) {
        oracle_sum along = {0};
        numeric_direction(rng, direction, n, i < SINGLE);
        for (int64_t k = 0; k < n; k++) {
            along.value += truth->x[k].value * (long double)direction[k];
            along.mass += truth->x[k].mass * fabsl((long double)direction[k]);
        }
        double noise, want = numeric_along(c, t, direction, numeric_step(c, g), &noise);
        numeric_near(c, test_grad_name(g), &along, want, noise);
    }
    test_arena_reset(&arena);
}

/* Returns the options that were really on. */
static uint64_t numeric_gradients(uint64_t seed, const test_profile *profile)
{
    test_case c;
    oracle_grads g;
    test_rng rng = test_rng_make(~seed);
    test_grad_draw(&c, seed, profile);
    numeric_widen(&c);
    assert_true(oracle_backward(&g, &c.spec, &c.args, false, ORACLE_GRAD_FLIP_NONE));
    for (int i = 0; i < ORACLE_N_GRADS; i++)
        if (g.of[i].x) numeric_check_operand(&c, (oracle_grad)i, &g.of[i], &rng);
    uint64_t on = c.options;
    oracle_grads_free(&g);
    test_case_free(&c);
    return on;
}

/* ---- tangents --------------------------------------------------------------------------- */

static void numeric_shift(const attn_tensor *x, const attn_tensor *tangent, double step)
{
    if (tangent->dtype) numeric_move(x->data, tangent->data, attn_tensor_count(*x), step);
}

/* The call a step along its tangents further; r as the oracle sees it there. */
static void numeric_at(test_case *c, double step, oracle_result *r)
{
    attn_args moved = c->args;
    test_arena arena = {0};
    attn_tensor *operands[] = {&moved.q, &moved.k, &moved.v, &moved.bias_pre, &moved.bias};
    const attn_tensor *tangents[] = {&moved.t_q, &moved.t_k, &moved.t_v, &moved.t_bias_pre,
                                     &moved.t_bias};
    for (int i = 0; i < 5; i++) {
        if (!operands[i]->dtype) continue;
        *operands[i] = test_tensor_dense(&arena, *operands[i], ATTN_DTYPE_F64);
        numeric_shift(operands[i], tangents[i], step);
    }
    assert_true(oracle_attention(r, &c->spec, &moved, ORACLE_FLIP_NONE));
    test_arena_reset(&arena);
}

static double numeric_quotient(const double *const f[4], int64_t i, double h)
{
    return (8 * (f[0][i] - f[1][i]) - (f[2][i] - f[3][i])) / (12 * h);
}

static void numeric_check_tangents(test_case *c, const oracle_tangents *t)
{
    const double h = 0x1p-11, at[4] = {h, -h, 2 * h, -2 * h};
    oracle_result r[4];
    for (int i = 0; i < 4; i++) numeric_at(c, at[i], &r[i]);
    const double *out[4] = {r[0].out, r[1].out, r[2].out, r[3].out};
    const double *lse[4] = {r[0].lse, r[1].lse, r[2].lse, r[3].lse};
    for (int64_t i = 0; i < t->out.n; i++)
        numeric_near(c, "t_out", &t->out.x[i], numeric_quotient(out, i, h), 1e-12);
    for (int64_t i = 0; i < t->lse.n; i++)
        if (!isinf(r[0].lse[i]))
            numeric_near(c, "t_lse", &t->lse.x[i], numeric_quotient(lse, i, h), 1e-12);
    for (int i = 0; i < 4; i++) oracle_free(&r[i]);
}

static uint64_t numeric_tangents(uint64_t seed, const test_profile *profile)
{
    test_case c;
    oracle_tangents t;
    test_jvp_draw(&c, seed, profile);
    numeric_widen(&c);
    assert_true(oracle_jvp(&t, &c.spec, &c.args, ORACLE_GRAD_FLIP_NONE));
    numeric_check_tangents(&c, &t);
    uint64_t on = c.options;
    oracle_tangents_free(&t);
    test_case_free(&c);
    return on;
}

/* ---- tests ------------------------------------------------------------------------------ */

typedef uint64_t (*numeric_test)(uint64_t seed, const test_profile *profile);

/* What an option needs beside itself. */
static uint64_t numeric_with(uint64_t option)
{
    const uint64_t rope = TEST_OPTION(ROPE_TABLE) | TEST_OPTION(POSITIONS);
    if (option & TEST_OPTION(PREFIX)) option |= TEST_OPTION(CAUSAL);
    if (option & rope) option |= TEST_OPTION(ROPE);
    if (option & TEST_OPTION(CLASSIFY)) option |= TEST_OPTION(TILE);
    return option;
}

static void numeric_each_option(numeric_test one)
{
    uint64_t seed = (uint64_t)test_env_int("ATTN_SEED", 60000011);
    for (int option = 0; option < TEST_N_OPTIONS; option++) {
        uint64_t bit = (uint64_t)1 << option, on = 0;
        test_profile profile = {
            .pairs = 60, .allow = TEST_ALL_OPTIONS & ~not_values, .force = numeric_with(bit)};
        if (bit & not_values) continue;
        for (int64_t i = 0, n = test_env_share(12); i < n || (i < 40 && !(on & bit)); i++)
            on |= one(seed + (uint64_t)(option * 1000 + i), &profile);
        if (!(on & bit)) fail_msg("option %d was never on", option);
    }
}

static void numeric_mixed(numeric_test one)
{
    int64_t n = test_env_share(test_env_int("ATTN_CASES", 400)) * (test_env_long() ? 20 : 1);
    uint64_t seed = (uint64_t)test_env_int("ATTN_SEED", 70000027);
    test_profile profile = {.pairs = 120, .allow = TEST_ALL_OPTIONS & ~not_values};
    for (int64_t i = 0; i < n; i++) one(seed + (uint64_t)i, &profile);
}

static void gradients_of_each_option(void **state)
{
    (void)state;
    numeric_each_option(numeric_gradients);
}

static void gradients_mixed(void **state)
{
    (void)state;
    numeric_mixed(numeric_gradients);
}

static void tangents_of_each_option(void **state)
{
    (void)state;
    numeric_each_option(numeric_tangents);
}

static void tangents_mixed(void **state)
{
    (void)state;
    numeric_mixed(numeric_tangents);
}

/* ---- transposes ------------------------------------------------------------------------- */

static long double transpose_dot(const attn_tensor *t, const oracle_sums *s)
{
    const double *x = t->data;
    long double sum = 0;
    for (int64_t i = 0; t->dtype && i < s->n; i++) sum += s->x[i].value * (long double)x[i];
    return sum;
}

/* <jvp(x), y> = <x, vjp(y)>: two programs that share no line of their mathematics. */
static void tangents_are_transposed_gradients(void **state)
{
    test_profile profile = {.pairs = 200, .allow = TEST_ALL_OPTIONS & ~not_values};
    (void)state;
    for (uint64_t seed = 1; seed <= (uint64_t)test_env_share(300); seed++) {
        test_case c;
        oracle_tangents t;
        oracle_grads g;
        test_rng rng = test_rng_make(seed);
        test_jvp_draw(&c, seed, &profile);
        numeric_widen(&c);
        assert_true(oracle_jvp(&t, &c.spec, &c.args, ORACLE_GRAD_FLIP_NONE));
        c.args.d_out = test_tensor(&c.arena, ATTN_DTYPE_F64, 4, t.out.shape);
        c.args.d_lse = test_tensor(&c.arena, ATTN_DTYPE_F64, 3, t.lse.shape);
        test_fill_normal(&c.args.d_out, &rng, 1);
        test_fill_normal(&c.args.d_lse, &rng, 1);
        assert_true(oracle_backward(&g, &c.spec, &c.args, false, ORACLE_GRAD_FLIP_NONE));
        long double forward =
            transpose_dot(&c.args.d_out, &t.out) + transpose_dot(&c.args.d_lse, &t.lse);
        long double backward = transpose_dot(&c.args.t_q, &g.of[ORACLE_GRAD_q]) +
                               transpose_dot(&c.args.t_k, &g.of[ORACLE_GRAD_k]) +
                               transpose_dot(&c.args.t_v, &g.of[ORACLE_GRAD_v]) +
                               transpose_dot(&c.args.t_bias_pre, &g.of[ORACLE_GRAD_bias_pre]) +
                               transpose_dot(&c.args.t_bias, &g.of[ORACLE_GRAD_bias]);
        long double size = sqrtl((long double)(t.out.n + t.lse.n)) + fabsl(forward);
        if (fabsl(forward - backward) > 1e-12L * size)
            numeric_fail(&c, "jvp against vjp", (double)forward, (double)backward);
        oracle_tangents_free(&t);
        oracle_grads_free(&g);
        test_case_free(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_of_each_option),
        cmocka_unit_test(tangents_of_each_option),
        cmocka_unit_test(gradients_mixed),
        cmocka_unit_test(tangents_mixed),
        cmocka_unit_test(tangents_are_transposed_gradients),
    };
    return cmocka_run_group_tests_name("oracle_grad", tests, NULL, NULL);
}
