/* SPDX-License-Identifier: MIT
 * A random case whose keys and values lie elsewhere: in pools of pages, or in a cache. The
 * answers must have the bits of the case itself, which has run before.
 *
 * Sizes of the case stay: S is then a whole number of pages, and the lengths say the rest. */
#ifndef ATTN_TESTS_OVER_CASE_H
#define ATTN_TESTS_OVER_CASE_H

#include "attn/cache.h"
#include "contexts.h"

#include <math.h>

static int64_t over_cases(void)
{
    return test_env_int("ATTN_CASES", 2000);
}

/* Keys at their row of the batch from 0 on, of rank 4: what a table or a cache can say. */
static inline bool over_serves(const test_case *c)
{
    return c->args.k.rank == 4 && !c->k_packed && !c->args.k_start.dtype;
}

#define OVER_OPTIONS                                                                           \
    (TEST_ALL_OPTIONS & ~(TEST_OPTION(RANK) | TEST_OPTION(PACKED_K) | TEST_OPTION(POISON) |    \
                          TEST_OPTION(THREADS)))

/* A page size that divides S, any of them. */
static inline int64_t over_page(test_rng *rng, int64_t S)
{
    int64_t page = test_rng_range(rng, 1, S > 0 ? S : 4);
    while (S % page) page--;
    return page;
}

static inline attn_tensor over_lengths(test_case *c)
{
    attn_tensor len = TEST_TENSOR(&c->arena, I64, c->n_seq);
    for (int64_t b = 0; b < c->n_seq; b++) test_put(&len, &b, (double)c->span[b].S);
    return len;
}

typedef struct over_pools {
    attn_tensor k, v, table, len;
    int64_t page;
} over_pools;

/* Row `row` of page `page` of a pool becomes row j of batch b; what is beyond the length stays
 * as it is. */
static inline void over_copy_row(const attn_tensor *pool, int64_t page, int64_t row,
                                 const attn_tensor *t, int64_t b, int64_t j)
{
    for (int64_t g = 0; g < t->shape[1]; g++)
        for (int64_t d = 0; d < t->shape[3]; d++)
            test_put(pool, (int64_t[]){page, g, row, d},
                     test_get(t, (int64_t[]){t->shape[0] == 1 ? 0 : b, g, j, d}));
}

static inline attn_tensor over_pool(test_case *c, test_rng *rng, const attn_tensor *t,
                                    int64_t pages, int64_t page)
{
    const int64_t shape[] = {pages, t->shape[1], page, t->shape[3]};
    attn_tensor pool = test_rng_chance(rng, 50)
                           ? test_tensor(&c->arena, t->dtype, 4, shape)
                           : test_tensor_layout(&c->arena, rng, t->dtype, 4, shape, false);
    test_fill_value(&pool, (double)NAN);
    return pool;
}

/* Keys and values of the case in pages that lie anywhere; all else in the pools is NaN, and
 * entries of the table behind a length are nonsense. */
static inline over_pools over_pools_make(test_case *c, test_rng *rng)
{
    const attn_tensor *k = &c->args.k, *v = &c->args.v;
    over_pools o = {.page = over_page(rng, k->shape[2])};
    const int64_t M = k->shape[2] / o.page, P = c->n_seq * M + test_rng_range(rng, 0, 3);
    int64_t *ids = test_alloc(&c->arena, (size_t)(P + 1) * sizeof *ids);
    o.k = over_pool(c, rng, k, P, o.page);
    o.v = over_pool(c, rng, v, P, o.page);
    o.table = test_rng_chance(rng, 50) ? TEST_TENSOR(&c->arena, I32, c->n_seq, M)
                                       : TEST_TENSOR(&c->arena, I64, c->n_seq, M);
    o.len = over_lengths(c);
    for (int64_t i = 0; i < P; i++) {
        const int64_t other = test_rng_range(rng, 0, i);
        ids[i] = ids[other];
        ids[other] = i;
    }
    for (int64_t b = 0; b < c->n_seq; b++)
        for (int64_t x = 0; x < M; x++) {
            const bool used = x * o.page < c->span[b].S;
            test_put(&o.table, (int64_t[]){b, x}, used ? (double)ids[b * M + x] : -77);
            for (int64_t j = x * o.page; j < (x + 1) * o.page && j < c->span[b].S; j++) {
                over_copy_row(&o.k, ids[b * M + x], j % o.page, k, b, j);
                over_copy_row(&o.v, ids[b * M + x], j % o.page, v, b, j);
            }
        }
    return o;
}

/* ---- a cache ----------------------------------------------------------------------------- */

