/* SPDX-License-Identifier: MIT
 * Numbers known beforehand of scores that are no products: distances, tanh, and Luong's local
 * attention around a point. For every usable instruction set, in f64 and f32. */
#include "gold.h"

typedef struct gold_kind {
    const char *name;
    attn_score_kind score;
    double scale, w[GOLD_WIDTH], factor; /* of k */
    double scores[GOLD_KEYS], weights[GOLD_KEYS], out[GOLD_WIDTH];
} gold_kind;

static const gold_kind kinds[] = {
    {"L2",
     ATTN_SCORE_L2,
     1,
     {0},
     1,
     {-.25, -1.25, -.25, -4},
     {.418166, .153835, .418166, .009834},
     {1.244662, 1.000000}},
    {"L2 / sqrt 2",
     ATTN_SCORE_L2,
     0,
     {0},
     1,
     {-.176777, -.883883, -.176777, -2.828427},
     {.390076, .192334, .390076, .027514},
     {1.142714, 1.000000}},
    {"additive",
     ATTN_SCORE_ADDITIVE,
     0,
     {1, -1},
     0.5,
     {.443031, 0, .143554, -.173032},
     {.342072, .219640, .253546, .184742},
     {.664422, .911474}},
};

static attn_args gold_args(test_arena *arena, attn_dtype dtype, double factor)
{
    static const double q[] = {1, 0.5}, keys[] = GOLD_K;
    double k[GOLD_KEYS * GOLD_WIDTH];
    for (int i = 0; i < GOLD_KEYS * GOLD_WIDTH; i++) k[i] = factor * keys[i];
    return (attn_args){.size = sizeof(attn_args),
                       .q = gold_tensor(arena, dtype, 1, GOLD_WIDTH, q),
                       .k = gold_tensor(arena, dtype, GOLD_KEYS, GOLD_WIDTH, k),
                       .v = gold_tensor(arena, dtype, GOLD_KEYS, GOLD_WIDTH, gold_values),
                       .out = gold_tensor(arena, dtype, 1, GOLD_WIDTH, NULL),
                       .lse = TEST_TENSOR(arena, F64, 1),
                       .weights = gold_tensor(arena, dtype, 1, GOLD_KEYS, NULL)};
}

static void gold_check_kind(const gold_kind *g, attn_dtype dtype, int isa)
{
    test_arena arena = {0};
    attn_spec spec = {.size = sizeof spec, .scale = g->scale, .score = g->score};
    attn_args args = gold_args(&arena, dtype, g->factor);
    args.scores = gold_tensor(&arena, dtype, 1, GOLD_KEYS, NULL);
    if (g->score == ATTN_SCORE_ADDITIVE)
        args.score_w = gold_tensor(&arena, dtype, 1, GOLD_WIDTH, g->w);
    attn_ctx *ctx = test_contexts_get(&contexts, isa, 1);
    assert_int_equal(attn_forward(ctx, &spec, &args, NULL), ATTN_OK);
    gold_expect(g->name, &args.scores, g->scores);
    gold_expect(g->name, &args.weights, g->weights);
    gold_expect(g->name, &args.out, g->out);
    test_arena_reset(&arena);
}

static void gold_kinds(void **state)
{
    (void)state;
    for (int isa = 0; isa < contexts.n_usable; isa++)
        for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
            gold_check_kind(&kinds[i], ATTN_DTYPE_F64, contexts.usable[isa]);
            gold_check_kind(&kinds[i], ATTN_DTYPE_F32, contexts.usable[isa]);
        }
}

/* Local-p is two calls: with the gaussian, over the sum of the call without it. */
static void gold_check_local(attn_dtype dtype, int isa)
{
    static const double want[] = {.125733, .196489, .326265, .020020};
    test_arena arena = {0};
    attn_spec spec = {.size = sizeof spec, .center_width = 2};
    attn_args args = gold_args(&arena, dtype, 1);
    args.center = TEST_TENSOR(&arena, F64, 1);
    *(double *)args.center.data = 1.3;
    attn_ctx *ctx = test_contexts_get(&contexts, isa, 1);
    assert_int_equal(attn_forward(ctx, &spec, &args, NULL), ATTN_OK);
    const double all = *(double *)args.lse.data;
    spec.center_sigma = 1;
    assert_int_equal(attn_forward(ctx, &spec, &args, NULL), ATTN_OK);
    const double share = exp(*(double *)args.lse.data - all);
    for (int64_t j = 0; j < GOLD_KEYS; j++)
        oracle_put(dtype, args.weights.data, j,
                   share * oracle_get(dtype, args.weights.data, j));
    gold_expect("local-p", &args.weights, want);
    test_arena_reset(&arena);
}

static void gold_local(void **state)
{
    (void)state;
    for (int isa = 0; isa < contexts.n_usable; isa++) {
        gold_check_local(ATTN_DTYPE_F64, contexts.usable[isa]);
        gold_check_local(ATTN_DTYPE_F32, contexts.usable[isa]);
    }
}

/* Queries and keys moved together are as far apart as before: to the bit, because nothing is
 * expanded. Eighths near 0, the same near 4096. */
static void gold_moved_together(void **state)
{
    enum { T = 5, S = 70, D = 9 };
    (void)state;
    for (int isa = 0; isa < contexts.n_usable; isa++) {
        test_arena arena = {0};
        test_rng rng = test_rng_make(31);
        attn_ctx *ctx = test_contexts_get(&contexts, contexts.usable[isa], 1);
        attn_spec spec = {.size = sizeof spec, .score = ATTN_SCORE_L2};
        attn_args a = {.size = sizeof a,
                       .q = TEST_TENSOR(&arena, F32, T, D),
                       .k = TEST_TENSOR(&arena, F32, S, D),
                       .v = TEST_TENSOR(&arena, F32, S, D),
                       .out = TEST_TENSOR(&arena, F32, T, D),
                       .lse = TEST_TENSOR(&arena, F32, T)},
                  b;
        attn_tensor *moved[] = {&a.q, &a.k};
        for (int i = 0; i < T * D; i++)
            ((float *)a.q.data)[i] = (float)test_rng_range(&rng, -16, 16) / 8;
        for (int i = 0; i < S * D; i++)
            ((float *)a.k.data)[i] = (float)test_rng_range(&rng, -16, 16) / 8;
        test_fill_normal(&a.v, &rng, 1);
        assert_int_equal(attn_forward(ctx, &spec, &a, NULL), ATTN_OK);
        b = test_outputs_fresh(&arena, &a);
        for (int m = 0; m < 2; m++)
            for (int64_t i = 0; i < attn_tensor_count(*moved[m]); i++)
                ((float *)moved[m]->data)[i] += 4096;
        assert_int_equal(attn_forward(ctx, &spec, &b, NULL), ATTN_OK);
        const char *what = "";
        if (!test_outputs_same(&a, &b, &what)) fail_msg("%s differs near 4096", what);
        test_arena_reset(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gold_kinds),
        cmocka_unit_test(gold_local),
        cmocka_unit_test(gold_moved_together),
    };
    test_contexts_init(&contexts);
    int failed = cmocka_run_group_tests_name("gold_score", tests, NULL, NULL);
    test_contexts_free(&contexts);
    return failed;
}
