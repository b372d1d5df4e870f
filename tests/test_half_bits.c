/* SPDX-License-Identifier: MIT
 * precision = half, with every option: a result has the same bits for any number of threads, as
 * a part of its batch or alone, in pieces of any size down to one query, and whatever stands in
 * keys and values that nobody may see. It is near the exact result. Where a call runs exact,
 * it has the exact bits.
 *
 *   ATTN_CASES=n  cases of each test (3000)   ATTN_SEED=s   ATTN_LONG=1  twenty times as many
 *
 * tests/manifest_half.txt holds hashes of the bits of some calls, as tests/manifest.txt does for
 * exact ones; ATTN_MANIFEST_WRITE=path writes a new one instead of comparing. */
#include "contexts.h"

#include <math.h>
#include <stdlib.h>

static attn_ctx *half_ctx(int64_t any)
{
    return test_contexts_get(&contexts, contexts.usable[contexts.n_usable - 1],
                             1 + (int)(any % 3));
}

static void half_fail(const test_case *c, const char *what, const char *how)
{
    test_case_print(stderr, c);
    fail_msg("%s %s (ATTN_SEED=0x%llx ATTN_CASES=1 test_half_bits)", what, how,
             (unsigned long long)c->seed);
}

static void half_run(attn_ctx *ctx, const test_case *c, const attn_spec *spec,
                     const attn_args *args)
{
    attn_error error = {0};
    char text[200];
    if (attn_forward(ctx, spec, args, &error) == ATTN_OK) return;
    attn_error_text(&error, text, sizeof text);
    half_fail(c, "refused:", text);
}

/* Whether the products of the call are those of the half mode. */
static bool half_is(const attn_spec *spec, const attn_args *args)
{
    attn_plan *plan = NULL;
    attn_plan_info info;
    assert_int_equal(attn_plan_create(&plan, half_ctx(0), spec, args, NULL), ATTN_OK);
    attn_plan_describe(plan, &info);
    attn_plan_destroy(plan);
    return info.precision == ATTN_PRECISION_HALF;
}

static void half_draw(test_case *c, uint64_t seed, const test_profile *profile)
{
    test_case_draw(c, seed, profile);
    c->spec.precision = ATTN_PRECISION_HALF;
}

typedef void (*half_way)(test_case *c, test_rng *rng);

static void half_for_cases(const test_profile *profile, int share, half_way way)
{
    const int64_t n = test_env_int("ATTN_CASES", 3000) * (test_env_long() ? 20 : 1) / share;
    const uint64_t seed = (uint64_t)test_env_int("ATTN_SEED", 7700000011);
    for (int64_t i = 0; i < n || i < 1; i++) {
        test_case c;
        test_rng rng = test_rng_make(~(seed + (uint64_t)i));
        half_draw(&c, seed + (uint64_t)i, profile);
        half_run(half_ctx(0), &c, &c.spec, &c.args);
        way(&c, &rng);
        test_case_free(&c);
    }
}

static void half_same(test_case *c, attn_ctx *ctx, const char *how)
{
    const char *what = "";
    attn_args other = test_outputs_fresh(&c->arena, &c->args);
    half_run(ctx, c, &c->spec, &other);
    if (!test_outputs_same(&c->args, &other, &what)) half_fail(c, what, how);
}

static void half_threads(test_case *c, test_rng *rng)
{
    half_same(c, half_ctx(test_rng_range(rng, 1, 2)), "differs on several threads");
}

static void half_check(const test_case *c, int64_t n, int64_t begin, int64_t end)
{
    test_arena arena = {0};
    attn_spec spec;
    attn_args args;
    test_user user;
    const char *what = "";
    if (test_case_part(c, n, begin, end, &arena, &spec, &args, &user)) {
        half_run(half_ctx(begin + n), c, &spec, &args);
        if (!test_case_part_same(c, n, begin, end, &args, &what))
            half_fail(c, what, "differs in a part of the call");
    }
    test_arena_reset(&arena);
}

static void half_pieces(test_case *c, test_rng *rng)
{
    for (int64_t n = 0; n < c->n_seq; n++)
        for (int64_t begin = 0, end; begin < c->span[n].T; begin = end) {
            end = begin + test_rng_range(rng, 1, test_rng_chance(rng, 50) ? 2 : 100);
            if (end > c->span[n].T) end = c->span[n].T;
            half_check(c, n, begin, end);
        }
}

/* The same call, and then NaN where nobody looks. */
static void half_hidden(test_case *c, test_rng *rng)
{
    oracle_result r;
    (void)rng;
    assert_true(oracle_attention(&r, &c->spec, &c->args, ORACLE_FLIP_NONE));
    test_case_poison(c, &r);
    oracle_free(&r);
    half_same(c, half_ctx(1), "depends on what nobody may see");
}

static double half_distance(const attn_tensor *a, const attn_tensor *b)
{
    int64_t index[ATTN_MAX_RANK] = {0};
    double far = 0, size = 0;
    if (test_tensor_empty(a)) return 0;
    do {
        const double x = test_get(a, index), y = test_get(b, index);
        far += (x - y) * (x - y);
        size += y * y;
    } while (test_index_next(a, index));
    return size == 0 ? far : sqrt(far / size);
}

