/* SPDX-License-Identifier: MIT
 * Random calls over all options at once against the oracle, within derived bounds (see
 * support/compare.c), on every usable instruction set.
 *
 *   ATTN_CASES=n    number of cases (100000)     ATTN_SEED=s    the first seed
 *   ATTN_LONG=1     twenty times as many         ATTN_TRACE=1   print each seed before its case
 *
 * Case i is drawn from seed s + i alone, so a failing one is repeated by ATTN_CASES=1 and its
 * seed. The self test makes every mistake of oracle/flips.def and demands that it is noticed.
 */
#include "grid_case.h"

static int64_t grid_cases(void)
{
    return test_env_int("ATTN_CASES", 100000);
}

/* Runs the case and compares; says what is wrong by report->text. False: refused. */
static bool grid_compare(test_case *c, oracle_flip flip, test_report *report)
{
    oracle_result r;
    attn_error error = {0};
    assert_true(oracle_attention(&r, &c->spec, &c->args, flip));
    test_case_poison(c, &r);
    attn_status status = test_case_run(c, &contexts, &error);
    if (!grid_refused(status, &error, report)) test_compare(report, &c->args, &r);
    oracle_free(&r);
    return status == ATTN_OK;
}

static void grid_one(uint64_t seed, grid_totals *totals)
{
    test_case c;
    test_report report = {0};
    test_case_draw(&c, seed, &(test_profile){0});
    grid_compare(&c, ORACLE_FLIP_NONE, &report);
    if (grid_add(totals, &report, true)) grid_print(&c, report.text, "test_grid");
    test_case_free(&c);
}

static void grid_random(void **state)
{
    (void)state;
    grid_walk(grid_cases(), 1000000007, 100000, grid_one);
}

/* ---- the comparison has power ---- */

static const grid_flip flips[] = {
    {"NONE", "no mistake", 0},
#define FLIP(name, options, what) {#name, what, options},
#include "oracle/flips.def"
#undef FLIP
};

static bool grid_notice(int flip, uint64_t seed, const test_profile *profile)
{
    test_case c;
    test_report report = {0};
    test_case_draw(&c, seed, profile);
    bool ran = grid_compare(&c, (oracle_flip)flip, &report);
    if (!ran) grid_print(&c, report.text, "test_grid");
    assert_true(ran);
    test_case_free(&c);
    return report.violations > 0;
}

static void grid_flips_are_noticed(void **state)
{
    (void)state;
    grid_expect_noticed(flips, ORACLE_N_FLIPS, grid_cases() < 10000 ? 30 : 100,
                        TEST_OPTION(LSE) | TEST_OPTION(OFFSET), grid_notice);
}

/* ---- larger plain calls: as exact as promised, and not less than three plain loops ---- */

typedef struct grid_plain {
    int64_t T, S, D, E;
    bool causal;
} grid_plain;

static const grid_plain plains[] = {
    {64, 1024, 64, 64, false},  {48, 4096, 128, 128, false}, {300, 300, 33, 40, true},
    {16, 2000, 259, 16, false}, {512, 512, 64, 64, true},
};

typedef struct grid_tensors {
    attn_tensor q, k, v, out, naive;
} grid_tensors;

static grid_tensors grid_plain_tensors(const grid_plain *p, test_arena *arena)
{
    test_rng rng = test_rng_make(77);
    grid_tensors t = {.q = TEST_TENSOR(arena, F32, p->T, p->D),
                      .k = TEST_TENSOR(arena, F32, p->S, p->D),
                      .v = TEST_TENSOR(arena, F32, p->S, p->E),
                      .out = TEST_TENSOR(arena, F32, p->T, p->E),
                      .naive = TEST_TENSOR(arena, F32, p->T, p->E)};
    test_fill_normal(&t.q, &rng, 1);
    test_fill_normal(&t.k, &rng, 1);
    test_fill_normal(&t.v, &rng, 1);
    return t;
}

/* The norm errors of every instruction set against those of three plain loops. */
static void grid_check_plain(const grid_plain *p, test_arena *arena)
{
    oracle_result r;
    grid_tensors t = grid_plain_tensors(p, arena);
    attn_spec spec = {.size = sizeof spec, .causal = p->causal};
    attn_args args = {.size = sizeof args, .q = t.q, .k = t.k, .v = t.v, .out = t.out};
    assert_true(oracle_attention(&r, &spec, &args, ORACLE_FLIP_NONE));
    assert_true(oracle_naive_f32(p->T, p->S, p->D, p->E, p->causal, t.q.data, t.k.data,
                                 t.v.data, t.naive.data));
    double loops = test_norm_error(&t.naive, &r);
    for (int i = 0; i < contexts.n_usable; i++) {
        attn_ctx *ctx = test_contexts_get(&contexts, contexts.usable[i], 2);
        assert_int_equal(attn_forward(ctx, &spec, &args, NULL), ATTN_OK);
        double error = test_norm_error(&t.out, &r);
        print_message("# %s: %lld x %lld, D %lld: norm error %.2e, three plain loops %.2e\n",
                      attn_isa_name(contexts.usable[i]), (long long)p->T, (long long)p->S,
                      (long long)p->D, error, loops);
        assert_true(error <= 3e-6);
        assert_true(error <= loops);
    }
    oracle_free(&r);
}

/* A run of few cases (under an emulator) leaves out the large ones. */
static void grid_plain_is_exact(void **state)
{
    test_arena arena = {0};
    int64_t most = grid_cases() < 10000 ? 4000000 : INT64_MAX;
    (void)state;
    for (size_t i = 0; i < sizeof plains / sizeof plains[0]; i++)
        if (plains[i].T * plains[i].S * plains[i].D <= most)
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
