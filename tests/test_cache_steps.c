/* SPDX-License-Identifier: MIT
 * A plan that is held for a very long time: a token joins, the plan runs, a million times. The
 * lengths grow to the end of a room and are rolled back, or through a ring, or along pages whose
 * oldest keys are evicted, so that positions pass a million. Not one allocation from the first
 * step to the last, and every 997th row is what plain loops over the held tokens say.
 *
 *   ATTN_LONG=1  1,000,000 steps of each kind instead of 20,000
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include "attn/cache.h"
#include "support/support.h"
#include <cmocka.h>

enum { H = 2, G = 1, D = 4, E = 3, ROOM = 900, WINDOW = 100, SINKS = 4, PAGE = 16 };

typedef struct steps_meter {
    int64_t calls;
} steps_meter;

static void *steps_alloc(void *user, void *ptr, size_t old_size, size_t new_size, size_t align)
{
    steps_meter *meter = user;
    (void)old_size;
    meter->calls++;
    if (new_size == 0) {
        free(ptr);
        return NULL;
    }
    return aligned_alloc(align, (new_size + align - 1) / align * align);
}

/* Number d of the token at a position: one that bf16 has. */
static float steps_number(int64_t position, int64_t d, int64_t seed)
{
    return (float)((position * 37 + d * 11 + seed) % 101 - 50) / 64;
}

typedef struct steps_case {
    steps_meter meter;
    attn_ctx *ctx;
    attn_cache *cache;
    attn_plan *plan;
    attn_spec spec;
    attn_args args;
    float q[H * D], k[G * D], v[G * E], out[H * E];
    void *workspace;
    size_t bytes;
} steps_case;

static void steps_begin(steps_case *c, attn_cache_spec s, int threads)
{
    const attn_config config =
        ATTN_CONFIG(.threads = threads, .alloc = steps_alloc, .alloc_user = &c->meter);
    s.sequences = 1, s.heads = G, s.key_width = D, s.value_width = E;
    assert_int_equal(attn_ctx_create(&c->ctx, &config, NULL), ATTN_OK);
    assert_int_equal(attn_cache_create(&c->cache, c->ctx, &s, NULL), ATTN_OK);
    c->spec = ATTN_SPEC(.causal = true, .align = ATTN_ALIGN_BOTTOM_RIGHT, .scale = 1);
    c->args = ATTN_ARGS(.q = ATTN_TENSOR(c->q, F32, 1, H, 1, D), .cache = c->cache,
                        .out = ATTN_TENSOR(c->out, F32, 1, H, 1, E));
    assert_int_equal(attn_plan_create(&c->plan, c->ctx, &c->spec, &c->args, NULL), ATTN_OK);
    c->bytes = attn_plan_workspace(c->plan);
    c->workspace = aligned_alloc(64, (c->bytes + 63) / 64 * 64);
    assert_non_null(c->workspace);
}

static void steps_end(steps_case *c)
{
    free(c->workspace);
    attn_plan_destroy(c->plan);
    attn_cache_destroy(c->cache);
    attn_ctx_destroy(c->ctx);
}

/* ---- a step ------------------------------------------------------------------------------- */

/* The tokens of each kind differ in nothing but their positions. */
static void steps_one(steps_case *c)
{
    const int64_t position = attn_cache_length(c->cache, 0);
    const attn_cache_new token = ATTN_CACHE_NEW(.k = ATTN_TENSOR(c->k, F32, 1, G, 1, D),
                                                .v = ATTN_TENSOR(c->v, F32, 1, G, 1, E));
    for (int64_t x = 0; x < H * D; x++) c->q[x] = steps_number(position, x, 5);
    for (int64_t d = 0; d < D; d++) c->k[d] = steps_number(position, d, 19);
    for (int64_t e = 0; e < E; e++) c->v[e] = steps_number(position, e, 53);
    assert_int_equal(attn_cache_append(c->cache, &token, NULL), ATTN_OK);
    assert_int_equal(attn_plan_run(c->plan, &c->args, c->workspace, c->bytes, NULL), ATTN_OK);
}

