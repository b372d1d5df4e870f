/* SPDX-License-Identifier: MIT
 * precision = half: which calls it serves, with every normaliser, and that the others run exact and
 * say so. */
#include "attn/cache.h"
#include "contexts.h"

#include <math.h>
#include <string.h>

typedef attn_status (*half_create)(attn_plan **, attn_ctx *, const attn_spec *,
                                   const attn_args *, attn_error *);

static attn_precision half_planned(attn_ctx *ctx, half_create create, attn_spec spec,
                                   attn_dtype dtype)
{
    test_arena arena = {0};
    attn_plan *plan = NULL;
    attn_plan_info info;
    const attn_tensor t = test_tensor(&arena, dtype, 2, (int64_t[]){9, 8});
    const attn_tensor row = test_tensor(
        &arena, dtype == ATTN_DTYPE_F64 ? dtype : ATTN_DTYPE_F32, 1, (int64_t[]){9});
    attn_args args = {.size = sizeof args, .q = t, .k = t, .v = t, .out = t};
    if (create == attn_plan_create_backward) {
        args.lse = row;
        args.d_out = args.d_q = t;
    }
    if (create == attn_plan_create_jvp) args.t_q = args.t_out = t;
    assert_int_equal(create(&plan, ctx, &spec, &args, NULL), ATTN_OK);
    attn_plan_describe(plan, &info);
    attn_plan_destroy(plan);
    test_arena_reset(&arena);
    return info.precision;
}

/* The best table of this machine has the instructions. */
static bool half_here(void)
{
    char text[400];
    attn_cpu_text(text, sizeof text);
    return strstr(text, "avx512vnni") &&
           !strcmp(attn_isa_name(contexts.usable[contexts.n_usable - 1]), "avx512");
}

static void half_serves(void **state)
{
    const attn_precision here = half_here() ? ATTN_PRECISION_HALF : ATTN_PRECISION_EXACT;
    attn_spec spec = {.size = sizeof spec};
    (void)state;
    assert_int_equal(half_planned(NULL, attn_plan_create, spec, ATTN_DTYPE_F32), 0);
    spec.precision = ATTN_PRECISION_HALF;
    assert_int_equal(half_planned(NULL, attn_plan_create, spec, ATTN_DTYPE_F32), here);
    assert_int_equal(half_planned(NULL, attn_plan_create, spec, ATTN_DTYPE_BF16), here);
    assert_int_equal(half_planned(NULL, attn_plan_create, spec, ATTN_DTYPE_F16), here);
    assert_int_equal(half_planned(NULL, attn_plan_create, spec, ATTN_DTYPE_F64), 0);
    assert_int_equal(half_planned(NULL, attn_plan_create_backward, spec, ATTN_DTYPE_F32), 0);
    assert_int_equal(half_planned(NULL, attn_plan_create_jvp, spec, ATTN_DTYPE_F32), 0);
    spec.score = ATTN_SCORE_L2;
    assert_int_equal(half_planned(NULL, attn_plan_create, spec, ATTN_DTYPE_F32), 0);
    spec.score = ATTN_SCORE_ADDITIVE;
    assert_int_equal(half_planned(NULL, attn_plan_create, spec, ATTN_DTYPE_F32), 0);
    for (int i = 0; i + 1 < contexts.n_usable; i++) {
        attn_ctx *ctx = test_contexts_get(&contexts, contexts.usable[i], 1);
        spec.score = ATTN_SCORE_DOT;
        assert_int_equal(half_planned(ctx, attn_plan_create, spec, ATTN_DTYPE_F32), 0);
    }
}

/* A call that asks for the half mode, and has to run exact. */
static void half_runs_exact(test_arena *arena, attn_args args)
{
    attn_spec spec = {.size = sizeof spec, .precision = ATTN_PRECISION_HALF};
    attn_plan *plan = NULL;
    attn_plan_info info;
    attn_args exact = args;
    exact.out = TEST_TENSOR(arena, F32, 1, 2, 9, 8);
    assert_int_equal(attn_plan_create(&plan, NULL, &spec, &args, NULL), ATTN_OK);
    attn_plan_describe(plan, &info);
    attn_plan_destroy(plan);
    assert_int_equal(info.precision, ATTN_PRECISION_EXACT);
    assert_int_equal(attn_forward(NULL, &spec, &args, NULL), ATTN_OK);
    spec.precision = ATTN_PRECISION_EXACT;
    assert_int_equal(attn_forward(NULL, &spec, &exact, NULL), ATTN_OK);
    assert_true(test_same_bits(args.out, exact.out));
}

