/* SPDX-License-Identifier: MIT
 * What a call over a cache refuses, each with its own status and numbers and with nothing
 * written: what does not go with a cache, sequences and lengths that are not there, caches that
 * are gone, gradients. And what it does not refuse: a cache nobody has appended to. */
#include "decode_case.h"

#include <math.h>
#include <string.h>

/* ---- refusals ----------------------------------------------------------------------------- */

static void bad_k(decode_case *c, attn_args *a)
{
    a->k = c->k;
}
static void bad_v(decode_case *c, attn_args *a)
{
    a->v = c->v;
}
static void bad_table(decode_case *c, attn_args *a)
{
    a->page_table = TEST_TENSOR(&c->arena, I32, N, 4);
}
static void bad_seq(decode_case *c, attn_args *a)
{
    a->cache_seq = TEST_TENSOR(&c->arena, I32, N), test_put(&a->cache_seq, (int64_t[]){2}, N);
}
static void bad_seq_below(decode_case *c, attn_args *a)
{
    a->cache_seq = TEST_TENSOR(&c->arena, I64, N), test_put(&a->cache_seq, (int64_t[]){0}, -1);
}
static void bad_seq_dtype(decode_case *c, attn_args *a)
{
    a->cache_seq = TEST_TENSOR(&c->arena, F32, N);
}
static void bad_seq_count(decode_case *c, attn_args *a)
{
    a->cache_seq = TEST_TENSOR(&c->arena, I32, N + 1);
}
static void bad_many(decode_case *c, attn_args *a)
{
    a->q = TEST_TENSOR(&c->arena, F32, N + 1, H, 5, D),
    a->out = TEST_TENSOR(&c->arena, F32, N + 1, H, 5, E);
}
static void bad_len(decode_case *c, attn_args *a)
{
    a->k_len = TEST_TENSOR(&c->arena, I64, N), test_put(&a->k_len, (int64_t[]){1}, 41);
}
static void bad_start(decode_case *c, attn_args *a)
{
    a->k_start = TEST_TENSOR(&c->arena, I64, N);
}
static void bad_cu(decode_case *c, attn_args *a)
{
    a->cu_k = TEST_TENSOR(&c->arena, I64, N + 1);
}
static void bad_width(decode_case *c, attn_args *a)
{
    a->q = TEST_TENSOR(&c->arena, F32, N, H, 5, D + 1);
}
static void bad_out(decode_case *c, attn_args *a)
{
    a->out = TEST_TENSOR(&c->arena, F32, N, H, 5, E + 1);
}
static void bad_heads(decode_case *c, attn_args *a)
{
    a->q = TEST_TENSOR(&c->arena, F32, N, 3, 5, D),
    a->out = TEST_TENSOR(&c->arena, F32, N, 3, 5, E);
}
static void bad_bias(decode_case *c, attn_args *a)
{
    a->bias = TEST_TENSOR(&c->arena, F32, 5, 40);
}
static void bad_align(decode_case *c, attn_args *a)
{
    (void)a, c->spec.align = ATTN_ALIGN_UNSET;
}
static void bad_k_pos(decode_case *c, attn_args *a)
{
    a->k_pos = TEST_TENSOR(&c->arena, I64, L), c->spec.rope.kind = ATTN_ROPE_HALF,
    c->spec.keys_turned = true;
}
static void bad_place(decode_case *c, attn_args *a)
{
    attn_tensor v = {0};
    for (int64_t i = 0; strcmp(attn_cache_entry(c->cache, i, &v), "v") != 0;) i++;
    a->out.data = v.data; /* in the cache, whatever lies there */
}

static const struct {
    const char *about;
    void (*spoil)(decode_case *c, attn_args *a);
    attn_status status;
    const char *where;
    int64_t want, got;
} bad[] = {
    {"k beside a cache", bad_k, ATTN_E_PARAM, "k", 0, 0},
    {"v beside a cache", bad_v, ATTN_E_PARAM, "v", 0, 0},
    {"a page table beside a cache", bad_table, ATTN_E_PARAM, "page_table", 0, 0},
    {"a sequence beyond the cache", bad_seq, ATTN_E_PAGE, "cache_seq", N, N},
    {"a sequence below 0", bad_seq_below, ATTN_E_PAGE, "cache_seq", N, -1},
    {"sequences as floats", bad_seq_dtype, ATTN_E_DTYPE, "cache_seq", 0, 0},
    {"too many sequences named", bad_seq_count, ATTN_E_SHAPE, "cache_seq", N, N + 1},
    {"more sequences than there are", bad_many, ATTN_E_PAGE, "cache", N, N},
    {"a length beyond the cache", bad_len, ATTN_E_LENGTH, "k_len", 40, 41},
    {"starts", bad_start, ATTN_E_PARAM, "k_start", 0, 0},
    {"packed keys", bad_cu, ATTN_E_PARAM, "cu_k", 0, 0},
    {"queries of another width", bad_width, ATTN_E_SHAPE, "q", D, D + 1},
    {"outputs of another width", bad_out, ATTN_E_SHAPE, "out", E, E + 1},
    {"heads that do not divide", bad_heads, ATTN_E_HEADS, "cache", 3, G},
    {"a bias of another length", bad_bias, ATTN_E_MASK, "bias", L, 40},
    {"no alignment", bad_align, ATTN_E_CAUSAL, "align", 5, 40},
    {"positions for turned keys", bad_k_pos, ATTN_E_PARAM, "k_pos", 0, 0},
    {"an output in the cache", bad_place, ATTN_E_ALIAS, "out", 0, 0},
};

