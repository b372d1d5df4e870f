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
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/support.h"

static test_contexts contexts;

typedef struct grid_totals {
    int64_t cases, failures, half[2], right[2];
    double worst;
} grid_totals;

static int64_t grid_cases(void)
{
    return test_env_int("ATTN_CASES", 100000);
}

static void grid_print(const test_case *c, const char *what)
{
    fprintf(stderr, "%s\n", what);
    test_case_print(stderr, c);
    fprintf(stderr, "repeat: ATTN_SEED=0x%llx ATTN_CASES=1 test_grid\n",
            (unsigned long long)c->seed);
}

/* Runs the case and compares; says what is wrong by report->text. False: refused. */
static bool grid_compare(test_case *c, oracle_flip flip, test_report *report)
{
    oracle_result r;
    attn_error error = {0};
    assert_true(oracle_attention(&r, &c->spec, &c->args, flip));
    test_case_poison(c, &r);
    attn_status status = test_case_run(c, &contexts, &error);
    if (status == ATTN_OK) {
        test_compare(report, &c->args, &r);
    } else {
        report->violations = 1;
        attn_error_text(&error, report->text, sizeof report->text);
    }
    oracle_free(&r);
    return status == ATTN_OK;
}

static void grid_one(uint64_t seed, const test_profile *profile, grid_totals *totals)
{
    test_case c;
    test_report report = {0};
    if (test_env_int("ATTN_TRACE", 0)) fprintf(stderr, "0x%llx\n", (unsigned long long)seed);
    test_case_draw(&c, seed, profile);
    grid_compare(&c, ORACLE_FLIP_NONE, &report);
    if (report.violations && totals->failures++ < 5) grid_print(&c, report.text);
    totals->cases++;
    for (int i = 0; i < 2; i++) {
        totals->half[i] += report.half[i];
        totals->right[i] += report.right[i];
    }
    if (report.worst > totals->worst) totals->worst = report.worst;
    test_case_free(&c);
}

/* Correctly rounded elements among those of bf16 and f16: 99.5 % and 98 %. */
static void grid_check_half(const grid_totals *t)
{
    static const double least[2] = {0.995, 0.98};
    for (int i = 0; i < 2; i++) {
        if (t->half[i] < 100000) continue;
        double share = (double)t->right[i] / (double)t->half[i];
        print_message("# %s: %.3f %% of %lld elements correctly rounded\n", i ? "f16" : "bf16",
                      100 * share, (long long)t->half[i]);
        assert_true(share >= least[i]);
    }
}

static void grid_random(void **state)
{
    grid_totals totals = {0};
    test_profile profile = {0};
    int64_t n = grid_cases() * (test_env_long() ? 20 : 1);
    uint64_t seed = (uint64_t)test_env_int("ATTN_SEED", 1000000007);
    double start = test_now();
    (void)state;
    for (int64_t i = 0; i < n; i++) grid_one(seed + (uint64_t)i, &profile, &totals);
    print_message("# %lld cases, %lld failures, worst error %.3f of its bound, %.1f s\n",
                  (long long)totals.cases, (long long)totals.failures, totals.worst,
                  test_now() - start);
    assert_int_equal(totals.failures, 0);
    grid_check_half(&totals);
}

/* ---- the comparison has power ---- */

typedef struct grid_flip {
    const char *name, *what;
    uint64_t options;
} grid_flip;

static const grid_flip flips[] = {
    {"NONE", "no mistake", 0},
#define FLIP(name, options, what) {#name, what, options},
#include "oracle/flips.def"
#undef FLIP
};

/* How many of n cases with the options notice the mistake. */
static int grid_count_noticed(int flip, int n)
{
    int noticed = 0;
    test_profile profile = {.allow =
                                flips[flip].options | TEST_OPTION(LSE) | TEST_OPTION(OFFSET),
                            .force = flips[flip].options};
    for (int i = 0; i < n; i++) {
        test_case c;
        test_report report = {0};
        test_case_draw(&c, (uint64_t)(flip * 1000 + i), &profile);
        bool ran = grid_compare(&c, (oracle_flip)flip, &report);
        if (!ran) grid_print(&c, report.text);
        assert_true(ran);
        noticed += report.violations > 0;
        test_case_free(&c);
    }
    return noticed;
}

static void grid_flips_are_noticed(void **state)
{
    int missed = 0, tries = grid_cases() < 10000 ? 30 : 100;
    (void)state;
    assert_int_equal(grid_count_noticed(ORACLE_FLIP_NONE, tries), 0);
    for (int flip = 1; flip < ORACLE_N_FLIPS; flip++) {
        int noticed = grid_count_noticed(flip, tries);
        if (noticed >= tries / 10) continue;
        fprintf(stderr, "%s (%s) noticed by %d of %d cases\n", flips[flip].name,
                flips[flip].what, noticed, tries);
        missed++;
    }
    assert_int_equal(missed, 0);
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
    test_contexts_init(&contexts);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_contexts_free(&contexts);
    return failed;
}
