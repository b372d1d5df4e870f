/* SPDX-License-Identifier: MIT
 * Random backward calls over all options at once against the oracle's gradients, within derived
 * bounds (support/compare_grad.c), on every usable instruction set; and larger plain ones
 * against a textbook's float loops.
 *
 *   ATTN_CASES=n    number of cases (8000)      ATTN_SEED=s    the first seed
 *   ATTN_LONG=1     twenty times as many         ATTN_TRACE=1   print each seed before its case
 *   ATTN_SHARE=n    a part of them (slow machines)
 *
 * Case i is drawn from seed s + i alone, so a failing one is repeated by ATTN_CASES=1 and its
 * seed. The self test makes every mistake of oracle/grad_flips.def and demands that it is
 * noticed. */
#include "grid_case.h"

static int64_t grid_cases(void)
{
    return test_env_share(test_env_int("ATTN_CASES", 8000));
}

/* Forward, then backward, then the oracle on what forward left. False: refused. */
static bool grid_compare(test_case *c, oracle_grad_flip flip, test_report *report,
                         oracle_grads *g)
{
    attn_error error = {0};
    int isa = contexts.usable[c->isa_choice % contexts.n_usable];
    test_grad_poison(c);
    if (grid_refused(test_case_run(c, &contexts, &error), &error, report)) return false;
    attn_ctx *ctx = test_contexts_get(&contexts, isa, c->threads);
    attn_status status = attn_backward(ctx, &c->spec, &c->args, &error);
    if (grid_refused(status, &error, report)) return false;
    assert_true(oracle_backward(g, &c->spec, &c->args, true, flip));
    test_compare_grads(report, &c->args, g);
    return true;
}

/* Norm errors of gradients with enough elements to speak of a norm: in f32, at scores of usual
 * size, 1e-5 of the norm of their masses. Distances and a gaussian far from its centre are not
 * of usual size. */
static void grid_norms(test_case *c, const oracle_grads *g, grid_totals *totals)
{
    const uint64_t large = TEST_OPTION(LARGE) | TEST_OPTION(L2) | TEST_OPTION(CENTER);
    if ((c->options & large) || g->unit < 0x1p-30) return;
    for (int i = 0; i < ORACLE_N_GRADS; i++) {
        const attn_tensor *t = test_grad_of(&c->args, (oracle_grad)i);
        if (t->dtype != ATTN_DTYPE_F32 || attn_tensor_count(*t) < 64) continue;
        double error = test_grad_error(t, &g->of[i], true);
        totals->judged++;
        if (error > totals->norm) totals->norm = error;
        if (error <= 1e-5 || totals->failures++ >= 5) continue;
        fprintf(stderr, "%s: norm error %.3g\n", test_grad_name((oracle_grad)i), error);
        grid_print(c, "norm error", "test_grad_grid");
    }
}

static void grid_one(uint64_t seed, grid_totals *totals)
{
    test_case c;
    oracle_grads g = {0};
    test_report report = {0};
    test_grad_draw(&c, seed, &(test_profile){0});
    if (grid_compare(&c, ORACLE_GRAD_FLIP_NONE, &report, &g)) grid_norms(&c, &g, totals);
    if (grid_add(totals, &report, !(c.options & TEST_OPTION(LARGE))))
        grid_print(&c, report.text, "test_grad_grid");
    oracle_grads_free(&g);
    test_case_free(&c);
}

static void grid_random(void **state)
{
    (void)state;
    grid_walk(grid_cases(), 3000000019, 50000, grid_one);
}

/* ---- the comparison has power ----------------------------------------------------------- */

static const grid_flip flips[] = {
    {"NONE", "no mistake", 0},
#define FLIP(name, options, what) {#name, what, options},
#include "oracle/grad_flips.def"
#undef FLIP
};

static bool grid_notice(int flip, uint64_t seed, const test_profile *profile)
{
    test_case c;
    oracle_grads g = {0};
    test_report report = {0};
    test_grad_draw(&c, seed, profile);
    bool ran = grid_compare(&c, (oracle_grad_flip)flip, &report, &g);
    if (!ran) grid_print(&c, report.text, "test_grad_grid");
    assert_true(ran);
    oracle_grads_free(&g);
    test_case_free(&c);
    return report.violations > 0;
}

static void grid_flips_are_noticed(void **state)
{
    (void)state;
    grid_expect_noticed(flips, ORACLE_GRAD_FLIP_TANGENT_LSE, grid_cases() < 2000 ? 30 : 60,
                        TEST_OPTION(OFFSET) | TEST_OPTION(SCALE), grid_notice);
}

/* ---- larger plain calls: as exact as promised, and not less than float loops ------------- */

typedef struct grid_plain {
    int64_t H, T, S, D, E;
    bool causal, terms; /* with bias, sinks and slopes */
} grid_plain;

static const grid_plain plains[] = {
    {1, 128, 1024, 64, 64, false, false},  {2, 300, 300, 33, 40, true, false},
    {1, 100, 512, 128, 128, false, false}, {1, 512, 64, 160, 16, false, false},
    {1, 512, 512, 64, 64, true, false},    {8, 130, 130, 24, 24, false, true},
    {8, 96, 96, 64, 48, true, true},       {1, 64, 600, 256, 64, false, false},
};

