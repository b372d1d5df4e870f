/* SPDX-License-Identifier: MIT
 * attn_jvp: random directions over all options against the oracle's tangents, within derived
 * bounds (support/compare_grad.c); against attn_backward as its transpose; the same bits
 * however it is asked; and out and lse, when asked for as well, those of attn_forward.
 *
 *   ATTN_CASES=n  cases (6000)  ATTN_SEED=s  ATTN_LONG=1  twenty times as many  ATTN_SHARE=n
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "support/support.h"

static test_contexts contexts;

static int64_t jvp_cases(void)
{
    return test_env_share(test_env_int("ATTN_CASES", 6000)) * (test_env_long() ? 20 : 1);
}

static uint64_t jvp_seed(void)
{
    return (uint64_t)test_env_int("ATTN_SEED", 8000000011);
}

static attn_ctx *jvp_ctx(int64_t isa, int threads)
{
    return test_contexts_get(&contexts, contexts.usable[isa % contexts.n_usable], threads);
}

static void jvp_fail(const test_case *c, const char *what)
{
    test_case_print(stderr, c);
    fail_msg("%s (ATTN_SEED=0x%llx ATTN_CASES=1 test_jvp)", what, (unsigned long long)c->seed);
}

static void jvp_run(attn_ctx *ctx, const test_case *c, const attn_args *args)
{
    attn_error error = {0};
    char text[200];
    if (attn_jvp(ctx, &c->spec, args, &error) == ATTN_OK) return;
    attn_error_text(&error, text, sizeof text);
    jvp_fail(c, text);
}

/* ---- against the oracle ----------------------------------------------------------------- */

static void jvp_compare(test_case *c, oracle_grad_flip flip, test_report *report)
{
    oracle_tangents t;
    test_grad_poison(c);
    jvp_run(jvp_ctx(c->isa_choice, c->threads), c, &c->args);
    assert_true(oracle_jvp(&t, &c->spec, &c->args, flip));
    test_compare_tangents(report, &c->args, &t);
    oracle_tangents_free(&t);
}

static void jvp_random(void **state)
{
    test_profile profile = {0};
    double worst = 0, start = test_now();
    int64_t n = jvp_cases();
    (void)state;
    for (int64_t i = 0; i < n; i++) {
        test_case c;
        test_report report = {0};
        test_jvp_draw(&c, jvp_seed() + (uint64_t)i, &profile);
        jvp_compare(&c, ORACLE_GRAD_FLIP_NONE, &report);
        if (report.violations) jvp_fail(&c, report.text);
        if (report.worst > worst) worst = report.worst;
        test_case_free(&c);
    }
    print_message("# %lld cases, worst error %.3f of its bound, %.1f s\n", (long long)n, worst,
                  test_now() - start);
}

typedef struct jvp_flip {
    oracle_grad_flip flip;
    uint64_t options;
} jvp_flip;

static void jvp_flips_are_noticed(void **state)
{
    static const jvp_flip flips[] = {
        {ORACLE_GRAD_FLIP_TANGENT_LSE, 0},
        {ORACLE_GRAD_FLIP_TANGENT_K, 0},
        {ORACLE_GRAD_FLIP_TANGENT_V, 0},
        {ORACLE_GRAD_FLIP_SOFTCAP, TEST_OPTION(SOFTCAP)},
        {ORACLE_GRAD_FLIP_TILE, TEST_OPTION(TILE)},
    };
    (void)state;
    for (size_t f = 0; f < sizeof flips / sizeof flips[0]; f++) {
        test_profile profile = {.allow = flips[f].options | TEST_OPTION(OFFSET),
                                .force = flips[f].options};
        int noticed = 0;
        for (uint64_t i = 0; i < 30; i++) {
            test_case c;
            test_report report = {0};
            test_jvp_draw(&c, f * 1000 + i, &profile);
            jvp_compare(&c, flips[f].flip, &report);
            noticed += report.violations > 0;
            test_case_free(&c);
        }
        if (noticed < 3) fail_msg("mistake %d noticed by %d of 30 cases", (int)f, noticed);
    }
}

