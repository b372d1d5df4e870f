/* SPDX-License-Identifier: MIT
 * The other normalisers where the answer is known: numbers worked out beforehand, kinds that
 * become each other at an end of their range, ties, rows of NaN and of nothing, what is refused
 * and with which field, and a long row in memory that grows with it alone. For every usable
 * instruction set. */
#include "contexts.h"

#include "attn/tape.h"

#include <math.h>
#include <string.h>

enum { KEYS = 4, WIDTH = 2 };

static attn_ctx *norm_ctx(int i)
{
    return test_contexts_get(&contexts, contexts.usable[i], 1);
}

static void norm_near(const char *name, double got, double want, double by)
{
    if (!(fabs(got - want) <= by)) fail_msg("%s: %.9g instead of %.9g", name, got, want);
}

/* ---- one query, four keys ---------------------------------------------------------------- */

static const double gold_q[] = {1, 0.5}, gold_k[] = {1, 0, 0, 1, 1, 1, -1, 0.5};
static const double gold_v[] = {1, 0, 0, 1, 2, 2, -1, 1};

static const struct {
    const char *name;
    attn_spec spec;
    double weights[KEYS], out[WIDTH];
} golds[] = {
    {"sparsemax",
     {.normaliser = ATTN_NORM_ENTMAX, .alpha = 2},
     {.323223, 0, .676777, 0},
     {1.676777, 1.353553}},
    {"entmax 1.5",
     {.normaliser = ATTN_NORM_ENTMAX},
     {.312500, .146108, .541392, 0},
     {1.395285, 1.228892}},
    {"entmax 1.33",
     {.normaliser = ATTN_NORM_ENTMAX, .alpha = 1.33},
     {.308323, .174008, .498779, .018889},
     {1.286992, 1.190456}},
    {"sigmoid",
     {.normaliser = ATTN_NORM_SIGMOID, .norm_count = true},
     {.336443, .262553, .419303, .128238},
     {1.046811, 1.229398}},
    {"sigmoid, the shift given",
     {.normaliser = ATTN_NORM_SIGMOID, .norm_shift = -1.3862943611198906},
     {.336443, .262553, .419303, .128238},
     {1.046811, 1.229398}},
    {"top 2",
     {.normaliser = ATTN_NORM_TOP_K, .top_k = 2},
     {.412521, 0, .587479, 0},
     {1.587479, 1.174958}},
    {"relu2", {.normaliser = ATTN_NORM_RELU2}, {.5, .125, 1.125, 0}, {2.75, 2.375}},
    {"1/m",
     {.normaliser = ATTN_NORM_LINEAR, .norm_mean = true},
     {.176777, .088388, .265165, -.132583},
     {.839689, .486136}},
};

static attn_tensor norm_tensor(test_arena *arena, attn_dtype type, int64_t rows, int64_t width,
                               const double *values)
{
    attn_tensor t = test_tensor(arena, type, 2, (const int64_t[]){rows, width});
    for (int64_t i = 0; values && i < rows * width; i++)
        test_put(&t, (const int64_t[]){i / width, i % width}, values[i]);
    return t;
}

static void norm_gold(int i, attn_ctx *ctx, attn_dtype type, test_arena *arena)
{
    attn_spec spec = golds[i].spec;
    spec.size = sizeof spec;
    attn_args a = ATTN_ARGS(.q = norm_tensor(arena, type, 1, WIDTH, gold_q),
                            .k = norm_tensor(arena, type, KEYS, WIDTH, gold_k),
                            .v = norm_tensor(arena, type, KEYS, WIDTH, gold_v),
                            .out = norm_tensor(arena, type, 1, WIDTH, NULL),
                            .weights = norm_tensor(arena, type, 1, KEYS, NULL));
    assert_int_equal(attn_forward(ctx, &spec, &a, NULL), ATTN_OK);
    for (int64_t j = 0; j < KEYS; j++)
        norm_near(golds[i].name, test_get(&a.weights, (const int64_t[]){0, j}),
                  golds[i].weights[j], 6e-7);
    for (int64_t e = 0; e < WIDTH; e++)
        norm_near(golds[i].name, test_get(&a.out, (const int64_t[]){0, e}), golds[i].out[e],
                  1e-6);
}

