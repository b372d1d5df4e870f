/* SPDX-License-Identifier: MIT
 * The other normalisers where the answer is known: numbers worked out beforehand, kinds that
 * become each other at an end of their range, ties, the tape and the
 * mechanism softmax. For every usable instruction set. */
#include "norm_call.h"

#include "attn/mech.h"
#include "attn/tape.h"

enum { KEYS = 4, WIDTH = 2 };

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

/* And so are those of the mechanism softmax, which has no lse to give then. */
static void norm_mech_same(const attn_args *a)
{
    const attn_mech *m = attn_mech_find("softmax");
    attn_tensor slots[ATTN_MAX_SLOTS] = {{0}}, d_slots[ATTN_MAX_SLOTS] = {{0}};
    attn_value params[ATTN_MAX_PARAMS];
    const int alpha = attn_mech_slot(m, "alpha"), q = attn_mech_slot(m, "q");
    const int k = attn_mech_slot(m, "k"), v = attn_mech_slot(m, "v");
    const int out = attn_mech_slot(m, "out");
    test_arena arena = {0};
    attn_mech_defaults(m, params);
    assert_int_equal(attn_mech_set(m, params, "normaliser", "entmax", NULL), ATTN_OK);
    slots[q] = a->q, slots[k] = a->k, slots[v] = a->v, slots[alpha] = a->alpha;
    slots[out] = test_tensor_dense(&arena, a->out, ATTN_DTYPE_NONE);
    d_slots[out] = a->d_out;
    d_slots[q] = test_tensor_dense(&arena, a->q, ATTN_DTYPE_NONE);
    d_slots[alpha] = test_tensor_dense(&arena, a->alpha, ATTN_DTYPE_NONE);
    assert_int_equal(attn_mech_run_grad(NULL, m, slots, d_slots, params, NULL), ATTN_OK);
    assert_true(test_same_bits(slots[out], a->out));
    assert_true(test_same_bits(d_slots[q], a->d_q));
    assert_true(test_same_bits(d_slots[alpha], a->d_alpha));
    test_arena_reset(&arena);
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
    norm_mech_same(&a);
    test_arena_reset(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norm_golds), cmocka_unit_test(norm_slopes),
        cmocka_unit_test(norm_ends),  cmocka_unit_test(norm_ties),
        cmocka_unit_test(norm_tape),
    };
    return cmocka_run_group_tests(tests, contexts_setup, contexts_finish);
}