static attn_args grid_plain_args(const grid_plain *p, test_arena *arena)
{
    test_rng rng = test_rng_make(78);
    attn_args a = {.size = sizeof a,
                   .q = TEST_TENSOR(arena, F32, 1, p->H, p->T, p->D),
                   .k = TEST_TENSOR(arena, F32, 1, p->H, p->S, p->D),
                   .v = TEST_TENSOR(arena, F32, 1, p->H, p->S, p->E),
                   .out = TEST_TENSOR(arena, F32, 1, p->H, p->T, p->E),
                   .lse = TEST_TENSOR(arena, F32, 1, p->H, p->T),
                   .d_out = TEST_TENSOR(arena, F32, 1, p->H, p->T, p->E)};
    attn_tensor *filled[] = {&a.q, &a.k, &a.v, &a.d_out, &a.bias, &a.sink, &a.alibi};
    if (p->terms) {
        a.bias = TEST_TENSOR(arena, F32, 1, p->H, p->T, p->S);
        a.sink = TEST_TENSOR(arena, F32, p->H);
        a.alibi = TEST_TENSOR(arena, F32, p->H);
    }
    for (int i = 0; i < (p->terms ? 7 : 4); i++)
        test_fill_normal(filled[i], &rng, filled[i] == &a.alibi ? 0.1 : 1);
    for (int i = 0; i < ORACLE_N_GRADS; i++) {
        const attn_tensor *operand = test_grad_operand(&a, (oracle_grad)i);
        if (operand->dtype)
            *test_grad_of(&a, (oracle_grad)i) =
                test_tensor(arena, ATTN_DTYPE_F32, operand->rank, operand->shape);
    }
    return a;
}

static float *grid_head(const attn_tensor *t, int64_t h, int64_t size)
{
    return t->dtype ? (float *)t->data + h * size : NULL;
}

/* The gradients of a textbook's loops in fresh tensors. */
static attn_args grid_naive(const grid_plain *p, const attn_args *a, test_arena *arena)
{
    attn_args n = test_fresh(arena, a, 'D');
    for (int64_t h = 0; h < p->H; h++) {
        int64_t q = p->T * p->D, k = p->S * p->D, v = p->S * p->E, w = p->T * p->S;
        oracle_naive call = {.T = p->T,
                             .S = p->S,
                             .D = p->D,
                             .E = p->E,
                             .causal = p->causal,
                             .q = grid_head(&n.q, h, q),
                             .k = grid_head(&n.k, h, k),
                             .v = grid_head(&n.v, h, v),
                             .bias = grid_head(&n.bias, h, w),
                             .sink = grid_head(&n.sink, h, 1),
                             .slope = grid_head(&n.alibi, h, 1),
                             .d_out = grid_head(&n.d_out, h, p->T * p->E),
                             .d_q = grid_head(&n.d_q, h, q),
                             .d_k = grid_head(&n.d_k, h, k),
                             .d_v = grid_head(&n.d_v, h, v),
                             .d_bias = grid_head(&n.d_bias, h, w),
                             .d_sink = grid_head(&n.d_sink, h, 1),
                             .d_slope = grid_head(&n.d_alibi, h, 1)};
        assert_true(oracle_naive_backward(&call));
    }
    return n;
}

/* Every gradient: at most 1e-5, and at most 1.5 times the error of the loops. */
static void grid_judge_plain(const grid_plain *p, attn_args *a, attn_args *naive,
                             const oracle_grads *g, int isa)
{
    for (int i = 0; i < ORACLE_N_GRADS; i++) {
        const attn_tensor *t = test_grad_of(a, (oracle_grad)i);
        if (!t->dtype) continue;
        double error = test_grad_error(t, &g->of[i], false);
        double loops = test_grad_error(test_grad_of(naive, (oracle_grad)i), &g->of[i], false);
        print_message("# %s: %lld x %lld, D %lld, %s: norm error %.2e, float loops %.2e\n",
                      attn_isa_name(isa), (long long)p->T, (long long)p->S, (long long)p->D,
                      test_grad_name((oracle_grad)i), error, loops);
        assert_true(error <= 1e-5);
        assert_true(error <= 1.5 * loops);
    }
}

/* The truth has the true out and lse: what a user would call the gradient. */
static void grid_check_plain(const grid_plain *p, test_arena *arena)
{
    oracle_grads g;
    attn_args a = grid_plain_args(p, arena), naive = grid_naive(p, &a, arena);
    attn_spec spec = {.size = sizeof spec, .causal = p->causal, .align = ATTN_ALIGN_TOP_LEFT};
    assert_true(oracle_backward(&g, &spec, &a, false, ORACLE_GRAD_FLIP_NONE));
    for (int i = 0; i < contexts.n_usable; i++) {
        attn_ctx *ctx = test_contexts_get(&contexts, contexts.usable[i], 2);
        assert_int_equal(attn_forward(ctx, &spec, &a, NULL), ATTN_OK);
        assert_int_equal(attn_backward(ctx, &spec, &a, NULL), ATTN_OK);
        grid_judge_plain(p, &a, &naive, &g, contexts.usable[i]);
    }
    oracle_grads_free(&g);
}

/* A run of few cases (under an emulator) leaves out the large ones. */
static void grid_plain_is_exact(void **state)
{
    test_arena arena = {0};
    int64_t most = grid_cases() < 2000 ? 4000000 : INT64_MAX;
    (void)state;
    for (size_t i = 0; i < sizeof plains / sizeof plains[0]; i++)
        if (plains[i].H * plains[i].T * plains[i].S * plains[i].D <= most)
            grid_check_plain(&plains[i], &arena);
    test_arena_reset(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grid_flips_are_noticed),
        cmocka_unit_test(grid_plain_is_exact),
        cmocka_unit_test(grid_random),
    };
    return cmocka_run_group_tests(tests, contexts_setup, contexts_finish);
}
