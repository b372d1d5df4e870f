/* SPDX-License-Identifier: MIT
 * What docs/caches.md tells users to do, done: beams that change places, the accepted path of a
 * tree, a long prompt through a small ring, one with sinks and a callback, a latent cache whose keys
 * are turned. Each has the bits of one call over tensors. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include "attn/cache.h"
#include "support/support.h"
#include <cmocka.h>

enum { H = 4, G = 2, D = 8, L = 90, BEAMS = 3 };

typedef struct recipe {
    attn_spec spec;
    attn_cache *cache;
    attn_tensor q, k, v; /* 1 H L D, 1 G L D; several: B in front */
    test_arena arena;
} recipe;

static attn_tensor recipe_tensor(recipe *r, int64_t B, int64_t heads, int64_t n, uint64_t seed)
{
    float *x = test_alloc(&r->arena, (size_t)(B * heads * n * D) * sizeof *x);
    test_rng rng = test_rng_make(seed);
    for (int64_t i = 0; i < B * heads * n * D; i++) x[i] = (float)test_rng_normal(&rng);
    return ATTN_TENSOR(x, F32, B, heads, n, D);
}

static void recipe_begin(recipe *r, attn_cache_spec spec, int64_t B)
{
    *r = (recipe){.spec = ATTN_SPEC(.causal = true, .align = ATTN_ALIGN_BOTTOM_RIGHT,
                                    .rope = {.kind = ATTN_ROPE_HALF}, .keys_turned = true)};
    r->q = recipe_tensor(r, B, H, L, 1);
    r->k = recipe_tensor(r, B, G, L, 2);
    r->v = recipe_tensor(r, B, G, L, 3);
    spec.heads = G, spec.key_width = D, spec.value_width = D;
    assert_int_equal(attn_cache_create(&r->cache, NULL, &spec, NULL), ATTN_OK);
}

static void recipe_end(recipe *r)
{
    attn_cache_destroy(r->cache);
    test_arena_reset(&r->arena);
}

static attn_tensor recipe_part(attn_tensor t, int64_t from, int64_t to)
{
    return attn_tensor_slice(t, 2, from, to);
}

static void recipe_append(recipe *r, attn_tensor k, attn_tensor v, int64_t seq)
{
    const attn_cache_new rows =
        ATTN_CACHE_NEW(.k = k, .v = v, .seq = ATTN_TENSOR(&seq, I64, 1), .rope = r->spec.rope);
    assert_int_equal(attn_cache_append(r->cache, &rows, NULL), ATTN_OK);
}

/* What queries see of a sequence of the cache. */
static attn_tensor recipe_over(recipe *r, attn_tensor q, int64_t seq)
{
    const attn_tensor out = recipe_tensor(r, 1, H, q.shape[2], 9);
    const attn_args args = ATTN_ARGS(.q = q, .cache = r->cache, .out = out,
                                     .cache_seq = ATTN_TENSOR(&seq, I64, 1));
    assert_int_equal(attn_forward(NULL, &r->spec, &args, NULL), ATTN_OK);
    return out;
}

/* The same of tensors, whose keys are turned by the call. */
static attn_tensor recipe_plain(recipe *r, attn_tensor q, attn_tensor k, attn_tensor v)
{
    attn_spec spec = r->spec;
    const attn_tensor out = recipe_tensor(r, 1, H, q.shape[2], 8);
    const attn_args args = ATTN_ARGS(.q = q, .k = k, .v = v, .out = out);
    spec.keys_turned = false;
    assert_int_equal(attn_forward(NULL, &spec, &args, NULL), ATTN_OK);
    return out;
}

/* ---- beams ------------------------------------------------------------------------------- */

/* Sequences 0 .. BEAMS and BEAMS .. 2 BEAMS in turn: the new beams are forks of the old ones,
 * which are cleared. parent[t][b] is whom beam b of token t goes on from. */