static void norm_golds(void **state)
{
    test_arena arena = {0};
    (void)state;
    for (int i = 0; i < (int)(sizeof golds / sizeof golds[0]); i++)
        for (int c = 0; c < contexts.n_usable; c++) {
            norm_gold(i, norm_ctx(c), ATTN_DTYPE_F32, &arena);
            norm_gold(i, norm_ctx(c), ATTN_DTYPE_F64, &arena);
        }
    test_arena_reset(&arena);
}

/* ---- entmax alone: scores are a bias, values the unit matrix ----------------------------- */

static const struct {
    double alpha, d[3], by_score[3];
    double by_alpha; /* nan: not known */
} slopes[] = {
    {1.2, {.3, -1.2, .7}, {.038348, -.495428, .457080}, (double)NAN},
    {1.5, {.3, -1.2, .7}, {.024994, -.648400, .623405}, (double)NAN},
    {1.8, {.3, -1.2, .7}, {0, -.806683, .806683}, (double)NAN},
    {2, {.3, -1.2, .7}, {0, -.95, .95}, (double)NAN},
    {1.33, {1, 0, 0}, {(double)NAN}, -.256168},
    {1.33, {0, 1, 0}, {(double)NAN}, -.011402},
    {1.33, {0, 0, 1}, {(double)NAN}, .267570},
    {1, {1, 0, 0}, {(double)NAN}, -.200234},
    {1, {0, 1, 0}, {(double)NAN}, -.012526},
    {1, {0, 0, 1}, {(double)NAN}, .212760},
};

static void norm_slope(int i, attn_ctx *ctx, attn_dtype type, test_arena *arena)
{
    static const double z[] = {-1, 0, .5}, unit[] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    attn_spec spec = ATTN_SPEC(.scale = ATTN_ZERO, .normaliser = ATTN_NORM_ENTMAX);
    const int64_t one = 1;
    attn_args a = ATTN_ARGS(.q = norm_tensor(arena, type, 1, 1, NULL),
                            .k = norm_tensor(arena, type, 3, 1, NULL),
                            .v = norm_tensor(arena, type, 3, 3, unit),
                            .bias = norm_tensor(arena, type, 1, 3, z),
                            .d_out = norm_tensor(arena, type, 1, 3, slopes[i].d),
                            .d_bias = norm_tensor(arena, type, 1, 3, NULL),
                            .alpha = test_tensor(arena, ATTN_DTYPE_F64, 1, &one),
                            .d_alpha = test_tensor(arena, ATTN_DTYPE_F64, 1, &one));
    test_put(&a.alpha, (const int64_t[]){0}, slopes[i].alpha);
    attn_error error = {0};
    if (attn_backward(ctx, &spec, &a, &error) != ATTN_OK)
        fail_msg("%s %s", error.where, error.what);
    for (int64_t j = 0; j < 3 && slopes[i].by_score[0] == slopes[i].by_score[0]; j++)
        norm_near("entmax by score", test_get(&a.d_bias, (const int64_t[]){0, j}),
                  slopes[i].by_score[j], 1e-6);
    if (slopes[i].by_alpha == slopes[i].by_alpha)
        norm_near("entmax by alpha", test_get(&a.d_alpha, (const int64_t[]){0}),
                  slopes[i].by_alpha, 2e-6);
}

static void norm_slopes(void **state)
{
    test_arena arena = {0};
    (void)state;
    for (int i = 0; i < (int)(sizeof slopes / sizeof slopes[0]); i++)
        for (int c = 0; c < contexts.n_usable; c++) {
            norm_slope(i, norm_ctx(c), ATTN_DTYPE_F32, &arena);
            norm_slope(i, norm_ctx(c), ATTN_DTYPE_F64, &arena);
        }
    test_arena_reset(&arena);
}

/* ---- a call of usual size -----------------------------------------------------------------
 */

enum { H = 2, T = 50, S = 700, D = 16, E = 8 };

static attn_args norm_call(test_arena *arena)
{
    test_rng rng = test_rng_make(4);
    attn_args a = ATTN_ARGS(.q = TEST_TENSOR(arena, F32, 1, H, T, D),
                            .k = TEST_TENSOR(arena, F32, 1, H, S, D),
                            .v = TEST_TENSOR(arena, F32, 1, H, S, E),
                            .out = TEST_TENSOR(arena, F32, 1, H, T, E));
    test_fill_normal(&a.q, &rng, 1);
    test_fill_normal(&a.k, &rng, 1);
    test_fill_normal(&a.v, &rng, 1);
    return a;
}