/* ---- out and lse ------------------------------------------------------------------------ */

static void jvp_leaves_forward(void **state)
{
    test_profile profile = {.allow = TEST_ALL_OPTIONS & ~TEST_OPTION(POISON)};
    (void)state;
    for (int64_t i = 0; i < jvp_cases() / 4 + 1; i++) {
        test_case c;
        const char *what = "";
        test_jvp_draw(&c, jvp_seed() + (uint64_t)i, &profile);
        jvp_run(jvp_ctx(i, 1), &c, &c.args);
        attn_args other = test_outputs_fresh(&c.arena, &c.args);
        if (c.args.out.dtype || c.args.lse.dtype) {
            assert_int_equal(attn_forward(jvp_ctx(i, 1), &c.spec, &other, NULL), ATTN_OK);
            if (!test_outputs_same(&c.args, &other, &what)) jvp_fail(&c, what);
        }
        test_case_free(&c);
    }
}

/* ---- the transpose ---------------------------------------------------------------------- */

static double jvp_dot(const attn_tensor *a, const attn_tensor *b, double *size)
{
    int64_t index[ATTN_MAX_RANK] = {0};
    double sum = 0, squares_a = 0, squares_b = 0;
    if (!a->dtype || !b->dtype || test_tensor_empty(a)) return 0;
    do {
        double x = test_get(a, index), y = test_get(b, index);
        sum += x * y;
        squares_a += x * x;
        squares_b += y * y;
    } while (test_index_next(a, index));
    *size += sqrt(squares_a * squares_b);
    return sum;
}

/* Gradients for y = (d_out, d_lse), in f32, of everything that has a tangent. */
static void jvp_ask_gradients(test_case *c, test_rng *rng)
{
    attn_args *a = &c->args;
    const struct {
        const attn_tensor *tangent;
        attn_tensor *grad;
    } pairs[] = {{&a->t_q, &a->d_q},
                 {&a->t_k, &a->d_k},
                 {&a->t_v, &a->d_v},
                 {&a->t_bias_pre, &a->d_bias_pre},
                 {&a->t_bias, &a->d_bias}};
    for (int i = 0; i < 5; i++)
        if (pairs[i].tangent->dtype)
            *pairs[i].grad = test_tensor(&c->arena, ATTN_DTYPE_F32, pairs[i].tangent->rank,
                                         pairs[i].tangent->shape);
    int64_t shape[ATTN_MAX_RANK];
    for (int i = 0; i < a->q.rank; i++) shape[i] = a->q.shape[i];
    shape[a->q.rank - 1] = a->v.shape[a->q.rank - 1];
    a->d_out = test_tensor(&c->arena, ATTN_DTYPE_F32, a->q.rank, shape);
    a->d_lse = test_tensor(&c->arena, ATTN_DTYPE_F32, a->q.rank - 1, shape);
    test_fill_normal(&a->d_out, rng, 1);
    test_fill_normal(&a->d_lse, rng, 1);
    a->out = test_tensor(&c->arena, ATTN_DTYPE_F32, a->q.rank, shape);
    a->lse = test_tensor(&c->arena, ATTN_DTYPE_F32, a->q.rank - 1, shape);
    a->t_out = test_tensor(&c->arena, ATTN_DTYPE_F32, a->q.rank, shape);
    a->t_lse = test_tensor(&c->arena, ATTN_DTYPE_F32, a->q.rank - 1, shape);
}

