/* SPDX-License-Identifier: MIT
 * Attention over a cache has the bits of attention over tensors of what attn_cache_read gives,
 * with the forgotten keys masked: every kind, page size and type, cut into appends as it comes,
 * with every other option, on every instruction set and for any threads.
 *
 *   ATTN_CASES=n  cases of each test (2000)   ATTN_SEED=s   ATTN_LONG=1  twenty times as many
 */
#include "over_case.h"

#include <string.h>

/* The same call over the tensors that the cache stands for. */
static void cache_reference(test_case *c, const over_cache *o, const attn_tensor *len)
{
    attn_args args = c->args;
    attn_error error = {0};
    args.k = o->k;
    args.v = o->v;
    args.k_len = *len;
    if (o->forgets) args.mask = o->held;
    if (attn_forward(NULL, &c->spec, &args, &error) != ATTN_OK)
        fail_msg("reference: %s %s", error.where, error.what);
}

/* Now and then among the last keys only those of a tree. */
static void cache_tree(test_case *c, test_rng *rng)
{
    int64_t most = c->q_packed ? 1 : c->args.q.shape[2];
    for (int64_t b = 0; b < c->n_seq; b++)
        if (c->q_packed && c->span[b].T > most) most = c->span[b].T;
    if (!test_rng_chance(rng, 25)) return;
    c->args.tree = TEST_TENSOR(&c->arena, BOOL, c->n_seq, most, most);
    test_fill_range(&c->args.tree, rng, 0, 1);
}

static void cache_one(test_case *c, test_rng *rng)
{
    const uint64_t masks = TEST_OPTION(MASK) | TEST_OPTION(MASK_ADD) | TEST_OPTION(BLOCK_MASK);
    const bool early =
        c->options & TEST_OPTION(SCORES) && c->spec.scores_stage != ATTN_SCORES_MASKED;
    if (!over_serves(c) || c->args.k.shape[2] == 0) return;
    const bool f64 = c->options & TEST_OPTION(F64);
    over_cache o =
        over_cache_make(c, rng, over_cache_spec(c, rng, f64), !(c->options & masks) && !early);
    attn_tensor len = over_lengths(c);
    cache_tree(c, rng);
    cache_reference(c, &o, &len);
    attn_args args = c->args;
    args.k = args.v = args.k_len = (attn_tensor){0};
    args.cache = o.cache;
    args.cache_seq = o.seq;
    if (test_rng_chance(rng, 20)) args.k_len = len;
    over_same(c, rng, &c->spec, &args, "cache");
    attn_cache_destroy(o.cache);
}

static void cache_is_tensors(void **state)
{
    (void)state;
    over_for_cases(OVER_OPTIONS, 7000000001, cache_one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cache_is_tensors),
    };
    return cmocka_run_group_tests(tests, contexts_setup, contexts_finish);
}
