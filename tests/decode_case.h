/* SPDX-License-Identifier: MIT
 * A causal call over three sequences of 700 tokens, and caches of every kind that it is to be
 * done over again in steps. */
#ifndef ATTN_TESTS_DECODE_CASE_H
#define ATTN_TESTS_DECODE_CASE_H

#include "attn/cache.h"
#include "contexts.h"

enum { N = 3, H = 4, G = 2, L = 700, D = 12, E = 9 };

typedef struct decode_case {
    test_arena arena;
    test_rng rng;
    attn_tensor q, k, v, out; /* N H L D, N G L D, N G L E, N H L E: of the whole */
    attn_spec spec;
    attn_cache *cache;
} decode_case;

static inline attn_tensor decode_normal(decode_case *c, int64_t heads, int64_t width)
{
    attn_tensor t = TEST_TENSOR(&c->arena, F32, N, heads, L, width);
    test_fill_normal(&t, &c->rng, 1);
    return t;
}

/* Inputs, and a cache with room for them. */
static inline void decode_open(decode_case *c, attn_cache_spec s)
{
    attn_error error = {0};
    c->rng = test_rng_make(11);
    c->spec.size = sizeof c->spec;
    c->spec.causal = true;
    c->spec.align = ATTN_ALIGN_BOTTOM_RIGHT;
    c->q = decode_normal(c, H, D);
    c->k = decode_normal(c, G, D);
    c->v = decode_normal(c, G, E);
    s.sequences = N, s.heads = G, s.key_width = D, s.value_width = E;
    if (attn_cache_create(&c->cache, NULL, &s, &error) != ATTN_OK)
        fail_msg("create: %s %s", error.where, error.what);
}

/* And a causal call over everything at once, which the steps are compared with. */
static inline void decode_begin(decode_case *c, attn_cache_spec s)
{
    decode_open(c, s);
    c->out = TEST_TENSOR(&c->arena, F32, N, H, L, E);
    const attn_args args = ATTN_ARGS(.q = c->q, .k = c->k, .v = c->v, .out = c->out);
    assert_int_equal(attn_forward(NULL, &c->spec, &args, NULL), ATTN_OK);
}

static inline void decode_end(decode_case *c)
{
    attn_cache_destroy(c->cache);
    test_arena_reset(&c->arena);
}

static inline attn_tensor decode_rows(attn_tensor t, int64_t from, int64_t to)
{
    return attn_tensor_slice(t, 2, from, to);
}

static inline void decode_append(decode_case *c, int64_t from, int64_t to)
{
    const attn_cache_new rows =
        ATTN_CACHE_NEW(.k = decode_rows(c->k, from, to), .v = decode_rows(c->v, from, to));
    attn_error error = {0};
    if (attn_cache_append(c->cache, &rows, &error) != ATTN_OK)
        fail_msg("append: %s %s", error.where, error.what);
}

/* Rows from .. to of all sequences, over a cache that ends with them. */
static inline attn_args decode_args(decode_case *c, int64_t from, int64_t to)
{
    return ATTN_ARGS(.q = decode_rows(c->q, from, to), .cache = c->cache,
                     .out = TEST_TENSOR(&c->arena, F32, N, H, to - from, E));
}

static const attn_cache_spec kinds[] = {
    {.size = sizeof(attn_cache_spec), .capacity = L},
    {.size = sizeof(attn_cache_spec), .kind = ATTN_CACHE_RING, .capacity = L, .sinks = 4},
    {.size = sizeof(attn_cache_spec), .kind = ATTN_CACHE_PAGED, .page = 1, .pages = N * L},
    {.size = sizeof(attn_cache_spec), .kind = ATTN_CACHE_PAGED, .page = 3, .pages = N * 234},
    {.size = sizeof(attn_cache_spec), .kind = ATTN_CACHE_PAGED, .page = 16, .pages = N * 44},
    {.size = sizeof(attn_cache_spec), .kind = ATTN_CACHE_PAGED, .page = 64, .pages = N * 11},
    {.size = sizeof(attn_cache_spec), .kind = ATTN_CACHE_PAGED, .page = 1000, .pages = N},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

/* A slow machine takes one in so many of n, from the middle of the first ones (ATTN_SHARE). */
static inline int decode_step(int n)
{
    return n / (int)test_env_share(n);
}

#endif
