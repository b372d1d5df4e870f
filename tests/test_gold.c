/* SPDX-License-Identifier: MIT
 * Numbers known beforehand: softmax attention over small integers worked out to six digits, the
 * bucket tables of T5, the slopes of ALiBi, and closed forms of sink, softcap and rotation. For
 * every usable instruction set, in f64 and f32. */
#include "gold.h"

/* ---- one query, four keys ---- */

typedef struct gold_row {
    const char *name;
    double scale; /* 0: the default */
    bool softmax1;
    double q[GOLD_WIDTH], k[GOLD_KEYS * GOLD_WIDTH], bias[GOLD_KEYS];
    double scores[GOLD_KEYS], weights[GOLD_KEYS], out[GOLD_WIDTH];
} gold_row;

/* q = (1, 1/2); what is not q.k is q and k transformed first, or a bias:
 * general q W, biased W q + b, L2 2 q.k - |q|^2 - |k|^2, trilinear w_k.k + (w_m * q).k. */
static const gold_row rows[] = {
    {"dot",
     1,
     false,
     {1, 0.5},
     GOLD_K,
     {0},
     {1, 0.5, 1.5, -0.75},
     {.291628, .176881, .480813, .050677},
     {1.202577, 1.189185}},
    {"scaled dot",
     0,
     false,
     {1, 0.5},
     GOLD_K,
     {0},
     {.707107, .353553, 1.060660, -.530330},
     {.292703, .205533, .416844, .084921},
     {1.041469, 1.124141}},
    {"softmax1",
     0,
     true,
     {1, 0.5},
     GOLD_K,
     {0},
     {.707107, .353553, 1.060660, -.530330},
     {.255787, .179611, .364271, .074211},
     {.910119, .982364}},
    {"general",
     1,
     false,
     {1, 1.5},
     GOLD_K,
     {0},
     {1, 1.5, 2.5, -.25},
     {.134827, .222292, .604252, .038629},
     {1.304703, 1.469425}},
    {"biased general",
     1,
     false,
     {2.1, -0.7},
     GOLD_K,
     {0},
     {2.1, -.7, 1.4, -2.45},
     {.637770, .038783, .316707, .006739},
     {1.264446, .678937}},
    {"L2",
     2,
     false,
     {1, 0.5},
     GOLD_K,
     {-2.25, -2.25, -3.25, -2.5},
     {-.25, -1.25, -.25, -4},
     {.418166, .153835, .418166, .009834},
     {1.244662, 1.000000}},
    {"trilinear",
     1,
     false,
     {0.5, -0.3},
     GOLD_K,
     {.3, .4, .7, -.1},
     {.8, .1, .9, -.75},
     {.355365, .176469, .392740, .075426},
     {1.065419, 1.037374}},
};

static void gold_check_row(const gold_row *g, attn_dtype dtype, int isa)
{
    test_arena arena = {0};
    attn_spec spec = {.size = sizeof spec,
                      .scale = g->scale,
                      .softmax1 = g->softmax1,
                      .scores_stage = ATTN_SCORES_MASKED};
    attn_args args = {.size = sizeof args,
                      .q = gold_tensor(&arena, dtype, 1, GOLD_WIDTH, g->q),
                      .k = gold_tensor(&arena, dtype, GOLD_KEYS, GOLD_WIDTH, g->k),
                      .v = gold_tensor(&arena, dtype, GOLD_KEYS, GOLD_WIDTH, gold_values),
                      .bias = gold_tensor(&arena, dtype, 1, GOLD_KEYS, g->bias),
                      .out = gold_tensor(&arena, dtype, 1, GOLD_WIDTH, NULL),
                      .scores = gold_tensor(&arena, dtype, 1, GOLD_KEYS, NULL),
                      .weights = gold_tensor(&arena, dtype, 1, GOLD_KEYS, NULL)};
    attn_ctx *ctx = test_contexts_get(&contexts, isa, 1);
    assert_int_equal(attn_forward(ctx, &spec, &args, NULL), ATTN_OK);
    gold_expect(g->name, &args.scores, g->scores);
    gold_expect(g->name, &args.weights, g->weights);
    gold_expect(g->name, &args.out, g->out);
    test_arena_reset(&arena);
}

static void gold_one_query(void **state)
{
    (void)state;
    for (int isa = 0; isa < contexts.n_usable; isa++)
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            gold_check_row(&rows[i], ATTN_DTYPE_F64, contexts.usable[isa]);
            gold_check_row(&rows[i], ATTN_DTYPE_F32, contexts.usable[isa]);
        }
}

/* ---- three queries, three keys; rows of v sum to 1, so rows of out do ---- */

static const double three_q[] = {1, .5, 0, 1, -1, .5}, three_k[] = {1, 0, 0, 1, 1, 1};
static const double three_v[] = {1, 0, 0, 1, 2, -1};
static const double three_full[] = {1.230921, -.230921, 1, 0, .724388, .275612};
static const double three_causal[] = {1, 0, .330238, .669762, .724388, .275612};