static void recipe_beams(void **state)
{
    (void)state;
    static const int parent[6][BEAMS] = {{0, 0, 0}, {1, 0, 1}, {2, 2, 2},
                                         {0, 1, 2}, {2, 1, 0}, {1, 1, 2}};
    int64_t path[2][BEAMS][6], set = 0;
    recipe r;
    recipe_begin(&r,
                 ATTN_CACHE(.kind = ATTN_CACHE_PAGED, .sequences = 2 * BEAMS, .page = 4,
                            .pages = 200, .longest = L),
                 1);
    for (int64_t b = 0; b < BEAMS; b++)
        recipe_append(&r, recipe_part(r.k, 0, 30), recipe_part(r.v, 0, 30), b);
    for (int64_t t = 0; t < 6; t++, set = 1 - set)
        for (int64_t b = 0; b < BEAMS; b++) {
            const int64_t from = set * BEAMS + parent[t][b], to = (1 - set) * BEAMS + b;
            const int64_t token = 30 + t * BEAMS + b; /* its own */
            assert_int_equal(attn_cache_clear(r.cache, to, NULL), ATTN_OK);
            assert_int_equal(attn_cache_fork(r.cache, from, to, NULL), ATTN_OK);
            recipe_append(&r, recipe_part(r.k, token, token + 1),
                          recipe_part(r.v, token, token + 1), to);
            memcpy(path[1 - set][b], path[set][parent[t][b]], sizeof path[0][0]);
            path[1 - set][b][t] = token;
        }
    for (int64_t b = 0; b < BEAMS; b++) {
        const attn_tensor k = recipe_tensor(&r, 1, G, 36, 4),
                          v = recipe_tensor(&r, 1, G, 36, 5);
        for (int64_t i = 0; i < 36; i++) {
            const int64_t x = i < 30 ? i : path[set][b][i - 30];
            attn_tensor_copy(recipe_part(k, i, i + 1), recipe_part(r.k, x, x + 1), NULL);
            attn_tensor_copy(recipe_part(v, i, i + 1), recipe_part(r.v, x, x + 1), NULL);
        }
        const attn_tensor q = recipe_part(r.q, 35, 36);
        assert_true(
            test_same_bits(recipe_over(&r, q, set * BEAMS + b), recipe_plain(&r, q, k, v)));
    }
    recipe_end(&r);
}

/* ---- trees ------------------------------------------------------------------------------- */

/* Root, two children, a child of each; the root and the second branch are accepted: they are
 * rolled back and appended again, one behind the other. */
static void recipe_tree(void **state)
{
    (void)state;
    enum { P = 40, T = 5 };
    static uint8_t sees[T * T] = {1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0, 1,
                                  0, 0, 1, 1, 0, 1, 0, 1, 0, 1, 0, 1};
    int64_t at[T] = {P, P + 1, P + 1, P + 2, P + 2};
    static const int64_t accepted[] = {P, P + 2, P + 4};
    recipe r;
    recipe_begin(&r, ATTN_CACHE(.sequences = 1, .capacity = L), 1);
    recipe_append(&r, recipe_part(r.k, 0, P), recipe_part(r.v, 0, P), 0);
    const attn_tensor pos = ATTN_TENSOR(at, I64, 1, T), out = recipe_tensor(&r, 1, H, T, 7);
    const attn_cache_new guesses =
        ATTN_CACHE_NEW(.k = recipe_part(r.k, P, P + T), .v = recipe_part(r.v, P, P + T),
                       .rope = r.spec.rope, .rope_pos = pos);
    const attn_args verify =
        ATTN_ARGS(.q = recipe_part(r.q, P, P + T), .cache = r.cache, .out = out, .q_pos = pos,
                  .tree = ATTN_TENSOR(sees, U8, 1, T, T));
    assert_int_equal(attn_cache_append(r.cache, &guesses, NULL), ATTN_OK);
    assert_int_equal(attn_forward(NULL, &r.spec, &verify, NULL), ATTN_OK);
    assert_int_equal(attn_cache_truncate(r.cache, 0, P, NULL), ATTN_OK);
    const attn_tensor k = recipe_tensor(&r, 1, G, P + 3, 4),
                      v = recipe_tensor(&r, 1, G, P + 3, 5);
    attn_tensor_copy(recipe_part(k, 0, P), recipe_part(r.k, 0, P), NULL);
    attn_tensor_copy(recipe_part(v, 0, P), recipe_part(r.v, 0, P), NULL);
    for (int64_t i = 0; i < 3; i++) {
        const int64_t x = accepted[i];
        attn_tensor_copy(recipe_part(k, P + i, P + i + 1), recipe_part(r.k, x, x + 1), NULL);
        attn_tensor_copy(recipe_part(v, P + i, P + i + 1), recipe_part(r.v, x, x + 1), NULL);
        recipe_append(&r, recipe_part(r.k, x, x + 1), recipe_part(r.v, x, x + 1), 0);
        /* the row of the tree was already that of the path */
        const attn_tensor q = recipe_part(r.q, x, x + 1);
        const attn_tensor want =
            recipe_plain(&r, q, recipe_part(k, 0, P + i + 1), recipe_part(v, 0, P + i + 1));
        assert_true(test_same_bits(recipe_over(&r, q, 0), want));
        assert_true(test_same_bits(recipe_part(out, x - P, x - P + 1), want));
    }
    recipe_end(&r);
}

/* ---- rings ------------------------------------------------------------------------------- */

/* Windows of W keys in pieces of n tokens: a ring of W + n - 1. */
static void recipe_ring(void **state)
{
    (void)state;
    enum { W = 20 };
    for (int64_t n = 1; n < 40; n += 6) {
        recipe r;
        recipe_begin(
            &r, ATTN_CACHE(.kind = ATTN_CACHE_RING, .sequences = 1, .capacity = W + n - 1), 1);
        r.spec.window = (attn_window){.on = true, .left = W - 1, .right = 0};
        const attn_tensor whole = recipe_plain(&r, r.q, r.k, r.v);
        for (int64_t i = 0, end; i < L; i = end) {
            end = i + n < L ? i + n : L;
            recipe_append(&r, recipe_part(r.k, i, end), recipe_part(r.v, i, end), 0);
            assert_true(test_same_bits(recipe_over(&r, recipe_part(r.q, i, end), 0),
                                       recipe_part(whole, i, end)));
        }
        recipe_end(&r);
    }
}