/* Scores of a spread of hundreds are left out; what dropout leaves of a few keys is small, and
 * outputs of bf16 have an error of their own. */
static void half_near(test_case *c, test_rng *rng)
{
    (void)rng;
    attn_spec exact = c->spec;
    attn_args other = test_outputs_fresh(&c->arena, &c->args);
    const char *what = "";
    exact.precision = ATTN_PRECISION_EXACT;
    half_run(half_ctx(0), c, &exact, &other);
    if (!half_is(&c->spec, &c->args)) {
        if (!test_outputs_same(&c->args, &other, &what)) half_fail(c, what, "is not exact");
    } else if (c->args.out.dtype && !(c->options & TEST_OPTION(LARGE))) {
        const double far = half_distance(&c->args.out, &other.out);
        if (!(far < 0x1p-7)) half_fail(c, "out", "is far from the exact one");
    }
}

static const test_profile any = {0}, large = {.pairs = 60000};
static const test_profile ranges = {.pairs = 60000,
                                    .force = TEST_OPTION(CAUSAL) | TEST_OPTION(OFFSET)};
static const test_profile packed = {.pairs = 20000,
                                    .force = TEST_OPTION(PACKED_Q) | TEST_OPTION(PACKED_K)};

#define HALF_TEST(way)                                                                         \
    static void way##_all(void **state)                                                        \
    {                                                                                          \
        (void)state;                                                                           \
        half_for_cases(&any, 1, way);                                                          \
        half_for_cases(&large, 10, way);                                                       \
        half_for_cases(&ranges, 10, way);                                                      \
        half_for_cases(&packed, 10, way);                                                      \
    }
HALF_TEST(half_threads)
HALF_TEST(half_pieces)
HALF_TEST(half_hidden)
HALF_TEST(half_near)

/* ---- the manifest ------------------------------------------------------------------------ */

#ifndef ATTN_SOURCE_DIR
#    define ATTN_SOURCE_DIR "."
#endif

enum { HALF_LINES = 100 };

static unsigned long long half_hash(int i)
{
    test_case c;
    test_profile profile = {.pairs = i % 4 ? 500 : 12000, .force = TEST_OPTION(LSE)};
    profile.allow = TEST_ALL_OPTIONS & ~(TEST_OPTION(POISON) | TEST_OPTION(THREADS) |
                                         TEST_OPTION(F64) | TEST_LATER_OPTIONS);
    half_draw(&c, UINT64_C(0x4A1F0000) + (uint64_t)i, &profile);
    half_run(half_ctx(0), &c, &c.spec, &c.args);
    uint64_t hash = test_hash_bits(c.args.out, 1);
    hash = test_hash_bits(c.args.lse, hash);
    hash = test_hash_bits(c.args.weights, hash);
    hash = test_hash_bits(c.args.scores, hash);
    test_case_free(&c);
    return hash;
}

static void half_manifest_write(const char *path)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "# SPDX-License-Identifier: MIT\n");
    fprintf(file, "attn manifest of precision = half, %d calls: hashes of their bits\n",
            HALF_LINES);
    for (int i = 0; i < HALF_LINES; i++) fprintf(file, "%d %016llx\n", i, half_hash(i));
    assert_int_equal(fclose(file), 0);
}

/* Only where there is such a mode: the exact bits have their own manifest. */
static bool half_here(void)
{
    test_arena arena = {0};
    const attn_spec spec = {.size = sizeof spec, .precision = ATTN_PRECISION_HALF};
    attn_args args = {.size = sizeof args};
    args.q = args.k = args.v = args.out = TEST_TENSOR(&arena, F32, 4, 8);
    const bool here = half_is(&spec, &args);
    test_arena_reset(&arena);
    return here;
}

static void half_manifest(void **state)
{
    const char *path = getenv("ATTN_MANIFEST_WRITE");
    int n = 0;
    (void)state;
    if (!half_here()) skip();
    if (path) {
        half_manifest_write(path);
        return;
    }
    FILE *file = fopen(ATTN_SOURCE_DIR "/tests/manifest_half.txt", "r");
    assert_non_null(file);
    assert_int_equal(
        fscanf(file, "# SPDX%*[^\n] attn manifest of precision = half, %d%*[^\n]", &n), 1);
    assert_int_equal(n, HALF_LINES);
    for (int i = 0; i < n; i++) {
        int number = -1;
        unsigned long long want = 0, got = half_hash(i);
        assert_int_equal(fscanf(file, "%d %llx", &number, &want), 2);
        assert_int_equal(number, i);
        if (got != want) fail_msg("call %d: %016llx, the manifest says %016llx", i, got, want);
    }
    fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(half_threads_all), cmocka_unit_test(half_pieces_all),
        cmocka_unit_test(half_hidden_all),  cmocka_unit_test(half_near_all),
        cmocka_unit_test(half_manifest),
    };
    return cmocka_run_group_tests(tests, contexts_setup, contexts_finish);
}