static void gold_check_three(bool causal, attn_dtype dtype, int isa)
{
    test_arena arena = {0};
    attn_spec spec = {.size = sizeof spec, .causal = causal};
    attn_args args = {.size = sizeof args,
                      .q = gold_tensor(&arena, dtype, GOLD_QUERIES, GOLD_WIDTH, three_q),
                      .k = gold_tensor(&arena, dtype, GOLD_QUERIES, GOLD_WIDTH, three_k),
                      .v = gold_tensor(&arena, dtype, GOLD_QUERIES, GOLD_WIDTH, three_v),
                      .out = gold_tensor(&arena, dtype, GOLD_QUERIES, GOLD_WIDTH, NULL)};
    attn_ctx *ctx = test_contexts_get(&contexts, isa, 1);
    assert_int_equal(attn_forward(ctx, &spec, &args, NULL), ATTN_OK);
    gold_expect(causal ? "three causal" : "three full", &args.out,
                causal ? three_causal : three_full);
    test_arena_reset(&arena);
}

static void gold_three_queries(void **state)
{
    (void)state;
    for (int isa = 0; isa < contexts.n_usable; isa++)
        for (int causal = 0; causal < 2; causal++) {
            gold_check_three(causal, ATTN_DTYPE_F64, contexts.usable[isa]);
            gold_check_three(causal, ATTN_DTYPE_F32, contexts.usable[isa]);
        }
}

/* ---- positions: what is added to a score of 0 ---- */

/* Scores of T queries and S keys under spec and args, with all products 0. */
static attn_tensor gold_scores(test_arena *arena, int isa, attn_spec spec, attn_args args,
                               int64_t H, int64_t T, int64_t S)
{
    spec.size = sizeof spec;
    args.size = sizeof args;
    spec.scale = ATTN_ZERO;
    spec.scores_stage = ATTN_SCORES_MASKED;
    if (!spec.align) spec.align = ATTN_ALIGN_TOP_LEFT;
    args.q = TEST_TENSOR(arena, F32, 1, H, T, 2);
    args.k = TEST_TENSOR(arena, F32, 1, H, S, 2);
    args.v = TEST_TENSOR(arena, F32, 1, H, S, 2);
    args.scores = TEST_TENSOR(arena, F64, 1, H, T, S);
    assert_int_equal(attn_forward(test_contexts_get(&contexts, isa, 1), &spec, &args, NULL),
                     ATTN_OK);
    return args.scores;
}

static attn_tensor gold_counting_table(test_arena *arena, int64_t n)
{
    attn_tensor table = TEST_TENSOR(arena, F32, 1, n);
    for (int64_t i = 0; i < n; i++) oracle_put(ATTN_DTYPE_F32, table.data, i, (double)i);
    return table;
}

/* First distances of the logarithmic buckets, from the integer tables of the T5 formula with 32
 * buckets and distance 128. */
static const int two_sided_starts[] = {8, 12, 16, 23, 32, 46, 64, 91};
static const int one_sided_starts[] = {16, 19, 21, 24, 27, 31, 35, 40,
                                       46, 52, 59, 67, 77, 87, 99, 113};

static int gold_bucket(int distance, int exact, const int *starts, int n)
{
    int bucket = exact - 1;
    if (distance < exact) return distance;
    for (int i = 0; i < n; i++) bucket += distance >= starts[i];
    return bucket;
}

enum { GOLD_REACH = 301 };

static void gold_check_buckets(int isa, bool causal)
{
    test_arena arena = {0};
    attn_spec spec = {.rel = {.kind = ATTN_REL_BUCKET, .causal_buckets = causal}};
    attn_args args = {.rel_table = gold_counting_table(&arena, 32)};
    attn_tensor behind = gold_scores(&arena, isa, spec, args, 1, GOLD_REACH, 1);
    attn_tensor ahead = gold_scores(&arena, isa, spec, args, 1, 1, GOLD_REACH);
    for (int a = 0; a < GOLD_REACH; a++) {
        int two = gold_bucket(a, 8, two_sided_starts, 8);
        int back = causal ? gold_bucket(a, 16, one_sided_starts, 16) : two;
        int forth = causal || a == 0 ? 0 : 16 + two;
        assert_int_equal(lround(((double *)behind.data)[a]), back);
        assert_int_equal(lround(((double *)ahead.data)[a]), forth);
    }
    test_arena_reset(&arena);
}

static void gold_t5_buckets(void **state)
{
    static const struct {
        int rel, bucket;
        bool causal;
    } known[] = {{-200, 15, false}, {-8, 8, false}, {-1, 1, false},  {0, 0, false},
                 {1, 17, false},    {8, 24, false}, {20, 26, false}, {128, 31, false},
                 {-20, 17, true},   {5, 0, true}};
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        test_arena arena = {0};
        attn_spec spec = {.rel = {.kind = ATTN_REL_BUCKET, .causal_buckets = known[i].causal},
                          .align = ATTN_ALIGN_OFFSET,
                          .offset = -known[i].rel};
        attn_args args = {.rel_table = gold_counting_table(&arena, 32)};
        attn_tensor s = gold_scores(&arena, contexts.usable[0], spec, args, 1, 1, 1);
        assert_int_equal(lround(*(double *)s.data), known[i].bucket);
        test_arena_reset(&arena);
    }
    for (int isa = 0; isa < contexts.n_usable; isa++) {
        gold_check_buckets(contexts.usable[isa], true);
        gold_check_buckets(contexts.usable[isa], false);
    }
}

