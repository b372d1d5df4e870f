/* SPDX-License-Identifier: MIT
 * A part of a call has the bits it has within the whole: a sequence alone and in its batch,
 * packed or padded; queries in chunks of any size, down to one row at a time, as chunked
 * prefill and decoding do; keys shared out among threads; results merged.
 *
 *   ATTN_CASES=n  cases of each test (4000)   ATTN_SEED=s   ATTN_LONG=1  twenty times as many
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "support/support.h"

static test_contexts contexts;

static attn_ctx *parts_ctx(int64_t any)
{
    return test_contexts_get(&contexts, contexts.usable[any % contexts.n_usable],
                             1 + (int)(any % 3));
}

static void parts_run(attn_ctx *ctx, const test_case *c, const attn_spec *spec,
                      const attn_args *args)
{
    attn_error error = {0};
    char text[200];
    if (attn_forward(ctx, spec, args, &error) == ATTN_OK) return;
    attn_error_text(&error, text, sizeof text);
    test_case_print(stderr, c);
    fail_msg("refused: %s", text);
}

/* Runs queries [begin, end) of sequence n alone and compares. False: it cannot be cut there. */
static bool parts_check(const test_case *c, int64_t n, int64_t begin, int64_t end)
{
    test_arena arena = {0};
    attn_spec spec;
    attn_args args;
    test_user user;
    const char *what = "";
    bool cut = test_case_part(c, n, begin, end, &arena, &spec, &args, &user);
    if (cut) {
        parts_run(parts_ctx(begin + n), c, &spec, &args);
        if (!test_case_part_same(c, n, begin, end, &args, &what)) {
            test_case_print(stderr, c);
            fail_msg("%s of queries %lld..%lld of sequence %lld differs (ATTN_SEED=0x%llx "
                     "ATTN_CASES=1 test_bits_parts)",
                     what, (long long)begin, (long long)end, (long long)n,
                     (unsigned long long)c->seed);
        }
    }
    test_arena_reset(&arena);
    return cut;
}

typedef int64_t (*parts_way)(const test_case *c, test_rng *rng);

/* Draws cases, runs each whole and in the given way. The parts must be many, or the test is
 * void. */
static void parts_for_cases(const test_profile *profile, int share, parts_way way)
{
    int64_t n = test_env_int("ATTN_CASES", 4000) * (test_env_long() ? 20 : 1) / share,
            parts = 0;
    uint64_t seed = (uint64_t)test_env_int("ATTN_SEED", 9000000041);
    for (int64_t i = 0; i < n || i < 1; i++) {
        test_case c;
        test_rng rng = test_rng_make(~(seed + (uint64_t)i));
        test_case_draw(&c, seed + (uint64_t)i, profile);
        parts_run(parts_ctx(c.isa_choice), &c, &c.spec, &c.args);
        parts += way(&c, &rng);
        test_case_free(&c);
    }
    print_message("# %lld parts of %lld cases\n", (long long)parts, (long long)n);
    if (n > 20) assert_true(parts >= n / 2);
}

static int64_t parts_of_batch(const test_case *c, test_rng *rng)
{
    int64_t parts = 0;
    (void)rng;
    for (int64_t n = 0; n < c->n_seq; n++)
        if (c->span[n].T > 0) parts += parts_check(c, n, 0, c->span[n].T);
    return parts;
}

static void parts_alone_and_in_batch(void **state)
{
    test_profile any = {0}, packed = {.force = TEST_OPTION(PACKED_Q) | TEST_OPTION(PACKED_K)};
    test_profile padded = {.allow = TEST_ALL_OPTIONS & ~TEST_OPTION(PACKED_Q) &
                                    ~TEST_OPTION(PACKED_K),
                           .force = TEST_OPTION(LENGTHS_Q) | TEST_OPTION(LENGTHS_K)};
    (void)state;
    parts_for_cases(&any, 1, parts_of_batch);
    parts_for_cases(&packed, 1, parts_of_batch);
    parts_for_cases(&padded, 1, parts_of_batch);
}