static void decode_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        decode_case c = {.cache = NULL};
        attn_error error = {0};
        decode_open(&c, kinds[0]);
        decode_append(&c, 0, 40);
        attn_args args = decode_args(&c, 35, 40);
        bad[i].spoil(&c, &args);
        test_fill_value(&args.out, -3);
        const attn_tensor before = test_tensor_dense(&c.arena, args.out, ATTN_DTYPE_NONE);
        if (attn_forward(NULL, &c.spec, &args, &error) != bad[i].status ||
            strcmp(error.where, bad[i].where) != 0 || error.want != bad[i].want ||
            error.got != bad[i].got)
            fail_msg("%s: status %d, %s: %s (%lld, %lld)", bad[i].about, error.status,
                     error.where, error.what, (long long)error.want, (long long)error.got);
        assert_true(test_same_bits(args.out, before));
        decode_end(&c);
    }
}

/* Memory that is never given back: what a destroyed cache leaves may be looked at. */
static void *decode_keep(void *user, void *ptr, size_t old_size, size_t new_size, size_t align)
{
    (void)ptr, (void)old_size, (void)align;
    return new_size ? test_alloc(user, new_size) : NULL;
}

static void decode_destroyed(void **state)
{
    (void)state;
    decode_case c = {.cache = NULL};
    test_arena kept = {0};
    attn_ctx *ctx;
    attn_error error = {0};
    const attn_config config =
        ATTN_CONFIG(.threads = 1, .alloc = decode_keep, .alloc_user = &kept);
    decode_open(&c, kinds[0]);
    attn_cache_destroy(c.cache);
    attn_cache_spec s = kinds[0];
    s.sequences = N, s.heads = G, s.key_width = D, s.value_width = E;
    assert_int_equal(attn_ctx_create(&ctx, &config, NULL), ATTN_OK);
    assert_int_equal(attn_cache_create(&c.cache, ctx, &s, NULL), ATTN_OK);
    decode_append(&c, 0, 40);
    attn_args args = decode_args(&c, 35, 40);
    attn_cache_destroy(c.cache);
    assert_int_equal(attn_forward(NULL, &c.spec, &args, &error), ATTN_E_HANDLE);
    assert_string_equal(error.where, "cache");
    attn_ctx_destroy(ctx);
    test_arena_reset(&kept);
    test_arena_reset(&c.arena);
}

static void decode_gradients(void **state)
{
    (void)state;
    decode_case c = {.cache = NULL};
    attn_error error = {0};
    decode_open(&c, kinds[0]);
    decode_append(&c, 0, 40);
    attn_args args = decode_args(&c, 35, 40);
    args.lse = TEST_TENSOR(&c.arena, F32, N, H, 5);
    args.d_out = args.out;
    args.d_q = TEST_TENSOR(&c.arena, F32, N, H, 5, D);
    assert_int_equal(attn_backward(NULL, &c.spec, &args, &error), ATTN_E_UNSUPPORTED);
    assert_string_equal(error.where, "cache");
    args.t_q = args.d_q;
    args.t_out = args.out;
    assert_int_equal(attn_jvp(NULL, &c.spec, &args, &error), ATTN_E_UNSUPPORTED);
    decode_end(&c);
}

/* Nobody has appended: every row is empty. */
static void decode_empty(void **state)
{
    (void)state;
    for (int x = 0; x < KINDS; x++) {
        decode_case c = {.cache = NULL};
        decode_open(&c, kinds[x]);
        attn_args args = decode_args(&c, 0, 5);
        args.lse = TEST_TENSOR(&c.arena, F32, N, H, 5);
        test_fill_value(&args.out, 7);
        assert_int_equal(attn_forward(NULL, &c.spec, &args, NULL), ATTN_OK);
        const attn_tensor zeros = TEST_TENSOR(&c.arena, F32, N, H, 5, E);
        assert_true(test_same_bits(args.out, zeros));
        assert_true(test_get(&args.lse, (int64_t[]){0, 0, 0}) == -(double)INFINITY);
        decode_end(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decode_refused),
        cmocka_unit_test(decode_destroyed),
        cmocka_unit_test(decode_gradients),
        cmocka_unit_test(decode_empty),
    };
    return cmocka_run_group_tests(tests, contexts_setup, contexts_finish);
}
