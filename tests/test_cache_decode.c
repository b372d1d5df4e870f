/* SPDX-License-Identifier: MIT
 * What serving does with a cache: a plan that outlives thousands of steps without an
 * allocation, prefill in pieces, decoding, prompts and single tokens in one ragged call, rings
 * far from their beginning, keys turned on the way in, many readers at once. The bits are those
 * of one call over everything.
 *
 *   ATTN_SHARE=n  a part of the kinds of cache, of the cuts, and of the steps of one of them */
#include "decode_case.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* ---- one plan, many steps ---------------------------------------------------------------- */

typedef struct decode_meter {
    int64_t calls;
} decode_meter;

static void *decode_alloc(void *user, void *ptr, size_t old_size, size_t new_size, size_t align)
{
    decode_meter *meter = user;
    (void)old_size;
    meter->calls++;
    if (new_size == 0) {
        free(ptr);
        return NULL;
    }
    return aligned_alloc(align, (new_size + align - 1) / align * align);
}

static void decode_steps(decode_case *c, const attn_plan *plan, void *workspace, size_t bytes,
                         int64_t from)
{
    for (int64_t i = from; i < L; i++) {
        decode_append(c, i, i + 1);
        const attn_args args = decode_args(c, i, i + 1);
        assert_int_equal(attn_plan_run(plan, &args, workspace, bytes, NULL), ATTN_OK);
        if (!test_same_bits(args.out, decode_rows(c->out, i, i + 1)))
            fail_msg("token %lld is not row %lld of the whole", (long long)i, (long long)i);
    }
}

static void decode_is_prefill(void **state)
{
    (void)state;
    for (int x = decode_step(KINDS) / 2; x < KINDS; x += decode_step(KINDS))
        for (int threads = 1; threads <= 3; threads++) {
            decode_case c = {.cache = NULL};
            decode_meter meter = {0};
            attn_ctx *ctx;
            attn_plan *plan;
            const attn_config config =
                ATTN_CONFIG(.threads = threads, .alloc = decode_alloc, .alloc_user = &meter);
            decode_begin(&c, kinds[x]);
            assert_int_equal(attn_ctx_create(&ctx, &config, NULL), ATTN_OK);
            const int64_t first = L - (x == 0 ? test_env_share(L) : 20); /* most begin late */
            if (first > 0) decode_append(&c, 0, first);
            const attn_args like = decode_args(&c, 0, 1);
            assert_int_equal(attn_plan_create(&plan, ctx, &c.spec, &like, NULL), ATTN_OK);
            const size_t bytes = attn_plan_workspace(plan);
            void *workspace = test_alloc(&c.arena, bytes + 1);
            memset(workspace, 0xFF, bytes);
            const int64_t before = meter.calls;
            decode_steps(&c, plan, workspace, bytes, first);
            assert_int_equal(meter.calls, before);
            attn_plan_destroy(plan);
            attn_ctx_destroy(ctx);
            decode_end(&c);
        }
}

/* A plan knows what it was made for by value: its first cache may be gone. */
static void decode_other_cache(void **state)
{
    (void)state;
    decode_case c = {.cache = NULL};
    attn_plan *plan;
    attn_error error = {0};
    decode_begin(&c, kinds[4]);
    const attn_args like = decode_args(&c, 0, 1);
    assert_int_equal(attn_plan_create(&plan, NULL, &c.spec, &like, NULL), ATTN_OK);
    const size_t bytes = attn_plan_workspace(plan);
    void *workspace = test_alloc(&c.arena, bytes + 1);
    attn_cache_destroy(c.cache);
    attn_cache_spec s = kinds[4];
    s.sequences = N, s.heads = G, s.key_width = D, s.value_width = E;
    assert_int_equal(attn_cache_create(&c.cache, NULL, &s, NULL), ATTN_OK);
    decode_append(&c, 0, 33);
    attn_args args = decode_args(&c, 32, 33);
    assert_int_equal(attn_plan_run(plan, &args, workspace, bytes, NULL), ATTN_OK);
    assert_true(test_same_bits(args.out, decode_rows(c.out, 32, 33)));
    attn_cache *other;
    s.page = 8;
    assert_int_equal(attn_cache_create(&other, NULL, &s, NULL), ATTN_OK);
    args.cache = other;
    assert_int_equal(attn_plan_run(plan, &args, workspace, bytes, &error), ATTN_E_SHAPE);
    assert_string_equal(error.where, "cache");
    args.cache = NULL;
    assert_int_equal(attn_plan_run(plan, &args, workspace, bytes, &error), ATTN_E_SHAPE);
    attn_cache_destroy(other);
    attn_plan_destroy(plan);
    decode_end(&c);
}

/* ---- many readers -------------------------------------------------------------------------- */

enum { READERS = 6 };

typedef struct decode_reader {
    decode_case *c;
    const attn_plan *plan;
    attn_args args;
    void *workspace;
    size_t bytes;
    int64_t wrong;
} decode_reader;