static int64_t parts_at_cuts(const test_case *c, test_rng *rng)
{
    int64_t parts = 0;
    for (int64_t n = 0; n < c->n_seq; n++)
        for (int64_t begin = 0; begin < c->span[n].T;) {
            int64_t most = test_rng_chance(rng, 50) ? 8 : 100;
            int64_t end = begin + test_rng_range(rng, 1, most);
            if (end > c->span[n].T) end = c->span[n].T;
            parts += parts_check(c, n, begin, end);
            begin = end;
        }
    return parts;
}

static void parts_chunked_prefill(void **state)
{
    test_profile small = {0}, large = {.pairs = 40000};
    test_profile window = {.pairs = 40000, .force = TEST_OPTION(WINDOW) | TEST_OPTION(OFFSET)};
    (void)state;
    parts_for_cases(&small, 1, parts_at_cuts);
    parts_for_cases(&large, 10, parts_at_cuts);
    parts_for_cases(&window, 10, parts_at_cuts);
}

static int64_t parts_by_row(const test_case *c, test_rng *rng)
{
    int64_t parts = 0;
    (void)rng;
    for (int64_t n = 0; n < c->n_seq; n++)
        for (int64_t i = 0; i < c->span[n].T; i++) parts += parts_check(c, n, i, i + 1);
    return parts;
}

static void parts_row_by_row(void **state)
{
    test_profile causal = {.force = TEST_OPTION(CAUSAL)}, any = {0};
    (void)state;
    parts_for_cases(&any, 5, parts_by_row);
    parts_for_cases(&causal, 5, parts_by_row);
}

/* ---- few queries, many keys: the keys are shared out ---- */

typedef struct parts_decode {
    int64_t H, G, T, S, D;
    bool causal;
    int window;
} parts_decode;

static const parts_decode decodes[] = {
    {1, 1, 1, 5000, 16, false, 0}, {2, 1, 1, 20011, 8, false, 0},
    {4, 2, 3, 9000, 33, true, 0},  {1, 1, 1, 4096, 64, true, 3000},
    {3, 3, 1, 1025, 5, false, 0},
};

static void parts_check_split(const parts_decode *d, int isa, attn_dtype dtype)
{
    static const int threads[] = {1, 2, 3, 5, 8, 17};
    test_arena arena = {0};
    test_rng rng = test_rng_make(3);
    attn_args args[6];
    const char *what = "";
    attn_spec spec = {.size = sizeof spec,
                      .causal = d->causal,
                      .align = ATTN_ALIGN_BOTTOM_RIGHT,
                      .window = {d->window > 0, d->window, -1}};
    attn_args a = {.size = sizeof a,
                   .q = test_tensor(&arena, dtype, 4, (int64_t[]){1, d->H, d->T, d->D}),
                   .k = test_tensor(&arena, dtype, 4, (int64_t[]){1, d->G, d->S, d->D}),
                   .v = test_tensor(&arena, dtype, 4, (int64_t[]){1, d->G, d->S, d->D}),
                   .out = test_tensor(&arena, dtype, 4, (int64_t[]){1, d->H, d->T, d->D}),
                   .lse = test_tensor(&arena, dtype, 3, (int64_t[]){1, d->H, d->T})};
    test_fill_normal(&a.q, &rng, 4);
    test_fill_normal(&a.k, &rng, 1);
    test_fill_normal(&a.v, &rng, 1);
    for (int i = 0; i < 6; i++) {
        args[i] = test_outputs_fresh(&arena, &a);
        attn_ctx *ctx = test_contexts_get(&contexts, isa, threads[i]);
        assert_int_equal(attn_forward(ctx, &spec, &args[i], NULL), ATTN_OK);
        if (!test_outputs_same(&args[0], &args[i], &what))
            fail_msg("%s differs: %lld keys on %d threads, %s", what, (long long)d->S,
                     threads[i], attn_isa_name(isa));
    }
    test_arena_reset(&arena);
}