/* Keys in a cache, then the same rows as pages of three. */
static void half_over_caches(void **state)
{
    test_arena arena = {0};
    test_rng rng = test_rng_make(3);
    attn_cache *cache = NULL;
    const attn_cache_spec spec = {.size = sizeof spec,
                                  .sequences = 1,
                                  .heads = 2,
                                  .key_width = 8,
                                  .value_width = 8,
                                  .capacity = 12};
    attn_cache_new rows = {.size = sizeof rows};
    attn_args args = {.size = sizeof args};
    (void)state;
    rows.k = rows.v = TEST_TENSOR(&arena, F32, 1, 2, 12, 8);
    args.q = TEST_TENSOR(&arena, F32, 1, 2, 9, 8);
    test_fill_normal(&rows.k, &rng, 1);
    test_fill_normal(&args.q, &rng, 1);
    assert_int_equal(attn_cache_create(&cache, NULL, &spec, NULL), ATTN_OK);
    assert_int_equal(attn_cache_append(cache, &rows, NULL), ATTN_OK);
    args.out = TEST_TENSOR(&arena, F32, 1, 2, 9, 8);
    args.cache = cache;
    half_runs_exact(&arena, args);
    attn_cache_destroy(cache);
    args.cache = NULL;
    args.k = args.v = TEST_TENSOR(&arena, F32, 4, 2, 3, 8);
    test_fill_normal(&args.k, &rng, 1);
    args.page_table = TEST_TENSOR(&arena, I64, 1, 4);
    args.k_len = TEST_TENSOR(&arena, I64, 1);
    for (int64_t m = 0; m < 4; m++)
        test_put(&args.page_table, (int64_t[]){0, m}, (double)(3 - m));
    test_put(&args.k_len, (int64_t[]){0}, 11);
    half_runs_exact(&arena, args);
    test_arena_reset(&arena);
}

static void half_serves_normalisers(void **state)
{
    static const bool served[] = {[ATTN_NORM_SOFTMAX] = true,
                                  [ATTN_NORM_SIGMOID] = true,
                                  [ATTN_NORM_ENTMAX] = true,
                                  [ATTN_NORM_TOP_K] = true};
    attn_spec spec = {.size = sizeof spec, .precision = ATTN_PRECISION_HALF};
    (void)state;
    for (int i = ATTN_NORM_SOFTMAX; i <= ATTN_NORM_TOP_K; i++) {
        spec.normaliser = (attn_norm_kind)i;
        spec.top_k = i == ATTN_NORM_TOP_K ? 20 : 0;
        assert_int_equal(half_planned(NULL, attn_plan_create, spec, ATTN_DTYPE_F32),
                         served[i] && half_here() ? ATTN_PRECISION_HALF : ATTN_PRECISION_EXACT);
    }
}

/* Every normaliser, near the exact result. */
static void half_normalisers(void **state)
{
    test_arena arena = {0};
    test_rng rng = test_rng_make(9);
    attn_spec spec = {.size = sizeof spec};
    attn_args a = {.size = sizeof a};
    (void)state;
    a.q = a.k = a.v = a.out = TEST_TENSOR(&arena, F32, 200, 40);
    a.out = TEST_TENSOR(&arena, F32, 200, 40);
    test_fill_normal(&a.q, &rng, 1);
    for (int i = ATTN_NORM_SOFTMAX; i <= ATTN_NORM_TOP_K; i++) {
        attn_args b = a;
        b.out = TEST_TENSOR(&arena, F32, 200, 40);
        spec.normaliser = (attn_norm_kind)i;
        spec.top_k = i == ATTN_NORM_TOP_K ? 20 : 0;
        spec.precision = ATTN_PRECISION_EXACT;
        assert_int_equal(attn_forward(NULL, &spec, &a, NULL), ATTN_OK);
        spec.precision = ATTN_PRECISION_HALF;
        assert_int_equal(attn_forward(NULL, &spec, &b, NULL), ATTN_OK);
        double far = 0, size = 0;
        for (int64_t x = 0; x < 200 * 40; x++) {
            const double want = (double)((float *)a.out.data)[x];
            const double error = (double)((float *)b.out.data)[x] - want;
            far += error * error;
            size += want * want;
        }
        assert_true(sqrt(far) <= 0x1p-9 * sqrt(size));
    }
    test_arena_reset(&arena);
}

static void half_unknown(void **state)
{
    test_arena arena = {0};
    attn_error error = {0};
    const attn_spec spec = {.size = sizeof spec, .precision = (attn_precision)2};
    attn_args a = {.size = sizeof a, .out = TEST_TENSOR(&arena, F32, 3, 4)};
    (void)state;
    a.q = a.k = a.v = TEST_TENSOR(&arena, F32, 3, 4);
    assert_int_equal(attn_forward(NULL, &spec, &a, &error), ATTN_E_ENUM);
    assert_string_equal(error.where, "precision");
    test_arena_reset(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(half_serves),
        cmocka_unit_test(half_over_caches),
        cmocka_unit_test(half_serves_normalisers),
        cmocka_unit_test(half_normalisers),
        cmocka_unit_test(half_unknown),
    };
    return cmocka_run_group_tests(tests, contexts_setup, contexts_finish);
}