/* Everything that only reads, again and again. */
static void *decode_read(void *arg)
{
    decode_reader *r = arg;
    const attn_cache *cache = r->c->cache;
    float row[G * D];
    attn_tensor view, none = {0};
    attn_cache_info info;
    for (int64_t i = 0; i < test_env_share(30); i++) {
        r->wrong += attn_plan_run(r->plan, &r->args, r->workspace, r->bytes, NULL) != ATTN_OK;
        r->wrong += !test_same_bits(r->args.out, decode_rows(r->c->out, L - 8, L));
        r->wrong += attn_cache_length(cache, i % N) != L || !attn_cache_holds(cache, 0, i);
        r->wrong += attn_cache_read(cache, i % N, i, 1, ATTN_TENSOR(row, F32, G, 1, D), none,
                                    NULL) != ATTN_OK;
        r->wrong += attn_cache_entry(cache, 0, &view) == NULL;
        attn_cache_describe(cache, &info);
        r->wrong += info.held != N * L;
    }
    return NULL;
}

/* Threads of the caller's over one cache, by one plan. */
static void decode_readers(void **state)
{
    (void)state;
    decode_case c = {.cache = NULL};
    decode_reader readers[READERS];
    pthread_t threads[READERS];
    attn_plan *plan;
    decode_begin(&c, kinds[4]);
    decode_append(&c, 0, L);
    const attn_args like = decode_args(&c, L - 8, L);
    assert_int_equal(attn_plan_create(&plan, NULL, &c.spec, &like, NULL), ATTN_OK);
    const size_t bytes = attn_plan_workspace(plan);
    for (int i = 0; i < READERS; i++) {
        void *workspace = test_alloc(&c.arena, bytes + 1);
        readers[i] = (decode_reader){&c, plan, decode_args(&c, L - 8, L), workspace, bytes, 0};
    }
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, decode_read, &readers[i]), 0);
    for (int i = 0; i < READERS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < READERS; i++) assert_int_equal(readers[i].wrong, 0);
    attn_plan_destroy(plan);
    decode_end(&c);
}

/* ---- pieces ------------------------------------------------------------------------------- */

static void decode_pieces(void **state)
{
    static const int64_t cuts[][4] = {
        {1, 2, 3, L}, {48, 49, 511, L}, {512, 513, 640, L}, {L, L, L, L}, {7, 300, 699, L}};
    enum { CUTS = sizeof cuts / sizeof cuts[0] };
    (void)state;
    for (int x = decode_step(KINDS) / 2; x < KINDS; x += decode_step(KINDS))
        for (int y = decode_step(CUTS) / 2; y < CUTS; y += decode_step(CUTS)) {
            decode_case c = {.cache = NULL};
            decode_begin(&c, kinds[x]);
            for (int64_t z = 0, from = 0; z < 4; from = cuts[y][z], z++) {
                decode_append(&c, from, cuts[y][z]);
                const attn_args args = decode_args(&c, from, cuts[y][z]);
                assert_int_equal(attn_forward(NULL, &c.spec, &args, NULL), ATTN_OK);
                assert_true(test_same_bits(args.out, decode_rows(c.out, from, cuts[y][z])));
            }
            decode_end(&c);
        }
}

/* Sequence 0 brings 300 rows of its prompt, 1 a token, 2 nothing, 1 again eight rows that end
 * earlier: one call. */
static void decode_ragged(void **state)
{
    static const int64_t seq[] = {0, 1, 2, 1}, end[] = {300, L, 50, 400},
                         rows[] = {300, 1, 0, 8};
    (void)state;
    for (int x = decode_step(KINDS) / 2; x < KINDS; x += decode_step(KINDS)) {
        decode_case c = {.cache = NULL};
        decode_begin(&c, kinds[x]);
        decode_append(&c, 0, L);
        attn_args args =
            ATTN_ARGS(.q = TEST_TENSOR(&c.arena, F32, 1, H, 309, D), .cache = c.cache,
                      .out = TEST_TENSOR(&c.arena, F32, 1, H, 309, E),
                      .cu_q = TEST_TENSOR(&c.arena, I32, 5),
                      .k_len = TEST_TENSOR(&c.arena, I64, 4),
                      .cache_seq = TEST_TENSOR(&c.arena, I32, 4));
        for (int64_t b = 0, at = 0; b < 4; b++) {
            test_put(&args.cache_seq, &b, (double)seq[b]);
            test_put(&args.k_len, &b, (double)end[b]);
            attn_tensor from = decode_rows(attn_tensor_slice(c.q, 0, seq[b], seq[b] + 1),
                                           end[b] - rows[b], end[b]);
            assert_int_equal(
                attn_tensor_copy(decode_rows(args.q, at, at + rows[b]), from, NULL), ATTN_OK);
            at += rows[b];
            test_put(&args.cu_q, (int64_t[]){b + 1}, (double)at);
        }
        assert_int_equal(attn_forward(NULL, &c.spec, &args, NULL), ATTN_OK);
        for (int64_t b = 0, at = 0; b < 4; at += rows[b], b++)
            assert_true(
                test_same_bits(decode_rows(args.out, at, at + rows[b]),
                               decode_rows(attn_tensor_slice(c.out, 0, seq[b], seq[b] + 1),
                                           end[b] - rows[b], end[b])));
        decode_end(&c);
    }
}

