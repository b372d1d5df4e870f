/* SPDX-License-Identifier: MIT
 * The other normalisers over all options at once against the oracle, results and gradients,
 * within derived bounds (oracle/oracle_norm.c says what an error of a score may do), on every
 * usable instruction set. A row at a kink - two scores that decide a selection, or a key at the
 * edge of a support, closer than their errors - is not compared; few may be.
 *
 *   ATTN_CASES=n    number of cases (6000)      ATTN_SEED=s    the first seed
 *   ATTN_LONG=1     twenty times as many        ATTN_SHARE=n   a part of them
 */
#include "grid_case.h"

#include <math.h>

static int64_t kinks;

static int64_t grid_cases(void)
{
    return test_env_share(test_env_int("ATTN_CASES", 6000));
}

/* ---- results ----------------------------------------------------------------------------- */

/* The case against the oracle of another spec; false: refused. */
static bool grid_compare(test_case *c, const attn_spec *judge, test_report *report)
{
    oracle_result r;
    attn_error error = {0};
    assert_true(oracle_attention(&r, judge, &c->args, ORACLE_FLIP_NONE));
    test_case_poison(c, &r);
    const attn_status status = test_case_run(c, &contexts, &error);
    const bool refused = grid_refused(status, &error, report);
    kinks += r.kink;
    if (!refused && !r.kink) test_compare(report, &c->args, &r);
    oracle_free(&r);
    return !refused;
}

static void grid_one(uint64_t seed, grid_totals *totals)
{
    test_case c;
    test_report report = {0};
    test_norm_draw(&c, seed, &(test_profile){0});
    grid_compare(&c, &c.spec, &report);
    if (grid_add(totals, &report, false)) grid_print(&c, report.text, "test_norm_grid");
    test_case_free(&c);
}

static void grid_results(void **state)
{
    (void)state;
    kinks = 0;
    grid_walk(grid_cases(), 8100000017, INT64_MAX, grid_one);
    print_message("# %lld cases at a kink\n", (long long)kinks);
    assert_true(kinks * 20 <= grid_cases() + 100);
}

/* ---- gradients --------------------------------------------------------------------------- */

/* An alpha's gradient adds many parts: their masses bound its error. */
static void grid_alpha(const test_case *c, const oracle_grads *g, test_report *report)
{
    const attn_tensor *d = &c->args.d_alpha;
    oracle_sum all = {0};
    for (int64_t h = 0; d->dtype && h < g->alpha.shape[0]; h++) {
        const oracle_sum *x = &g->alpha.x[h];
        const int64_t one = d->shape[0] == 1 ? 0 : h;
        all.value += x->value, all.mass += x->mass, all.rough += x->rough;
        if (d->shape[0] == 1 && h + 1 < g->alpha.shape[0]) continue;
        const double off = fabs(test_get(d, &one) - (double)all.value);
        const double bound = g->unit * (64 * (double)all.mass + 16 * (double)all.rough) +
                             oracle_half_ulp(ATTN_DTYPE_F32, (double)all.value) + 1e-30;
        if (off > bound && !report->violations++)
            snprintf(report->text, sizeof report->text,
                     "d_alpha[%lld] is %g, should be %g within %g", (long long)one,
                     test_get(d, &one), (double)all.value, bound);
        all = (oracle_sum){0};
    }
}

static bool grid_compare_grad(test_case *c, const attn_spec *judge, test_report *report)
{
    attn_error error = {0};
    oracle_grads g = {0};
    const int isa = contexts.usable[c->isa_choice % contexts.n_usable];
    test_grad_poison(c);
    if (grid_refused(test_case_run(c, &contexts, &error), &error, report)) return false;
    attn_ctx *ctx = test_contexts_get(&contexts, isa, c->threads);
    if (grid_refused(attn_backward(ctx, &c->spec, &c->args, &error), &error, report))
        return false;
    assert_true(oracle_backward(&g, judge, &c->args, true, ORACLE_GRAD_FLIP_NONE));
    kinks += g.kink;
    if (!g.kink) test_compare_grads(report, &c->args, &g);
    if (!g.kink) grid_alpha(c, &g, report);
    oracle_grads_free(&g);
    return true;
}

static void grid_grad_one(uint64_t seed, grid_totals *totals)
{
    test_case c;
    test_report report = {0};
    test_norm_grad_draw(&c, seed, &(test_profile){0});
    grid_compare_grad(&c, &c.spec, &report);
    if (grid_add(totals, &report, false)) grid_print(&c, report.text, "test_norm_grid");
    test_case_free(&c);
}