static void gold_alibi(void **state)
{
    static const double slopes[6] = {.25, .0625, .015625, .00390625, .5, .125};
    enum { H = 6, T = 9, S = 13 };
    (void)state;
    for (int isa = 0; isa < contexts.n_usable; isa++) {
        test_arena arena = {0};
        attn_args args = {.alibi = TEST_TENSOR(&arena, F64, H)};
        memcpy(args.alibi.data, slopes, sizeof slopes);
        attn_spec spec = {.align = ATTN_ALIGN_BOTTOM_RIGHT};
        attn_tensor s = gold_scores(&arena, contexts.usable[isa], spec, args, H, T, S);
        for (int h = 0; h < H; h++)
            for (int i = 0; i < T; i++)
                for (int j = 0; j < S; j++) {
                    double want = -slopes[h] * fabs((double)(i + S - T - j));
                    double got = ((double *)s.data)[(h * T + i) * S + j];
                    assert_true(fabs(got - want) <= 0x1p-22 * fabs(want));
                }
        test_arena_reset(&arena);
    }
}

/* ---- closed forms ---- */

/* Scores 0 for four keys and a sink of ln 4: every weight 1/8, lse ln 8. */
static void gold_sink(void **state)
{
    double zeros[GOLD_KEYS * GOLD_WIDTH] = {0}, sink = log(4.0);
    (void)state;
    for (int isa = 0; isa < contexts.n_usable; isa++) {
        test_arena arena = {0};
        attn_spec spec = {.size = sizeof spec};
        attn_args args = {
            .size = sizeof args,
            .q = gold_tensor(&arena, ATTN_DTYPE_F64, 1, GOLD_WIDTH, zeros),
            .k = gold_tensor(&arena, ATTN_DTYPE_F64, GOLD_KEYS, GOLD_WIDTH, zeros),
            .v = gold_tensor(&arena, ATTN_DTYPE_F64, GOLD_KEYS, GOLD_WIDTH, gold_values),
            .out = gold_tensor(&arena, ATTN_DTYPE_F64, 1, GOLD_WIDTH, NULL),
            .lse = TEST_TENSOR(&arena, F64, 1),
            .sink = TEST_TENSOR(&arena, F64, 1)};
        *(double *)args.sink.data = sink;
        attn_ctx *ctx = test_contexts_get(&contexts, contexts.usable[isa], 1);
        assert_int_equal(attn_forward(ctx, &spec, &args, NULL), ATTN_OK);
        assert_true(fabs(*(double *)args.lse.data - log(8.0)) < 1e-14);
        assert_true(fabs(((double *)args.out.data)[0] - 2.0 / 8) < 1e-14);
        assert_true(fabs(((double *)args.out.data)[1] - 4.0 / 8) < 1e-14);
        test_arena_reset(&arena);
    }
}

/* A pair turned by its position: the product of (1, 0) at p and at j is cos(p - j); capped it
 * is c tanh of that. */
static void gold_check_turned(int isa, double softcap)
{
    enum { N = 40 };
    test_arena arena = {0};
    attn_spec spec = {.size = sizeof spec,
                      .scale = 1,
                      .softcap = softcap,
                      .scores_stage = ATTN_SCORES_CAPPED,
                      .rope = {.kind = ATTN_ROPE_HALF}};
    attn_args args = {.size = sizeof args,
                      .q = TEST_TENSOR(&arena, F64, N, 2),
                      .k = TEST_TENSOR(&arena, F64, N, 2),
                      .v = TEST_TENSOR(&arena, F64, N, 2),
                      .scores = TEST_TENSOR(&arena, F64, N, N)};
    for (int i = 0; i < N; i++)
        ((double *)args.q.data)[2 * i] = ((double *)args.k.data)[2 * i] = 1;
    assert_int_equal(attn_forward(test_contexts_get(&contexts, isa, 1), &spec, &args, NULL),
                     ATTN_OK);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            double want = cos((double)(i - j)), got = ((double *)args.scores.data)[i * N + j];
            if (softcap > 0) want = softcap * tanh(want / softcap);
            assert_true(fabs(got - want) < 1e-13);
        }
    test_arena_reset(&arena);
}

static void gold_rotation_and_cap(void **state)
{
    (void)state;
    for (int isa = 0; isa < contexts.n_usable; isa++) {
        gold_check_turned(contexts.usable[isa], 0);
        gold_check_turned(contexts.usable[isa], 0.75);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gold_one_query),  cmocka_unit_test(gold_three_queries),
        cmocka_unit_test(gold_t5_buckets), cmocka_unit_test(gold_alibi),
        cmocka_unit_test(gold_sink),       cmocka_unit_test(gold_rotation_and_cap),
    };
    test_contexts_init(&contexts);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_contexts_free(&contexts);
    return failed;
}