typedef struct over_cache {
    attn_cache *cache;
    attn_tensor seq;  /* N: its sequences of the case */
    attn_tensor k, v; /* N G S D, N G S E: what attn_cache_read gives, NaN where forgotten */
    attn_tensor held; /* N 1 1 S, bool */
    bool forgets;
} over_cache;

static inline attn_cache_type over_type(test_rng *rng, bool f64)
{
    static const attn_cache_type types[] = {ATTN_CACHE_F32, ATTN_CACHE_BF16, ATTN_CACHE_F16,
                                            ATTN_CACHE_I8,  ATTN_CACHE_I4,   ATTN_CACHE_F64};
    return types[test_rng_range(rng, 0, f64 ? 5 : 4)];
}

/* A cache of random kind and types with room for the case, and for what it may forget. */
static inline attn_cache_spec over_cache_spec(const test_case *c, test_rng *rng, bool f64)
{
    static const int64_t pages[] = {1, 2, 3, 16, 64, 1000};
    const attn_tensor *k = &c->args.k, *v = &c->args.v;
    const int64_t S = k->shape[2];
    attn_cache_spec s = ATTN_CACHE(.kind = (attn_cache_kind)test_rng_range(rng, 0, 2),
                                   .sequences = c->n_seq + test_rng_range(rng, 0, 2),
                                   .heads = k->shape[1], .key_width = k->shape[3],
                                   .value_width = v->shape[3], .capacity = S, .longest = S);
    s.key = (attn_cache_format){over_type(rng, f64), test_rng_chance(rng, 50), {0}, {0}};
    s.value = (attn_cache_format){over_type(rng, f64), test_rng_chance(rng, 50), {0}, {0}};
    if (s.key.type < ATTN_CACHE_I8) s.key.asymmetric = false;
    if (s.value.type < ATTN_CACHE_I8) s.value.asymmetric = false;
    if (s.kind == ATTN_CACHE_PAGED) {
        s.capacity = 0;
        s.page = test_rng_pick(rng, pages, 6);
        s.pages = c->n_seq * (S / s.page + 1);
    }
    s.latent = s.value_width <= s.key_width && test_rng_chance(rng, 15);
    if (s.latent) s.value_from = (s.key_width - s.value_width) / 2 * 2;
    if (s.latent && s.value_from + s.value_width > s.key_width) s.value_from = 0;
    return s;
}

/* Rows j .. j + n of sequence b of the case, one batch entry of them. */
static inline attn_tensor over_rows(const attn_tensor *t, int64_t b, int64_t j, int64_t n)
{
    const int64_t at = t->shape[0] == 1 ? 0 : b;
    return attn_tensor_slice(attn_tensor_slice(*t, 0, at, at + 1), 2, j, j + n);
}

/* All tokens of sequence b, in pieces of any length. */
static inline void over_append(const test_case *c, test_rng *rng, over_cache *o, int64_t b,
                               bool latent)
{
    attn_error error = {0};
    const attn_tensor seq = attn_tensor_slice(o->seq, 0, b, b + 1);
    for (int64_t j = 0, n; j < c->span[b].S; j += n) {
        n = test_rng_range(rng, 1, test_rng_chance(rng, 50) ? 3 : c->span[b].S);
        if (n > c->span[b].S - j) n = c->span[b].S - j;
        attn_cache_new rows = ATTN_CACHE_NEW(.k = over_rows(&c->args.k, b, j, n), .seq = seq);
        if (!latent) rows.v = over_rows(&c->args.v, b, j, n);
        if (attn_cache_append(o->cache, &rows, &error) != ATTN_OK)
            fail_msg("append: %s %s", error.where, error.what);
    }
}

