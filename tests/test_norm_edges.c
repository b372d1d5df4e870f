/* SPDX-License-Identifier: MIT
 * The other normalisers at their edges: rows of NaN and of nothing, values that nobody may use,
 * what is refused and with which field, and a long row in memory that grows with it alone. */
#include "norm_call.h"

/* ---- special values -----------------------------------------------------------------------
 */

static const attn_spec kinds[] = {
    {.normaliser = ATTN_NORM_SIGMOID},
    {.normaliser = ATTN_NORM_RELU2},
    {.normaliser = ATTN_NORM_LINEAR},
    {.normaliser = ATTN_NORM_LINEAR, .norm_mean = true},
    {.normaliser = ATTN_NORM_ENTMAX},
    {.normaliser = ATTN_NORM_ENTMAX, .alpha = 1},
    {.normaliser = ATTN_NORM_ENTMAX, .alpha = 1.3},
    {.normaliser = ATTN_NORM_ENTMAX, .alpha = 2},
    {.normaliser = ATTN_NORM_ENTMAX, .alpha = 3},
    {.normaliser = ATTN_NORM_TOP_K, .top_k = 3},
};

/* Query 0 sees nothing, query 1 holds a NaN, key 5 with an infinite value is seen by nobody. */
static void norm_special(attn_ctx *ctx, attn_spec spec, attn_args a, test_arena *arena)
{
    spec.size = sizeof spec;
    a.mask = TEST_TENSOR(arena, BOOL, T, S);
    test_fill_value(&a.mask, 1);
    for (int64_t j = 0; j < S; j++) test_put(&a.mask, (const int64_t[]){0, j}, 0);
    for (int64_t i = 0; i < T; i++) test_put(&a.mask, (const int64_t[]){i, 5}, 0);
    test_put(&a.q, (const int64_t[]){0, 0, 1, 2}, (double)NAN);
    test_put(&a.k, (const int64_t[]){0, 0, 5, 1}, (double)NAN);
    test_put(&a.v, (const int64_t[]){0, 0, 5, 1}, (double)INFINITY);
    assert_int_equal(attn_forward(ctx, &spec, &a, NULL), ATTN_OK);
    for (int64_t i = 0; i < T; i++)
        for (int64_t e = 0; e < E; e++) {
            const double x = test_get(&a.out, (const int64_t[]){0, 0, i, e});
            if (i == 0 ? x != 0 : i == 1 ? x == x : !isfinite(x))
                fail_msg("kind %d, row %lld: %g", (int)spec.normaliser, (long long)i, x);
        }
}

static void norm_specials(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        for (int c = 0; c < contexts.n_usable; c++) {
            test_arena arena = {0};
            norm_special(norm_ctx(c), kinds[i], norm_call(&arena), &arena);
            test_arena_reset(&arena);
        }
}

/* ---- scores beyond all digits ------------------------------------------------------------- */

/* One key wins, whatever the size of the scores. */
static void norm_huge(void **state)
{
    test_arena arena = {0};
    attn_args a = norm_call(&arena), one = a;
    int64_t index[ATTN_MAX_RANK] = {0};
    (void)state;
    do test_put(&a.q, index, test_get(&a.q, index) * 0x1p100);
    while (test_index_next(&a.q, index));
    one.q = a.q;
    one.out = TEST_TENSOR(&arena, F32, 1, H, T, E);
    for (size_t i = 4; i < sizeof kinds / sizeof kinds[0] - 1; i++)
        for (int c = 0; c < contexts.n_usable; c++) {
            attn_spec spec = kinds[i];
            attn_spec best = ATTN_SPEC(.normaliser = ATTN_NORM_TOP_K, .top_k = 1);
            spec.size = sizeof spec;
            assert_int_equal(attn_forward(norm_ctx(c), &spec, &a, NULL), ATTN_OK);
            assert_int_equal(attn_forward(norm_ctx(c), &best, &one, NULL), ATTN_OK);
            assert_true(test_same_bits(a.out, one.out));
        }
    test_arena_reset(&arena);
}

/* ---- what is refused ----------------------------------------------------------------------
 */

static void norm_with_sink(attn_args *a, test_arena *arena)
{
    const int64_t heads = H;
    a->sink = test_tensor(arena, ATTN_DTYPE_F32, 1, &heads);
}

static void norm_with_lse(attn_args *a, test_arena *arena)
{
    a->lse = TEST_TENSOR(arena, F32, 1, H, T);
}

static void norm_with_alpha(attn_args *a, test_arena *arena)
{
    const int64_t heads = H;
    a->alpha = test_tensor(arena, ATTN_DTYPE_F32, 1, &heads);
    test_put(&a->alpha, (const int64_t[]){0}, 1.5);
    test_put(&a->alpha, (const int64_t[]){1}, 4.5);
}