static attn_tensor norm_out(attn_ctx *ctx, attn_spec spec, const attn_args *call,
                            test_arena *arena)
{
    attn_args a = *call;
    a.out = TEST_TENSOR(arena, F32, 1, H, T, E);
    spec.size = sizeof spec;
    assert_int_equal(attn_forward(ctx, &spec, &a, NULL), ATTN_OK);
    return a.out;
}

static double norm_far(attn_tensor a, attn_tensor b)
{
    int64_t index[ATTN_MAX_RANK] = {0};
    double most = 0;
    do most = fmax(most, fabs(test_get(&a, index) - test_get(&b, index)));
    while (test_index_next(&a, index));
    return most;
}

/* The ends of the ranges: the same bits where the arithmetic is the same, near where not. */
static void norm_ends(void **state)
{
    test_arena arena = {0};
    attn_args a = norm_call(&arena), sunk = a, given = a;
    const int64_t heads = H;
    (void)state;
    sunk.sink = test_tensor(&arena, ATTN_DTYPE_F32, 1, &heads);
    test_fill_value(&sunk.sink, -(double)INFINITY);
    given.alpha = test_tensor(&arena, ATTN_DTYPE_F32, 1, &heads);
    test_fill_value(&given.alpha, 2);
    for (int c = 0; c < contexts.n_usable; c++) {
        attn_ctx *ctx = norm_ctx(c);
        const attn_spec all = {.normaliser = ATTN_NORM_TOP_K, .top_k = S};
        const attn_spec soft = {.normaliser = ATTN_NORM_ENTMAX, .alpha = 1};
        const attn_spec near = {.normaliser = ATTN_NORM_ENTMAX, .alpha = 1.0101};
        const attn_spec two = {.normaliser = ATTN_NORM_ENTMAX, .alpha = 2};
        const attn_spec some = {.normaliser = ATTN_NORM_ENTMAX};
        attn_tensor plain = norm_out(ctx, (attn_spec){.scale = 0}, &a, &arena);
        assert_true(test_same_bits(plain, norm_out(ctx, all, &a, &arena)));
        assert_true(norm_far(plain, norm_out(ctx, soft, &a, &arena)) < 2e-6);
        assert_true(norm_far(plain, norm_out(ctx, near, &a, &arena)) < 6e-2);
        assert_true(norm_far(plain, norm_out(ctx, two, &a, &arena)) > 1e-2);
        assert_true(test_same_bits(norm_out(ctx, two, &a, &arena),
                                   norm_out(ctx, some, &given, &arena)));
        assert_true(
            test_same_bits(norm_out(ctx, two, &a, &arena), norm_out(ctx, two, &sunk, &arena)));
    }
    test_arena_reset(&arena);
}

/* ---- ties ---------------------------------------------------------------------------------
 */

/* All scores equal: the first keys are taken, each with 1 / k. */
static void norm_ties(void **state)
{
    test_arena arena = {0};
    attn_args a = norm_call(&arena);
    (void)state;
    a.weights = TEST_TENSOR(&arena, F32, 1, H, T, S);
    test_fill_value(&a.k, 1);
    for (int64_t k = 1; k <= 600; k += 599)
        for (int c = 0; c < contexts.n_usable; c++) {
            attn_spec spec = ATTN_SPEC(.normaliser = ATTN_NORM_TOP_K, .top_k = k);
            int64_t index[ATTN_MAX_RANK] = {0};
            assert_int_equal(attn_forward(norm_ctx(c), &spec, &a, NULL), ATTN_OK);
            do {
                const double want = index[3] < k ? 1 / (double)k : 0;
                norm_near("a tie", test_get(&a.weights, index), want, 1e-7);
            } while (test_index_next(&a.weights, index));
        }
    test_arena_reset(&arena);
}

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

/* ---- on the tape: the gradients of the engine, bit by bit ---------------------------------
 */

