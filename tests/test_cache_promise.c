/* SPDX-License-Identifier: MIT
 * What a cache promises, for every format of keys and values, with keys turned on the way in, by
 * the call or not at all, and values of their own or columns of the keys: a prefill, a prefill
 * in any pieces, a token at a time and eight to verify give the bits of one call over the
 * tensors that attn_cache_read gives, in a contiguous cache, a ring, and pages of 1, 3, 16, 64
 * and 1000; sequences that share their prefix give those of sequences that repeat it; and a ring
 * with sinks gives those of a mask.
 *
 *   ATTN_LONG=1  every format of keys with every format of values   ATTN_SHARE=n  one in n
 */
#include "decode_case.h"

#include <string.h>

typedef enum promise_turn { TURN_NONE, TURN_IN, TURN_READ, TURNS } promise_turn;

static const attn_cache_format formats[] = {
    {.type = ATTN_CACHE_F32},  {.type = ATTN_CACHE_F64},
    {.type = ATTN_CACHE_BF16}, {.type = ATTN_CACHE_F16},
    {.type = ATTN_CACHE_I8},   {.type = ATTN_CACHE_I8, .asymmetric = true},
    {.type = ATTN_CACHE_I4},   {.type = ATTN_CACHE_I4, .asymmetric = true},
    {.type = ATTN_CACHE_I8}, /* by column, see promise_format */
};
enum { FORMATS = sizeof formats / sizeof formats[0] };

typedef struct promise_case {
    decode_case d; /* out: of the call over k and v below */
    attn_cache_spec s;
    attn_dtype wide;
    attn_tensor q, k, v; /* as read back: N G L D, N G L E */
    promise_turn turn;
} promise_case;

static attn_cache_format promise_format(promise_case *p, int x, int64_t width)
{
    attn_cache_format f = formats[x];
    if (x < FORMATS - 1) return f;
    f.columns = TEST_TENSOR(&p->d.arena, F32, G, width);
    test_fill_value(&f.columns, 0x1p-5);
    return f;
}

static attn_tensor promise_tensor(promise_case *p, attn_dtype dtype, int64_t heads, int64_t T,
                                  int64_t width)
{
    return test_tensor(&p->d.arena, dtype, 4, (const int64_t[]){N, heads, T, width});
}

/* ---- a cache and what it stands for -------------------------------------------------------- */

static attn_cache *promise_cache(const promise_case *p)
{
    attn_cache *cache;
    attn_error error = {0};
    if (attn_cache_create(&cache, NULL, &p->s, &error) != ATTN_OK)
        fail_msg("create: %s %s", error.where, error.what);
    return cache;
}

/* Rows from .. to of entries first .. first + B of k, v, into sequences to_seq on. */
static void promise_append(promise_case *p, attn_cache *cache, int64_t b, int64_t B,
                           int64_t seq, int64_t from, int64_t to)
{
    attn_error error = {0};
    attn_cache_new rows =
        ATTN_CACHE_NEW(.k = decode_rows(attn_tensor_slice(p->d.k, 0, b, b + B), from, to),
                       .seq = TEST_TENSOR(&p->d.arena, I32, B));
    for (int64_t i = 0; i < B; i++) test_put(&rows.seq, &i, (double)(seq + i));
    if (!p->s.latent) rows.v = decode_rows(attn_tensor_slice(p->d.v, 0, b, b + B), from, to);
    if (p->turn == TURN_IN) rows.rope.kind = ATTN_ROPE_INTERLEAVED;
    if (attn_cache_append(cache, &rows, &error) != ATTN_OK)
        fail_msg("append: %s %s", error.where, error.what);
}

static void promise_read(promise_case *p, const attn_cache *cache, int64_t from, int64_t to)
{
    for (int64_t b = 0; b < N; b++) {
        attn_tensor k = decode_rows(attn_tensor_slice(p->k, 0, b, b + 1), from, to);
        attn_tensor v = decode_rows(attn_tensor_slice(p->v, 0, b, b + 1), from, to);
        k = (attn_tensor){
            k.data, k.dtype, 3, {G, to - from, D}, {k.stride[1], k.stride[2], k.stride[3]}};
        v = (attn_tensor){
            v.data, v.dtype, 3, {G, to - from, E}, {v.stride[1], v.stride[2], v.stride[3]}};
        assert_int_equal(attn_cache_read(cache, b, from, to - from, k, v, NULL), ATTN_OK);
    }
}