static const struct {
    attn_spec spec;
    void (*edit)(attn_args *a, test_arena *arena);
    attn_status status;
    const char *where;
} refusals[] = {
    {{.normaliser = (attn_norm_kind)77}, NULL, ATTN_E_ENUM, "normaliser"},
    {{.norm_shift = 1}, NULL, ATTN_E_PARAM, "norm_shift"},
    {{.normaliser = ATTN_NORM_SIGMOID, .norm_shift = (double)INFINITY},
     NULL,
     ATTN_E_PARAM,
     "norm_shift"},
    {{.normaliser = ATTN_NORM_SIGMOID, .norm_shift = 1e39}, NULL, ATTN_E_PARAM, "norm_shift"},
    {{.normaliser = ATTN_NORM_LINEAR, .norm_count = true}, NULL, ATTN_E_PARAM, "norm_count"},
    {{.normaliser = ATTN_NORM_SIGMOID, .norm_count = true, .norm_shift = 1},
     NULL,
     ATTN_E_PARAM,
     "norm_count"},
    {{.normaliser = ATTN_NORM_ENTMAX, .norm_mean = true}, NULL, ATTN_E_PARAM, "norm_mean"},
    {{.alpha = 1.5}, NULL, ATTN_E_PARAM, "alpha"},
    {{.normaliser = ATTN_NORM_ENTMAX, .alpha = .5}, NULL, ATTN_E_PARAM, "alpha"},
    {{.normaliser = ATTN_NORM_ENTMAX, .alpha = (double)NAN}, NULL, ATTN_E_PARAM, "alpha"},
    {{.normaliser = ATTN_NORM_ENTMAX, .alpha = 2}, norm_with_alpha, ATTN_E_PARAM, "alpha"},
    {{.normaliser = ATTN_NORM_ENTMAX}, norm_with_alpha, ATTN_E_PARAM, "alpha"},
    {{.normaliser = ATTN_NORM_RELU2}, norm_with_alpha, ATTN_E_PARAM, "alpha"},
    {{.top_k = 3}, NULL, ATTN_E_PARAM, "top_k"},
    {{.normaliser = ATTN_NORM_TOP_K}, NULL, ATTN_E_PARAM, "top_k"},
    {{.normaliser = ATTN_NORM_TOP_K, .top_k = -1}, NULL, ATTN_E_PARAM, "top_k"},
    {{.normaliser = ATTN_NORM_SIGMOID}, norm_with_sink, ATTN_E_PARAM, "sink"},
    {{.normaliser = ATTN_NORM_LINEAR, .softmax1 = true}, NULL, ATTN_E_PARAM, "softmax1"},
    {{.normaliser = ATTN_NORM_ENTMAX}, norm_with_lse, ATTN_E_PARAM, "lse"},
    {{.normaliser = ATTN_NORM_SIGMOID}, norm_with_lse, ATTN_E_PARAM, "lse"},
};

static void norm_refusals(void **state)
{
    test_arena arena = {0};
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        attn_args a = norm_call(&arena);
        attn_spec spec = refusals[i].spec;
        attn_error error = {0};
        spec.size = sizeof spec;
        if (refusals[i].edit) refusals[i].edit(&a, &arena);
        test_fill_value(&a.out, 7);
        const attn_status status = attn_forward(NULL, &spec, &a, &error);
        if (status != refusals[i].status || strcmp(error.where, refusals[i].where) != 0)
            fail_msg("row %zu: status %d, %s %s", i, (int)status, error.where, error.what);
        assert_int_equal(attn_check(&spec, &a, NULL), status);
        assert_true(test_get(&a.out, (const int64_t[]){0, 1, 3, 4}) == 7);
    }
    test_arena_reset(&arena);
}

static void norm_refuses_t_lse(void **state)
{
    test_arena arena = {0};
    attn_args a = norm_call(&arena);
    attn_error error = {0};
    (void)state;
    a.t_q = a.q;
    a.t_lse = TEST_TENSOR(&arena, F32, 1, H, T);
    attn_spec spec = ATTN_SPEC(.normaliser = ATTN_NORM_ENTMAX);
    assert_int_equal(attn_jvp(NULL, &spec, &a, &error), ATTN_E_PARAM);
    assert_string_equal(error.where, "t_lse");
    test_arena_reset(&arena);
}

/* ---- a long row ---------------------------------------------------------------------------
 */

/* 64 queries, 100,000 keys (a slow machine takes one in ATTN_SHARE of them): all
 * scores would be 25.6 MB and their weights as much; a panel of
 * 48 rows is held at a time. Values of one make every output the sum of its weights. */
static void norm_long(void **state)
{
    enum { LONG_T = 64, LONG_S = 100000, LONG_D = 8 };
    const int64_t keys = LONG_S / test_env_int("ATTN_SHARE", 1), rows = 48 * INT64_C(4) * keys;
    test_arena arena = {0};
    test_rng rng = test_rng_make(9);
    (void)state;
    attn_args a = ATTN_ARGS(.q = TEST_TENSOR(&arena, F32, LONG_T, LONG_D),
                            .k = TEST_TENSOR(&arena, F32, keys, LONG_D),
                            .v = TEST_TENSOR(&arena, F32, keys, LONG_D),
                            .out = TEST_TENSOR(&arena, F32, LONG_T, LONG_D));
    test_fill_normal(&a.q, &rng, 1);
    test_fill_normal(&a.k, &rng, 1);
    test_fill_value(&a.v, 1);
    for (size_t i = 4; i < sizeof kinds / sizeof kinds[0]; i++) {
        attn_plan *plan;
        attn_spec spec = kinds[i];
        int64_t index[ATTN_MAX_RANK] = {0};
        spec.size = sizeof spec;
        assert_int_equal(attn_plan_create(&plan, NULL, &spec, &a, NULL), ATTN_OK);
        assert_true(attn_plan_workspace(plan) < (size_t)rows + (1 << 21));
        attn_plan_destroy(plan);
        assert_int_equal(attn_forward(NULL, &spec, &a, NULL), ATTN_OK);
        do norm_near("a sum of weights", test_get(&a.out, index), 1, 1e-5);
        while (test_index_next(&a.out, index));
    }
    test_arena_reset(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norm_specials), cmocka_unit_test(norm_huge),
        cmocka_unit_test(norm_refusals), cmocka_unit_test(norm_refuses_t_lse),
        cmocka_unit_test(norm_long),
    };
    return cmocka_run_group_tests(tests, contexts_setup, contexts_finish);
}