static void parts_split_keys(void **state)
{
    (void)state;
    for (int isa = 0; isa < contexts.n_usable; isa++)
        for (size_t i = 0; i < sizeof decodes / sizeof decodes[0]; i++) {
            parts_check_split(&decodes[i], contexts.usable[isa], ATTN_DTYPE_F32);
            parts_check_split(&decodes[i], contexts.usable[isa], ATTN_DTYPE_F64);
            parts_check_split(&decodes[i], contexts.usable[isa], ATTN_DTYPE_BF16);
        }
}

/* ---- merging ---- */

enum { PARTS_MERGED = 5 };

typedef struct parts_merge {
    attn_tensor outs[2 * PARTS_MERGED], lses[2 * PARTS_MERGED];
    attn_tensor out, lse;
} parts_merge;

static parts_merge parts_merge_make(test_arena *arena, test_rng *rng)
{
    parts_merge m;
    const int64_t shape[4] = {2, 3, 7, 9};
    for (int i = 0; i < PARTS_MERGED; i++) {
        m.outs[i] = test_tensor_layout(arena, rng, ATTN_DTYPE_F32, 4, shape, false);
        m.lses[i] = test_tensor_layout(arena, rng, ATTN_DTYPE_F32, 3, shape, false);
        test_fill_normal(&m.outs[i], rng, 1);
        test_fill_normal(&m.lses[i], rng, 3);
    }
    m.out = test_tensor(arena, ATTN_DTYPE_F32, 4, shape);
    m.lse = test_tensor(arena, ATTN_DTYPE_F32, 3, shape);
    return m;
}

/* One part is itself; empty parts anywhere change nothing; the layout changes nothing; the
 * order of folding is the order given, so exchanging two parts may change bits but not more. */
static void parts_merged(void **state)
{
    test_arena arena = {0};
    test_rng rng = test_rng_make(11);
    (void)state;
    for (int round = 0; round < 50; round++) {
        parts_merge m = parts_merge_make(&arena, &rng), d = m;
        assert_int_equal(attn_merge(1, m.outs, m.lses, &m.out, &m.lse, NULL), ATTN_OK);
        assert_true(test_same_bits(m.out, m.outs[0]) && test_same_bits(m.lse, m.lses[0]));
        assert_int_equal(attn_merge(PARTS_MERGED, m.outs, m.lses, &m.out, &m.lse, NULL),
                         ATTN_OK);
        d.out = test_tensor(&arena, ATTN_DTYPE_F32, 4, m.out.shape);
        d.lse = test_tensor(&arena, ATTN_DTYPE_F32, 3, m.lse.shape);
        for (int i = 0, at = 0; i < PARTS_MERGED; i++) {
            d.outs[at] = test_tensor_dense(&arena, m.outs[i], ATTN_DTYPE_NONE);
            d.lses[at++] = test_tensor_dense(&arena, m.lses[i], ATTN_DTYPE_NONE);
            d.outs[at] = test_tensor(&arena, ATTN_DTYPE_F32, 4, m.out.shape);
            d.lses[at] = test_tensor(&arena, ATTN_DTYPE_F32, 3, m.lse.shape);
            test_fill_value(&d.lses[at++], -(double)INFINITY);
        }
        assert_int_equal(attn_merge(2 * PARTS_MERGED, d.outs, d.lses, &d.out, &d.lse, NULL),
                         ATTN_OK);
        assert_true(test_same_bits(m.out, d.out) && test_same_bits(m.lse, d.lse));
        test_arena_reset(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_alone_and_in_batch),
        cmocka_unit_test(parts_chunked_prefill),
        cmocka_unit_test(parts_row_by_row),
        cmocka_unit_test(parts_split_keys),
        cmocka_unit_test(parts_merged),
    };
    test_contexts_init(&contexts);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_contexts_free(&contexts);
    return failed;
}