/* <jvp(x), y> = <x, vjp(y)>, to 1e-5 of the product of the norms. */
static void jvp_is_transposed_backward(void **state)
{
    const uint64_t no =
        TEST_OPTION(LARGE) | TEST_OPTION(DTYPES) | TEST_OPTION(F64) | TEST_OPTION(POISON);
    test_profile profile = {.allow = TEST_ALL_OPTIONS & ~no};
    (void)state;
    for (int64_t i = 0; i < jvp_cases() / 3 + 1; i++) {
        test_case c;
        uint64_t seed = jvp_seed() + (uint64_t)i;
        test_rng rng = test_rng_make(~seed);
        test_jvp_draw(&c, seed, &profile);
        jvp_ask_gradients(&c, &rng);
        attn_ctx *ctx = jvp_ctx(i, 1 + (int)(i % 3));
        jvp_run(ctx, &c, &c.args);
        if (attn_backward(ctx, &c.spec, &c.args, NULL) != ATTN_OK) jvp_fail(&c, "no backward");
        const attn_args *a = &c.args;
        double size = 1e-6;
        double forward = jvp_dot(&a->t_out, &a->d_out, &size);
        forward += jvp_dot(&a->t_lse, &a->d_lse, &size);
        double backward = jvp_dot(&a->t_q, &a->d_q, &size) + jvp_dot(&a->t_k, &a->d_k, &size) +
                          jvp_dot(&a->t_v, &a->d_v, &size) +
                          jvp_dot(&a->t_bias_pre, &a->d_bias_pre, &size) +
                          jvp_dot(&a->t_bias, &a->d_bias, &size);
        if (!(fabs(forward - backward) <= 1e-5 * size)) {
            fprintf(stderr, "%.9g and %.9g of %.9g\n", forward, backward, size);
            jvp_fail(&c, "<jvp(x), y> is not <x, vjp(y)>");
        }
        test_case_free(&c);
    }
}

/* ---- bits ------------------------------------------------------------------------------- */

static attn_args jvp_fresh(test_case *c)
{
    attn_args fresh = test_outputs_fresh(&c->arena, &c->args);
    return test_fresh(&c->arena, &fresh, 'T');
}

static void jvp_expect(const test_case *c, const attn_args *other, const char *how)
{
    const char *what = "";
    if (test_same(&c->args, other, 'T', &what) && test_outputs_same(&c->args, other, &what))
        return;
    fprintf(stderr, "%s differs\n", what);
    jvp_fail(c, how);
}

static void jvp_bits_one(test_case *c, bool many)
{
    static const int counts[] = {2, 3, 8, 17};
    int best = contexts.n_usable - 1;
    jvp_run(jvp_ctx(best, 1), c, &c->args);
    for (int i = 0; i < contexts.n_usable + 4; i++) {
        attn_args other = jvp_fresh(c);
        bool isa = i < contexts.n_usable;
        jvp_run(isa ? jvp_ctx(i, 1) : jvp_ctx(best, counts[i - contexts.n_usable]), c, &other);
        jvp_expect(c, &other, isa ? "on another instruction set" : "with more threads");
    }
    for (int i = 0; i < 250 && many; i++) {
        attn_args other = jvp_fresh(c);
        jvp_run(jvp_ctx(best, 1 + i % 5), c, &other);
        jvp_expect(c, &other, "again");
    }
    attn_args dense = test_args_dense(&c->arena, &c->args, false);
    jvp_run(jvp_ctx(best, 1), c, &dense);
    jvp_expect(c, &dense, "from dense tensors");
}

static void jvp_bits(void **state)
{
    test_profile small = {.allow = TEST_ALL_OPTIONS & ~TEST_OPTION(POISON)}, large = small;
    large.pairs = 20000;
    (void)state;
    for (int64_t i = 0, n = jvp_cases() / 10 + 1; i < n; i++) {
        test_case c;
        test_jvp_draw(&c, jvp_seed() + (uint64_t)i, i % 8 ? &small : &large);
        jvp_bits_one(&c, i % 200 == 0);
        test_case_free(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jvp_flips_are_noticed),
        cmocka_unit_test(jvp_random),
        cmocka_unit_test(jvp_leaves_forward),
        cmocka_unit_test(jvp_is_transposed_backward),
        cmocka_unit_test(jvp_bits),
    };
    test_contexts_init(&contexts);
    int failed = cmocka_run_group_tests_name("jvp", tests, NULL, NULL);
    test_contexts_free(&contexts);
    return failed;
}