/* What the cache holds, as tensors. */
static inline void over_read(test_case *c, over_cache *o, const attn_cache_spec *s)
{
    const attn_tensor *k = &c->args.k;
    const int64_t N = c->n_seq, G = k->shape[1], S = k->shape[2];
    const int64_t k_shape[] = {N, G, S, s->key_width}, v_shape[] = {N, G, S, s->value_width};
    const bool v64 = (s->latent ? s->key.type : s->value.type) == ATTN_CACHE_F64;
    o->k = test_tensor(
        &c->arena, s->key.type == ATTN_CACHE_F64 ? ATTN_DTYPE_F64 : ATTN_DTYPE_F32, 4, k_shape);
    o->v = test_tensor(&c->arena, v64 ? ATTN_DTYPE_F64 : ATTN_DTYPE_F32, 4, v_shape);
    o->held = TEST_TENSOR(&c->arena, BOOL, N, 1, 1, S);
    test_fill_value(&o->k, (double)NAN);
    test_fill_value(&o->v, (double)NAN);
    for (int64_t b = 0; b < N; b++)
        for (int64_t j = 0; j < c->span[b].S; j++) {
            const int64_t seq = (int64_t)test_get(&o->seq, &b);
            const int64_t to[] = {G, 1, s->key_width}, wide[] = {G, 1, s->value_width};
            attn_tensor kj = over_rows(&o->k, b, j, 1), vj = over_rows(&o->v, b, j, 1);
            kj = (attn_tensor){
                kj.data, kj.dtype, 3, {to[0], to[1], to[2]}, {kj.stride[1], kj.stride[2], 1}};
            vj = (attn_tensor){vj.data,
                               vj.dtype,
                               3,
                               {wide[0], wide[1], wide[2]},
                               {vj.stride[1], vj.stride[2], 1}};
            if (!attn_cache_holds(o->cache, seq, j)) {
                o->forgets = true;
                continue;
            }
            test_put(&o->held, (int64_t[]){b, 0, 0, j}, 1);
            assert_int_equal(attn_cache_read(o->cache, seq, j, 1, kj, vj, NULL), ATTN_OK);
        }
}

/* The keys and values of the case in a cache, some of them forgotten if it may forget. */
static inline over_cache over_cache_make(test_case *c, test_rng *rng, attn_cache_spec s,
                                         bool forget)
{
    over_cache o = {.seq = TEST_TENSOR(&c->arena, I64, c->n_seq)};
    attn_error error = {0};
    const int64_t S = c->args.k.shape[2], turn = test_rng_range(rng, 0, s.sequences);
    if (forget && s.kind == ATTN_CACHE_RING) {
        s.capacity = test_rng_range(rng, 1, S);
        s.sinks = test_rng_range(rng, 0, s.capacity - 1);
    }
    if (attn_cache_create(&o.cache, NULL, &s, &error) != ATTN_OK)
        fail_msg("create: %s %s (%lld, %lld)", error.where, error.what, (long long)error.want,
                 (long long)error.got);
    for (int64_t b = 0; b < c->n_seq; b++) {
        test_put(&o.seq, &b, (double)((b + turn) % s.sequences));
        over_append(c, rng, &o, b, s.latent);
        const int64_t length = c->span[b].S, seq = (b + turn) % s.sequences;
        while (forget && length > 0 && test_rng_chance(rng, 50)) {
            const int64_t first = test_rng_range(rng, 0, length - 1);
            const int64_t n = test_rng_range(rng, 0, length - first);
            assert_int_equal(attn_cache_evict(o.cache, seq, first, n, NULL), ATTN_OK);
        }
    }
    over_read(c, &o, &s);
    return o;
}

/* Another context than that of the case. */
static inline attn_ctx *over_ctx(test_rng *rng)
{
    const int isa = contexts.usable[test_rng_range(rng, 0, contexts.n_usable - 1)];
    return test_contexts_get(&contexts, isa, (int)test_rng_range(rng, 1, 3));
}

/* Runs args, with outputs of their own, and compares with those of the case. */
static inline void over_same(test_case *c, test_rng *rng, const attn_spec *spec,
                             const attn_args *args, const char *about)
{
    const attn_args mine = test_outputs_fresh(&c->arena, args);
    attn_error error = {0};
    const char *what = "";
    char text[200];
    const attn_status status = attn_forward(over_ctx(rng), spec, &mine, &error);
    if (status == ATTN_OK && test_outputs_same(&c->args, &mine, &what)) return;
    attn_error_text(&error, text, sizeof text);
    test_case_print(stderr, c);
    fail_msg("%s: %s %s; repeat: ATTN_CASES=1 ATTN_SEED=0x%llx", about, what,
             status == ATTN_OK ? "differs" : text, (unsigned long long)c->seed);
}

/* For random cases that have run: one(case, random numbers of its own). */
static inline void over_for_cases(uint64_t allow, int64_t seed,
                                  void (*one)(test_case *c, test_rng *rng))
{
    const uint64_t first = (uint64_t)test_env_int("ATTN_SEED", seed);
    int64_t n = test_env_long() ? 20 * over_cases() : over_cases();
    for (uint64_t i = 0; n > 0; i++, n--) {
        test_case c;
        test_rng rng = test_rng_make(~(first + i));
        attn_error error = {0};
        test_case_draw(&c, first + i, &(test_profile){.allow = allow});
        assert_int_equal(test_case_run(&c, &contexts, &error), ATTN_OK);
        one(&c, &rng);
        test_case_free(&c);
    }
}

#endif