/* Row 0 of the call stands at position first. */
typedef struct recipe_band {
    int64_t first, sinks, window;
} recipe_band;

static void recipe_cut(void *user, const attn_tile *t)
{
    const recipe_band *b = user;
    for (int64_t x = 0; x < t->n_i; x++)
        for (int64_t y = 0; y < t->n_j; y++) {
            const int64_t p = b->first + t->i0 + x, j = t->j0 + y;
            if (j >= b->sinks && j <= p - b->window)
                ((float *)t->s)[x * t->i_stride + y * t->j_stride] = -INFINITY;
        }
}

/* Sinks and windows of W keys, by a mask over tensors. */
static attn_tensor recipe_masked(recipe *r, int64_t sinks, int64_t W)
{
    const attn_tensor out = recipe_tensor(r, 1, H, L, 9);
    bool *sees = test_alloc(&r->arena, L * L);
    for (int64_t i = 0; i < L; i++)
        for (int64_t j = 0; j < L; j++) sees[i * L + j] = j < sinks || j > i - W;
    attn_spec spec = r->spec;
    spec.keys_turned = false;
    const attn_args args = ATTN_ARGS(.q = r->q, .k = r->k, .v = r->v, .out = out,
                                     .mask = ATTN_TENSOR(sees, BOOL, L, L));
    assert_int_equal(attn_forward(NULL, &spec, &args, NULL), ATTN_OK);
    return out;
}

/* In pieces of n tokens through a ring that keeps its sinks. */
static void recipe_sinks(void **state)
{
    (void)state;
    enum { W = 20, SINKS = 3 };
    for (int64_t n = 1; n < 40; n += 6) {
        recipe r;
        recipe_begin(&r,
                     ATTN_CACHE(.kind = ATTN_CACHE_RING, .sequences = 1, .sinks = SINKS,
                                .capacity = SINKS + W + n - 1),
                     1);
        const attn_tensor want = recipe_masked(&r, SINKS, W);
        recipe_band band = {0, SINKS, W};
        r.spec.tile = recipe_cut;
        r.spec.user = &band;
        for (int64_t end; band.first < L; band.first = end) {
            end = band.first + n < L ? band.first + n : L;
            recipe_append(&r, recipe_part(r.k, band.first, end),
                          recipe_part(r.v, band.first, end), 0);
            const attn_tensor out = recipe_over(&r, recipe_part(r.q, band.first, end), 0);
            assert_true(test_same_bits(out, recipe_part(want, band.first, end)));
        }
        recipe_end(&r);
    }
}

/* ---- latent ------------------------------------------------------------------------------ */

/* The turned columns of a latent cache are its first ones; values begin behind them. */
static void recipe_latent(void **state)
{
    (void)state;
    enum { R = 4 };
    recipe r;
    recipe_begin(&r, ATTN_CACHE(.sequences = 1, .capacity = L), 1);
    attn_cache_destroy(r.cache);
    const attn_cache_spec spec =
        ATTN_CACHE(.sequences = 1, .heads = G, .key_width = D, .value_width = D - R,
                   .value_from = R, .capacity = L, .latent = true);
    assert_int_equal(attn_cache_create(&r.cache, NULL, &spec, NULL), ATTN_OK);
    r.spec.rope.dims = R;
    const attn_cache_new rows = ATTN_CACHE_NEW(.k = r.k, .rope = r.spec.rope);
    assert_int_equal(attn_cache_append(r.cache, &rows, NULL), ATTN_OK);
    attn_args args =
        ATTN_ARGS(.q = r.q, .cache = r.cache,
                  .out = attn_tensor_slice(recipe_tensor(&r, 1, H, L, 6), 3, R, D));
    assert_int_equal(attn_forward(NULL, &r.spec, &args, NULL), ATTN_OK);
    const attn_tensor over = args.out;
    r.spec.keys_turned = false;
    args = ATTN_ARGS(.q = r.q, .k = r.k, .v = attn_tensor_slice(r.k, 3, R, D),
                     .out = attn_tensor_slice(recipe_tensor(&r, 1, H, L, 7), 3, R, D));
    assert_int_equal(attn_forward(NULL, &r.spec, &args, NULL), ATTN_OK);
    assert_true(test_same_bits(over, args.out));
    recipe_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recipe_beams), cmocka_unit_test(recipe_tree),
        cmocka_unit_test(recipe_ring), cmocka_unit_test(recipe_sinks),
        cmocka_unit_test(recipe_latent)};
    return cmocka_run_group_tests_name("cache_recipes", tests, NULL, NULL);
}