static void grid_gradients(void **state)
{
    (void)state;
    kinks = 0;
    grid_walk(grid_cases() / 2 + 1, 8200000003, INT64_MAX, grid_grad_one);
    print_message("# %lld cases at a kink\n", (long long)kinks);
    assert_true(kinks * 20 <= grid_cases() + 100);
}

/* ---- tangents ---------------------------------------------------------------------------- */

static void grid_tangent_one(uint64_t seed, grid_totals *totals)
{
    test_case c;
    test_report report = {0};
    attn_error error = {0};
    oracle_tangents t = {0};
    test_norm_jvp_draw(&c, seed, &(test_profile){0});
    test_grad_poison(&c);
    attn_ctx *ctx = test_contexts_get(
        &contexts, contexts.usable[c.isa_choice % contexts.n_usable], c.threads);
    const attn_status status = attn_jvp(ctx, &c.spec, &c.args, &error);
    assert_true(oracle_jvp(&t, &c.spec, &c.args, ORACLE_GRAD_FLIP_NONE));
    kinks += t.kink;
    if (!grid_refused(status, &error, &report) && !t.kink)
        test_compare_tangents(&report, &c.args, &t);
    if (grid_add(totals, &report, false)) grid_print(&c, report.text, "test_norm_grid");
    oracle_tangents_free(&t);
    test_case_free(&c);
}

static void grid_tangents(void **state)
{
    (void)state;
    kinks = 0;
    grid_walk(grid_cases() / 10 + 1, 8250000041, INT64_MAX, grid_tangent_one);
    assert_true(kinks * 20 <= grid_cases() + 100);
}

/* ---- the comparison has power ------------------------------------------------------------ */

/* A number of the kind a little different. */
static void grid_shift(test_case *c, attn_spec *s)
{
    (void)c;
    s->norm_shift += 0.01;
}

static void grid_alpha_off(test_case *c, attn_spec *s)
{
    (void)c;
    s->alpha =
        (s->alpha == 0 ? 1.5 : s->alpha) + (s->alpha != 0 && s->alpha < 1.01 ? 0.03 : 0.01);
}

static void grid_one_more(test_case *c, attn_spec *s)
{
    (void)c;
    s->top_k++;
}

static void grid_mean(test_case *c, attn_spec *s)
{
    (void)c;
    s->norm_mean = !s->norm_mean;
}

static const struct {
    attn_norm_kind kind;
    void (*change)(test_case *c, attn_spec *spec);
    int64_t pairs; /* so many that there is something to see */
} changes[] = {
    {ATTN_NORM_SIGMOID, grid_shift, 900},  {ATTN_NORM_RELU2, grid_shift, 900},
    {ATTN_NORM_LINEAR, grid_shift, 900},   {ATTN_NORM_ENTMAX, grid_alpha_off, 900},
    {ATTN_NORM_TOP_K, grid_one_more, 900}, {ATTN_NORM_LINEAR, grid_mean, 900},
};

static void grid_changes_are_noticed(void **state)
{
    const int tries = 200;
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        int drawn = 0, noticed = 0;
        for (int t = 0; t < tries; t++) {
            test_case c;
            test_report results = {0}, gradients = {0};
            const uint64_t options = TEST_OPTION(OFFSET) | TEST_OPTION(CAUSAL);
            test_norm_grad_draw(&c, (uint64_t)t,
                                &(test_profile){.allow = options, .pairs = changes[i].pairs});
            attn_spec judge = c.spec;
            if (c.spec.normaliser == changes[i].kind && !c.args.alpha.dtype &&
                !c.spec.norm_count) {
                changes[i].change(&c, &judge);
                drawn++;
                assert_true(grid_compare(&c, &judge, &results));
                assert_true(grid_compare_grad(&c, &judge, &gradients));
                noticed += results.violations > 0 || gradients.violations > 0;
            }
            test_case_free(&c);
        }
        if (drawn < 8 || noticed * 2 < drawn)
            fail_msg("change %zu noticed by %d of %d cases", i, noticed, drawn);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grid_changes_are_noticed),
        cmocka_unit_test(grid_results),
        cmocka_unit_test(grid_gradients),
        cmocka_unit_test(grid_tangents),
    };
    return cmocka_run_group_tests(tests, contexts_setup, contexts_finish);
}