/* A case of its own sizes, without its answer yet. */
static void promise_begin(promise_case *p, attn_cache_spec s, int key, int value, bool latent)
{
    const bool wide = formats[key].type == ATTN_CACHE_F64 ||
                      (!latent && formats[value].type == ATTN_CACHE_F64);
    p->wide = wide ? ATTN_DTYPE_F64 : ATTN_DTYPE_F32;
    s.sequences = N, s.heads = G, s.key_width = D, s.value_width = E, s.latent = latent;
    s.key = promise_format(p, key, D);
    if (latent) s.value_from = 2;
    if (!latent) s.value = promise_format(p, value, E);
    p->s = s;
    p->d.rng = test_rng_make(17);
    p->d.spec = ATTN_SPEC(.causal = true, .align = ATTN_ALIGN_BOTTOM_RIGHT);
    if (p->turn != TURN_NONE) p->d.spec.rope.kind = ATTN_ROPE_INTERLEAVED;
    p->d.spec.keys_turned = p->turn == TURN_IN;
    p->d.k = decode_normal(&p->d, G, D);
    p->d.v = decode_normal(&p->d, G, E);
    p->q = test_tensor_dense(&p->d.arena, decode_normal(&p->d, H, D), p->wide);
    p->k = promise_tensor(p, p->wide, G, L, D);
    p->v = promise_tensor(p, p->wide, G, L, E);
    p->d.out = promise_tensor(p, p->wide, H, L, E);
}

/* Many rows are for the fastest instruction set, few for any. */
static attn_ctx *promise_ctx(promise_case *p, int64_t rows)
{
    const int last = contexts.n_usable - 1;
    const int isa = contexts.usable[rows > 8 ? last : (int)test_rng_range(&p->d.rng, 0, last)];
    return test_contexts_get(&contexts, isa, (int)test_rng_range(&p->d.rng, 1, 3));
}

/* Queries from .. to over a cache that ends with their keys. */
static attn_tensor promise_ask(promise_case *p, const attn_cache *cache, int64_t from,
                               int64_t to)
{
    attn_error error = {0};
    const attn_args args = ATTN_ARGS(.q = decode_rows(p->q, from, to), .cache = cache,
                                     .out = promise_tensor(p, p->wide, H, to - from, E));
    if (attn_forward(promise_ctx(p, to - from), &p->d.spec, &args, &error) != ATTN_OK)
        fail_msg("ask: %s %s", error.where, error.what);
    return args.out;
}

/* ---- prefill, pieces, tokens ---------------------------------------------------------------- */

static void promise_rows(promise_case *p, const attn_cache *cache, int64_t from, int64_t to)
{
    if (!test_same_bits(promise_ask(p, cache, from, to), decode_rows(p->d.out, from, to)))
        fail_msg("kind %d page %lld key %d value %d turn %d: rows %lld .. %lld differ",
                 (int)p->s.kind, (long long)p->s.page, (int)p->s.key.type, (int)p->s.value.type,
                 (int)p->turn, (long long)from, (long long)to);
}

static void promise_prefill(promise_case *p)
{
    attn_cache *cache = promise_cache(p);
    promise_append(p, cache, 0, N, 0, 0, L);
    promise_read(p, cache, 0, L);
    const attn_args args = ATTN_ARGS(.q = p->q, .k = p->k, .v = p->v, .out = p->d.out);
    assert_int_equal(attn_forward(NULL, &p->d.spec, &args, NULL), ATTN_OK);
    promise_rows(p, cache, 0, L);
    attn_cache_destroy(cache);
}

/* Single tokens, eight at once, and long pieces, with the chunk's end in one of any of them. */
static void promise_pieces(promise_case *p)
{
    static const int64_t sizes[] = {1, 1, 8, 8, 63, 200};
    attn_cache *cache = promise_cache(p);
    const int64_t start = test_rng_range(&p->d.rng, 0, 505);
    promise_append(p, cache, 0, N, 0, 0, start);
    for (int64_t from = start, to; from < L; from = to) {
        const bool near = from > 500 && from < 516;
        to = from + (near ? 1 + from % 2 * 7 : test_rng_pick(&p->d.rng, sizes, 6));
        if (to > L) to = L;
        promise_append(p, cache, 0, N, 0, from, to);
        promise_rows(p, cache, from, to);
    }
    attn_cache_destroy(cache);
}

/* ---- a common beginning ---------------------------------------------------------------------- */

/* All sequences begin as the first one: as forks of it, or each with the tokens for itself. */
static attn_cache *promise_common(promise_case *p, bool fork, int64_t cut)
{
    attn_cache *cache = promise_cache(p);
    promise_append(p, cache, 0, 1, 0, 0, cut);
    for (int64_t b = 1; b < N; b++) {
        if (fork)
            assert_int_equal(attn_cache_fork(cache, 0, b, NULL), ATTN_OK);
        else
            promise_append(p, cache, 0, 1, b, 0, cut);
    }
    promise_append(p, cache, 0, N, 0, cut, L);
    return cache;
}

static void promise_shared(promise_case *p)
{
    const int64_t cut = test_rng_range(&p->d.rng, 513, L - 8);
    attn_cache *forks = promise_common(p, true, cut), *alone = promise_common(p, false, cut);
    const int64_t asked[] = {1, 8, L - cut};
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++)
        assert_true(test_same_bits(promise_ask(p, forks, L - asked[i], L),
                                   promise_ask(p, alone, L - asked[i], L)));
    attn_cache_destroy(forks);
    attn_cache_destroy(alone);
}