/* ---- positions ---------------------------------------------------------------------------- */

/* Keys turned by append and queries by the call, or all by the call: the bits of a rotation over
 * everything; and with ALiBi, which is not another one when it decodes. */
static void decode_turned(void **state)
{
    (void)state;
    for (int turned = 0; turned < 2; turned++)
        for (int x = decode_step(KINDS) / 2; x < KINDS; x += decode_step(KINDS)) {
            decode_case c = {.cache = NULL, .spec.rope.kind = ATTN_ROPE_INTERLEAVED};
            decode_begin(&c, kinds[x]);
            attn_tensor slopes = TEST_TENSOR(&c.arena, F32, H);
            test_fill_normal(&slopes, &c.rng, 1);
            const attn_args whole =
                ATTN_ARGS(.q = c.q, .k = c.k, .v = c.v, .out = c.out, .alibi = slopes);
            assert_int_equal(attn_forward(NULL, &c.spec, &whole, NULL), ATTN_OK);
            c.spec.keys_turned = turned;
            for (int64_t from = 0, to = 600; from < L; from = to, to += 50) {
                attn_cache_new rows = ATTN_CACHE_NEW(.k = decode_rows(c.k, from, to),
                                                     .v = decode_rows(c.v, from, to));
                if (turned) rows.rope = c.spec.rope;
                assert_int_equal(attn_cache_append(c.cache, &rows, NULL), ATTN_OK);
                attn_args args = decode_args(&c, from, to);
                args.alibi = slopes;
                assert_int_equal(attn_forward(NULL, &c.spec, &args, NULL), ATTN_OK);
                assert_true(test_same_bits(args.out, decode_rows(c.out, from, to)));
            }
            decode_end(&c);
        }
}

/* A ring that a billion tokens went through: the sinks and the last of them, not a walk. */
static void decode_far(void **state)
{
    enum { CAP = 600, SINKS = 5 };
    const int64_t far = test_env_long() ? 1000000000 : 20000000;
    (void)state;
    decode_case c = {.cache = NULL};
    decode_begin(&c, (attn_cache_spec){.size = sizeof(attn_cache_spec),
                                       .kind = ATTN_CACHE_RING,
                                       .capacity = CAP,
                                       .sinks = SINKS});
    decode_append(&c, 0, SINKS);
    attn_cache_new many =
        ATTN_CACHE_NEW(.k = decode_rows(c.k, 0, 1), .v = decode_rows(c.v, 0, 1));
    many.k.shape[2] = many.v.shape[2] = far, many.k.stride[2] = many.v.stride[2] = 0;
    assert_int_equal(attn_cache_append(c.cache, &many, NULL), ATTN_OK);
    decode_append(&c, SINKS, CAP);
    assert_int_equal(attn_cache_length(c.cache, 0), far + CAP);
    attn_args args = decode_args(&c, 40, 41);
    c.spec.align = ATTN_ALIGN_BOTTOM_RIGHT;
    for (int norm = 0; norm < 2; norm++) {
        c.spec.normaliser = norm ? ATTN_NORM_ENTMAX : ATTN_NORM_SOFTMAX;
        assert_int_equal(attn_forward(NULL, &c.spec, &args, NULL), ATTN_OK);
        attn_args near =
            ATTN_ARGS(.q = args.q, .k = decode_rows(c.k, 0, CAP), .v = decode_rows(c.v, 0, CAP),
                      .out = TEST_TENSOR(&c.arena, F32, N, H, 1, E));
        assert_int_equal(attn_forward(NULL, &c.spec, &near, NULL), ATTN_OK);
        for (int64_t b = 0; b < N; b++) /* other chunks, so other roundings */
            for (int64_t h = 0; h < H; h++)
                for (int64_t e = 0; e < E; e++) {
                    const int64_t at[] = {b, h, 0, e};
                    assert_true(fabs(test_get(&args.out, at) - test_get(&near.out, at)) < 1e-5);
                }
    }
    decode_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decode_is_prefill), cmocka_unit_test(decode_other_cache),
        cmocka_unit_test(decode_readers),    cmocka_unit_test(decode_pieces),
        cmocka_unit_test(decode_ragged),     cmocka_unit_test(decode_turned),
        cmocka_unit_test(decode_far),
    };
    return cmocka_run_group_tests(tests, contexts_setup, contexts_finish);
}