/* Adds the token at a position, if it is held, to head h's sum and weighted values. */
static void steps_add(const steps_case *c, int64_t h, int64_t position, double sums[1 + E])
{
    double score = 0;
    if (!attn_cache_holds(c->cache, 0, position)) return;
    for (int64_t d = 0; d < D; d++)
        score += (double)c->q[h * D + d] * (double)steps_number(position, d, 19);
    sums[0] += exp(score);
    for (int64_t e = 0; e < E; e++)
        sums[1 + e] += exp(score) * (double)steps_number(position, e, 53);
}

/* No kind holds anything between its sinks and its last tokens. */
static void steps_check(const steps_case *c)
{
    const int64_t length = attn_cache_length(c->cache, 0);
    const int64_t late = length > ROOM ? length - ROOM : 0;
    attn_cache_info info;
    for (int64_t h = 0; h < H; h++) {
        double sums[1 + E] = {0};
        for (int64_t i = 0; i < SINKS && i < late; i++) steps_add(c, h, i, sums);
        for (int64_t i = late; i < length; i++) steps_add(c, h, i, sums);
        for (int64_t e = 0; e < E; e++)
            assert_true(fabs((double)c->out[h * E + e] - sums[1 + e] / sums[0]) < 1e-5);
    }
    attn_cache_describe(c->cache, &info);
    assert_true(info.held <= ROOM);
}

/* ---- what each kind does when it is long ---------------------------------------------------- */

static void steps_roll_back(attn_cache *cache, int64_t length)
{
    if (length == ROOM) assert_int_equal(attn_cache_truncate(cache, 0, 3, NULL), ATTN_OK);
}

static void steps_go_on(attn_cache *cache, int64_t length)
{
    (void)cache;
    (void)length;
}

static void steps_evict(attn_cache *cache, int64_t length)
{
    if (length > WINDOW + SINKS)
        assert_int_equal(attn_cache_evict(cache, 0, length - WINDOW - 1, 1, NULL), ATTN_OK);
}

typedef struct steps_kind {
    attn_cache_spec spec;
    void (*when_long)(attn_cache *cache, int64_t length);
} steps_kind;

static const steps_kind kinds[] = {
    {{.size = sizeof(attn_cache_spec), .capacity = ROOM}, steps_roll_back},
    {{.size = sizeof(attn_cache_spec),
      .kind = ATTN_CACHE_RING,
      .capacity = WINDOW,
      .sinks = SINKS},
     steps_go_on},
    {{.size = sizeof(attn_cache_spec),
      .kind = ATTN_CACHE_PAGED,
      .page = PAGE,
      .pages = WINDOW / PAGE + 4,
      .longest = 1100000,
      .key = {.type = ATTN_CACHE_BF16}},
     steps_evict},
    {{.size = sizeof(attn_cache_spec), .kind = ATTN_CACHE_PAGED, .page = 3, .pages = ROOM / 3},
     steps_roll_back},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static void steps_run(const steps_kind *kind, int threads, int64_t n)
{
    steps_case c = {.meter = {0}};
    steps_begin(&c, kind->spec, threads);
    steps_one(&c); /* the first run of a context starts its threads */
    const int64_t before = c.meter.calls;
    for (int64_t i = 1; i < n; i++) {
        kind->when_long(c.cache, attn_cache_length(c.cache, 0));
        steps_one(&c);
        if (i % 997 == 0) steps_check(&c);
    }
    assert_int_equal(c.meter.calls, before);
    steps_check(&c);
    steps_end(&c);
}

static void steps_million(void **state)
{
    (void)state;
    const int64_t n = test_env_share(test_env_long() ? 1000000 : 20000);
    for (int x = 0; x < KINDS; x++) steps_run(&kinds[x], 1, n);
}

static void steps_threads(void **state)
{
    (void)state;
    const int64_t n = test_env_share(test_env_long() ? 100000 : 2000);
    for (int x = 0; x < KINDS; x++) steps_run(&kinds[x], 3, n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(steps_million),
                                       cmocka_unit_test(steps_threads)};
    return cmocka_run_group_tests_name("cache_steps", tests, NULL, NULL);
}