static void norm_tape_same(const attn_args *a, const attn_spec *spec)
{
    attn_tape *t;
    attn_var lse;
    attn_error error = {0};
    assert_int_equal(attn_tape_create(&t, NULL, NULL, NULL), ATTN_OK);
    const attn_attention_vars vars = {.q = attn_tape_param(t, a->q),
                                      .k = attn_tape_param(t, a->k),
                                      .v = attn_tape_param(t, a->v),
                                      .alpha = attn_tape_param(t, a->alpha)};
    const attn_var out = attn_tape_attention(t, spec, &vars, NULL, NULL);
    assert_int_equal(attn_tape_backward_from(t, 1, &out, &a->d_out, &error), ATTN_OK);
    assert_true(test_same_bits(attn_tape_value(t, out), a->out));
    assert_true(test_same_bits(attn_tape_grad(t, vars.q), a->d_q));
    assert_true(test_same_bits(attn_tape_grad(t, vars.k), a->d_k));
    assert_true(test_same_bits(attn_tape_grad(t, vars.v), a->d_v));
    assert_true(test_same_bits(attn_tape_grad(t, vars.alpha), a->d_alpha));
    (void)attn_tape_attention(t, spec, &vars, NULL, &lse);
    assert_int_equal(attn_tape_status(t, &error), ATTN_E_PARAM);
    attn_tape_destroy(t);
}

static void norm_tape(void **state)
{
    test_arena arena = {0};
    test_rng rng = test_rng_make(12);
    attn_args a = norm_call(&arena);
    attn_spec spec = ATTN_SPEC(.normaliser = ATTN_NORM_ENTMAX);
    const int64_t heads = H;
    (void)state;
    a.alpha = test_tensor(&arena, ATTN_DTYPE_F32, 1, &heads);
    a.d_alpha = test_tensor(&arena, ATTN_DTYPE_F32, 1, &heads);
    test_put(&a.alpha, (const int64_t[]){0}, 1.25);
    test_put(&a.alpha, (const int64_t[]){1}, 2);
    a.d_out = TEST_TENSOR(&arena, F32, 1, H, T, E);
    a.d_q = TEST_TENSOR(&arena, F32, 1, H, T, D);
    a.d_k = TEST_TENSOR(&arena, F32, 1, H, S, D);
    a.d_v = TEST_TENSOR(&arena, F32, 1, H, S, E);
    test_fill_normal(&a.d_out, &rng, 1);
    assert_int_equal(attn_forward(NULL, &spec, &a, NULL), ATTN_OK);
    assert_int_equal(attn_backward(NULL, &spec, &a, NULL), ATTN_OK);
    norm_tape_same(&a, &spec);
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

static void norm_refuses_jvp(void **state)
{
    test_arena arena = {0};
    attn_args a = norm_call(&arena);
    attn_error error = {0};
    (void)state;
    a.t_q = a.q;
    a.t_out = TEST_TENSOR(&arena, F32, 1, H, T, E);
    attn_spec spec = ATTN_SPEC(.normaliser = ATTN_NORM_ENTMAX);
    assert_int_equal(attn_jvp(NULL, &spec, &a, &error), ATTN_E_PARAM);
    assert_string_equal(error.where, "normaliser");
    test_arena_reset(&arena);
}

/* ---- a long row ---------------------------------------------------------------------------
 */

/* 64 queries, 100,000 keys: all scores would be 25.6 MB and their weights as much; a panel of
 * 48 rows is held at a time. Values of one make every output the sum of its weights. */
static void norm_long(void **state)
{
    enum { LONG_T = 64, LONG_S = 100000, LONG_D = 8 };
    const int64_t rows = 48 * INT64_C(4) * LONG_S;
    test_arena arena = {0};
    test_rng rng = test_rng_make(9);
    (void)state;
    attn_args a = ATTN_ARGS(.q = TEST_TENSOR(&arena, F32, LONG_T, LONG_D),
                            .k = TEST_TENSOR(&arena, F32, LONG_S, LONG_D),
                            .v = TEST_TENSOR(&arena, F32, LONG_S, LONG_D),
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
        cmocka_unit_test(norm_golds),       cmocka_unit_test(norm_slopes),
        cmocka_unit_test(norm_ends),        cmocka_unit_test(norm_ties),
        cmocka_unit_test(norm_specials),    cmocka_unit_test(norm_refusals),
        cmocka_unit_test(norm_refuses_jvp), cmocka_unit_test(norm_tape),
        cmocka_unit_test(norm_long),
    };
    return cmocka_run_group_tests(tests, contexts_setup, contexts_finish);
}
