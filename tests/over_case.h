/* SPDX-License-Identifier: MIT
 * A random case whose keys and values lie elsewhere: in pools of pages, or in a cache. The
 * answers must have the bits of the case itself, which has run before.
 *
 * Sizes of the case stay: S is then a whole number of pages, and the lengths say the rest. */
#ifndef ATTN_TESTS_OVER_CASE_H
#define ATTN_TESTS_OVER_CASE_H

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