/* ---- every format ---------------------------------------------------------------------------- */

/* One format over all kinds of cache: the answers of the first kind are those of all. */
static void promise_formats(int key, int value, promise_turn turn, bool latent)
{
    promise_case first = {.turn = turn};
    for (int x = 0; x < KINDS; x++) {
        promise_case p = {.turn = turn};
        promise_begin(&p, kinds[x], key, value, latent);
        promise_prefill(&p);
        promise_pieces(&p);
        promise_shared(&p);
        if (x == 0) {
            first = p;
            continue;
        }
        assert_true(test_same_bits(first.d.out, p.d.out));
        test_arena_reset(&p.d.arena);
    }
    test_arena_reset(&first.d.arena);
}

/* Values of their own in every run, columns of the keys with one way to turn each format. */
static void promise_all(bool latent)
{
    const int64_t share = (latent && !test_env_long() ? 27 : 9) / test_env_share(9);
    const int values = test_env_long() && !latent ? FORMATS : 1;
    for (int key = 0, i = 0; key < FORMATS; key++)
        for (int turn = 0; turn < TURNS; turn++)
            for (int value = 0; value < values; value++, i++)
                if ((i + key) % share == 0)
                    promise_formats(key, (2 * key + turn + value) % FORMATS, (promise_turn)turn,
                                    latent);
}

static void promise_own_values(void **state)
{
    (void)state;
    promise_all(false);
}

static void promise_latent(void **state)
{
    (void)state;
    promise_all(true);
}

/* ---- windows ---------------------------------------------------------------------------------- */

enum { CAP = 100, WINDOW = 80, MOST = 9 };

/* What is left of keys 0 .. to once `sinks` and the last CAP - sinks stay. */
static attn_tensor promise_mask(promise_case *p, int64_t sinks, int64_t to)
{
    attn_tensor mask = TEST_TENSOR(&p->d.arena, BOOL, 1, 1, 1, to);
    for (int64_t j = 0; j < to; j++)
        test_put(&mask, (int64_t[]){0, 0, 0, j}, j < sinks || j >= to - (CAP - sinks));
    return mask;
}

/* Pages forget by eviction what a ring forgets by itself. */
static void promise_forget(promise_case *p, attn_cache *cache, int64_t sinks, int64_t to)
{
    const int64_t keep = to - (CAP - sinks);
    if (p->s.kind == ATTN_CACHE_RING || keep <= sinks) return;
    for (int64_t b = 0; b < N; b++)
        assert_int_equal(attn_cache_evict(cache, b, sinks, keep - sinks, NULL), ATTN_OK);
}

/* A call over all keys with a mask, or, where the sinks are none, with a window that the ring
 * has room for. */
static void promise_window(promise_case *p, int64_t sinks)
{
    attn_cache *cache = promise_cache(p);
    if (sinks == 0) p->d.spec.window = (attn_window){true, WINDOW, 0};
    for (int64_t from = 0, to; from < L; from = to) {
        to = from + test_rng_range(&p->d.rng, 1, MOST);
        if (to > L) to = L;
        promise_append(p, cache, 0, N, 0, from, to);
        promise_read(p, cache, from, to);
        promise_forget(p, cache, sinks, to);
        attn_args args =
            ATTN_ARGS(.q = decode_rows(p->q, from, to), .k = decode_rows(p->k, 0, to),
                      .v = decode_rows(p->v, 0, to), .out = decode_rows(p->d.out, from, to));
        if (sinks > 0) args.mask = promise_mask(p, sinks, to);
        assert_int_equal(attn_forward(NULL, &p->d.spec, &args, NULL), ATTN_OK);
        promise_rows(p, cache, from, to);
    }
    attn_cache_destroy(cache);
}

static void promise_rings(void **state)
{
    static const attn_cache_spec specs[] = {
        {.size = sizeof(attn_cache_spec), .kind = ATTN_CACHE_RING, .capacity = CAP},
        {.size = sizeof(attn_cache_spec),
         .kind = ATTN_CACHE_PAGED,
         .page = 3,
         .pages = N * (CAP + MOST + 8) / 3,
         .longest = L},
    };
    (void)state;
    const int64_t share = 9 / test_env_share(9);
    for (int i = 0; i < 4 * FORMATS; i++) {
        const int key = i / 4;
        promise_case p = {.turn = (promise_turn)(i % TURNS)};
        attn_cache_spec s = specs[i & 1];
        const int64_t sinks = i & 2 ? 4 : 0;
        if (s.kind == ATTN_CACHE_RING) s.sinks = sinks;
        if (i % share != 0) continue;
        promise_begin(&p, s, key, (key + 4) % FORMATS, false);
        promise_window(&p, sinks);
        test_arena_reset(&p.d.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(promise_own_values),
        cmocka_unit_test(promise_latent),
        cmocka_unit_test(promise_rings),
    };
    return cmocka_run_group_tests_name("cache_promise", tests, contexts_setup, contexts_finish);
}
