/* SPDX-License-Identifier: MIT
 * Sequences that begin with the same pages - forks of a cache, equal entries of a page table -
 * give the bits of sequences that have their beginning to themselves, as tensors; and they do
 * read it together: the engine's own search finds them.
 *
 *   ATTN_CASES=n  cases (300)   ATTN_SEED=s   ATTN_LONG=1  twenty times as many
 */
#include <math.h>

#include "attn/cache.h"
#include "contexts.h"
#include "engine/source.h"

typedef struct cascade_case {
    uint64_t seed;
    test_rng rng;
    test_arena arena;
    int64_t N, H, G, T, S, D, E, page, M;
    int64_t family[40], shared[40], len[40]; /* whose first keys, how many, of how many */
    attn_spec spec;
    attn_args plain, over; /* as tensors; from the cache or the pools */
    attn_cache *cache;
    bool pages;
} cascade_case;

enum { FAMILIES = 3 };

static int64_t cascade_any(cascade_case *c, int64_t low, int64_t high)
{
    return test_rng_range(&c->rng, low, high);
}

static bool cascade_chance(cascade_case *c, int percent)
{
    return test_rng_chance(&c->rng, percent);
}

static attn_tensor cascade_normal(cascade_case *c, attn_dtype dtype, int rank,
                                  const int64_t *shape)
{
    attn_tensor t = test_tensor(&c->arena, dtype, rank, shape);
    test_fill_normal(&t, &c->rng, 1);
    return t;
}
#define CASCADE_NORMAL(c, dtype, ...)                                                          \
    cascade_normal(c, dtype, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),        \
                   (const int64_t[]){__VA_ARGS__})

/* ---- sizes, and who begins as whom ------------------------------------------------------ */

static void cascade_sizes(cascade_case *c)
{
    static const int64_t pages[] = {1, 3, 16, 64, 600};
    c->N = cascade_any(c, 2, cascade_chance(c, 50) ? 4 : 20);
    c->G = cascade_any(c, 1, 2);
    c->H = c->G * cascade_any(c, 1, 5);
    c->T = cascade_chance(c, 60) ? 1 : cascade_any(c, 2, 9);
    c->D = cascade_any(c, 1, 20);
    c->E = cascade_any(c, 0, 18);
    c->page = test_rng_pick(&c->rng, pages, 5);
    c->M = (cascade_any(c, 512, 1700) + c->page - 1) / c->page;
    c->S = c->M * c->page;
    for (int64_t b = 0; b < c->N; b++) {
        c->family[b] = cascade_any(c, 0, FAMILIES - 1);
        c->shared[b] =
            cascade_chance(c, 80) ? cascade_any(c, 512, c->S) : cascade_any(c, 0, c->S);
        if (c->pages) c->shared[b] = c->shared[b] / c->page * c->page;
        c->len[b] = cascade_any(c, c->shared[b], c->S);
    }
}

/* Rows of the families, then rows of each sequence's own: (F + N) G S width; and what a
 * sequence sees of them. */
static attn_tensor cascade_plain(cascade_case *c, const attn_tensor *all)
{
    const int64_t width = all->shape[3], shape[] = {c->N, c->G, c->S, width};
    attn_tensor t = test_tensor(&c->arena, all->dtype, 4, shape);
    for (int64_t b = 0; b < c->N; b++)
        for (int64_t g = 0; g < c->G; g++)
            for (int64_t j = 0; j < c->S; j++)
                for (int64_t d = 0; d < width; d++) {
                    const int64_t from = j < c->shared[b] ? c->family[b] : FAMILIES + b;
                    test_put(&t, (int64_t[]){b, g, j, d},
                             test_get(all, (int64_t[]){from, g, j, d}));
                }
    return t;
}

/* (F + N) M pages, each family and each sequence its own. */
static attn_tensor cascade_pool(cascade_case *c, const attn_tensor *all)
{
    const int64_t width = all->shape[3];
    attn_tensor pool = test_tensor(&c->arena, all->dtype, 4,
                                   (int64_t[]){(FAMILIES + c->N) * c->M, c->G, c->page, width});
    for (int64_t x = 0; x < FAMILIES + c->N; x++)
        for (int64_t g = 0; g < c->G; g++)
            for (int64_t j = 0; j < c->S; j++)
                for (int64_t d = 0; d < width; d++)
                    test_put(&pool, (int64_t[]){x * c->M + j / c->page, g, j % c->page, d},
                             test_get(all, (int64_t[]){x, g, j, d}));
    return pool;
}

static void cascade_table(cascade_case *c, const attn_tensor *k, const attn_tensor *v)
{
    c->over.k = cascade_pool(c, k);
    c->over.v = cascade_pool(c, v);
    c->over.page_table = TEST_TENSOR(&c->arena, I32, c->N, c->M);
    for (int64_t b = 0; b < c->N; b++)
        for (int64_t m = 0; m < c->M; m++) {
            const int64_t x = m * c->page < c->shared[b] ? c->family[b] : FAMILIES + b;
            test_put(&c->over.page_table, (int64_t[]){b, m}, (double)(x * c->M + m));
        }
}

/* Rows first .. end of entry x, appended to a sequence. */
static void cascade_append(cascade_case *c, const attn_tensor *k, const attn_tensor *v,
                           int64_t x, int64_t seq, int64_t first, int64_t end)
{
    attn_tensor at = TEST_TENSOR(&c->arena, I64, 1);
    attn_error error = {0};
    test_put(&at, (int64_t[]){0}, (double)seq);
    const attn_cache_new rows =
        ATTN_CACHE_NEW(.k =
                           attn_tensor_slice(attn_tensor_slice(*k, 0, x, x + 1), 2, first, end),
                       .v =
                           attn_tensor_slice(attn_tensor_slice(*v, 0, x, x + 1), 2, first, end),
                       .seq = at);
    if (attn_cache_append(c->cache, &rows, &error) != ATTN_OK)
        fail_msg("append: %s %s", error.where, error.what);
}

/* Families are sequences behind those of the call; each of these begins as a fork. */
static void cascade_forks(cascade_case *c, const attn_tensor *k, const attn_tensor *v)
{
    const attn_cache_format as = {.type = k->dtype == ATTN_DTYPE_F32 ? ATTN_CACHE_F32
                                                                     : ATTN_CACHE_BF16};
    const attn_cache_spec s =
        ATTN_CACHE(.kind = ATTN_CACHE_PAGED, .sequences = c->N + FAMILIES, .heads = c->G,
                   .key_width = c->D, .value_width = c->E, .page = c->page,
                   .pages = (c->N + FAMILIES) * (c->M + 1), .longest = c->S, .key = as,
                   .value = as);
    assert_int_equal(attn_cache_create(&c->cache, NULL, &s, NULL), ATTN_OK);
    for (int64_t f = 0; f < FAMILIES; f++) cascade_append(c, k, v, f, c->N + f, 0, c->S);
    for (int64_t b = 0; b < c->N; b++) {
        assert_int_equal(attn_cache_fork(c->cache, c->N + c->family[b], b, NULL), ATTN_OK);
        assert_int_equal(attn_cache_truncate(c->cache, b, c->shared[b], NULL), ATTN_OK);
        cascade_append(c, k, v, FAMILIES + b, b, c->shared[b], c->len[b]);
    }
    c->over.cache = c->cache;
    c->over.k = c->over.v = (attn_tensor){0};
    if (cascade_chance(c, 50)) c->over.k_len = (attn_tensor){0};
}

/* ---- options ------------------------------------------------------------------------------ */

static void cascade_options(cascade_case *c)
{
    attn_spec *s = &c->spec;
    attn_args *a = &c->plain;
    const bool wide = cascade_chance(c, 30); /* one for each sequence: nothing is joint */
    const int64_t N = wide ? c->N : 1;
    if (cascade_chance(c, 50)) s->causal = true;
    s->align = ATTN_ALIGN_BOTTOM_RIGHT;
    if (cascade_chance(c, 30)) s->window = (attn_window){true, cascade_any(c, 0, c->S), -1};
    if (cascade_chance(c, 20)) s->softcap = 5;
    if (cascade_chance(c, 20)) s->softmax1 = true;
    if (cascade_chance(c, 20)) s->rope.kind = ATTN_ROPE_HALF, s->rope.dims = c->D / 2 * 2;
    if (cascade_chance(c, 20)) s->normaliser = ATTN_NORM_SIGMOID, s->softmax1 = false;
    if (s->rope.dims == 0) s->rope.kind = ATTN_ROPE_NONE;
    if (cascade_chance(c, 20)) a->alibi = CASCADE_NORMAL(c, ATTN_DTYPE_F32, N, c->H);
    if (cascade_chance(c, 20)) a->bias = CASCADE_NORMAL(c, ATTN_DTYPE_F32, N, c->H, c->T, c->S);
    if (cascade_chance(c, 20)) a->mask = TEST_TENSOR(&c->arena, BOOL, N, 1, c->T, c->S);
    if (a->mask.dtype) test_fill_range(&a->mask, &c->rng, 0, 1);
    if (cascade_chance(c, 25)) a->tree = TEST_TENSOR(&c->arena, U8, N, c->T, c->T);
    if (a->tree.dtype) test_fill_range(&a->tree, &c->rng, 0, 1);
    if (s->normaliser == ATTN_NORM_SOFTMAX)
        a->lse = TEST_TENSOR(&c->arena, F64, c->N, c->H, c->T);
    if (cascade_chance(c, 15)) a->weights = TEST_TENSOR(&c->arena, F32, c->N, c->H, c->T, c->S);
    if (cascade_chance(c, 20)) a->q_len = TEST_TENSOR(&c->arena, I64, c->N);
    if (a->q_len.dtype) test_fill_range(&a->q_len, &c->rng, 0, c->T);
}

static void cascade_draw(cascade_case *c, uint64_t seed)
{
    *c = (cascade_case){
        .seed = seed, .rng = test_rng_make(seed), .spec = {.size = sizeof c->spec}};
    c->pages = cascade_chance(c, 50);
    cascade_sizes(c);
    const attn_dtype dtype = cascade_chance(c, 60) ? ATTN_DTYPE_F32 : ATTN_DTYPE_BF16;
    const attn_tensor k = CASCADE_NORMAL(c, dtype, FAMILIES + c->N, c->G, c->S, c->D);
    const attn_tensor v = CASCADE_NORMAL(c, dtype, FAMILIES + c->N, c->G, c->S, c->E);
    c->plain = (attn_args){
        .size = sizeof c->plain,
        .q = CASCADE_NORMAL(c, cascade_chance(c, 80) ? ATTN_DTYPE_F32 : ATTN_DTYPE_F64, c->N,
                            c->H, c->T, c->D),
        .k = cascade_plain(c, &k),
        .v = cascade_plain(c, &v),
        .k_len = TEST_TENSOR(&c->arena, I64, c->N),
        .out = TEST_TENSOR(&c->arena, F32, c->N, c->H, c->T, c->E)};
    for (int64_t b = 0; b < c->N; b++) test_put(&c->plain.k_len, &b, (double)c->len[b]);
    cascade_options(c);
    c->over = c->plain;
    (c->pages ? cascade_table : cascade_forks)(c, &k, &v);
}

static void cascade_free(cascade_case *c)
{
    attn_cache_destroy(c->cache);
    test_arena_reset(&c->arena);
}

/* ---- the same bits ------------------------------------------------------------------------ */

/* Joints that the engine finds in the call. */
static int64_t cascade_joints(cascade_case *c)
{
    attn_plan *plan;
    assert_int_equal(attn_plan_create(&plan, NULL, &c->spec, &c->over, NULL), ATTN_OK);
    attn__problem p = plan->problem;
    attn__seq seqs[40];
    int64_t joints[40];
    attn__run run = {.plan = plan, .p = &p, .seqs = seqs, .joints = joints};
    for (int64_t b = 0; b < p.N; b++) seqs[b] = attn__seq_get(&p, b);
    attn__cascade_find(&run);
    for (int64_t x = 0; x < run.n_joints; x++) {
        assert_true(seqs[joints[x]].shared > 0);
        assert_true(seqs[joints[x]].next > joints[x]);
    }
    attn_plan_destroy(plan);
    return run.n_joints;
}

static int64_t cascade_one(uint64_t seed)
{
    cascade_case c;
    attn_error error = {0};
    const char *what = "";
    cascade_draw(&c, seed);
    const int isa = contexts.usable[cascade_any(&c, 0, contexts.n_usable - 1)];
    attn_ctx *ctx = test_contexts_get(&contexts, isa, (int)cascade_any(&c, 1, 3));
    if (attn_forward(NULL, &c.spec, &c.plain, &error) != ATTN_OK)
        fail_msg("%s: %s; ATTN_SEED=%llu", error.where, error.what, (unsigned long long)seed);
    const attn_args mine = test_outputs_fresh(&c.arena, &c.over);
    if (attn_forward(ctx, &c.spec, &mine, &error) != ATTN_OK)
        fail_msg("%s: %s; ATTN_SEED=%llu", error.where, error.what, (unsigned long long)seed);
    if (!test_outputs_same(&c.plain, &mine, &what))
        fail_msg("%s differs; ATTN_CASES=1 ATTN_SEED=%llu", what, (unsigned long long)seed);
    const int64_t joints = cascade_joints(&c);
    cascade_free(&c);
    return joints;
}

static void cascade_is_alone(void **state)
{
    const uint64_t first = (uint64_t)test_env_int("ATTN_SEED", 1);
    const uint64_t n = (uint64_t)test_env_int("ATTN_CASES", test_env_long() ? 6000 : 300);
    int64_t joint = 0;
    (void)state;
    for (uint64_t i = 0; i < n; i++) joint += cascade_one(first + i) > 0;
    print_message("# %lld of %llu calls read a beginning together\n", (long long)joint,
                  (unsigned long long)n);
    assert_true(n < 50 || joint > (int64_t)n / 8);
}

/* ---- many of them ------------------------------------------------------------------------- */

enum { MANY = 900, MANY_CHUNKS = 2 };

/* Sequence b begins as family b % families and goes on alone; a page is a chunk. */
static int64_t cascade_many(attn__seq *seqs, int64_t *joints, int64_t families)
{
    static int32_t table[MANY][MANY_CHUNKS];
    static int64_t len[MANY];
    static float number[1];
    attn_plan *plan;
    for (int32_t b = 0; b < MANY; b++) {
        table[b][0] = b % (int32_t)families;
        table[b][1] = MANY + b;
        len[b] = (int64_t)MANY_CHUNKS * ATTN__CHUNK;
    }
    attn_tensor pool =
        ATTN_TENSOR(number, F32, (int64_t)2 * MANY, 1, (int64_t)ATTN__CHUNK, (int64_t)1);
    attn_tensor q = ATTN_TENSOR(number, F32, (int64_t)MANY, 2, 1, 1);
    for (int i = 0; i < 4; i++) pool.stride[i] = q.stride[i] = 0;
    float out[MANY][2];
    const attn_args args =
        ATTN_ARGS(.q = q, .k = pool, .v = pool, .out = ATTN_TENSOR(out, F32, MANY, 2, 1, 1),
                  .page_table = ATTN_TENSOR(table, I32, MANY, MANY_CHUNKS),
                  .k_len = ATTN_TENSOR(len, I64, MANY));
    assert_int_equal(attn_plan_create(&plan, NULL, NULL, &args, NULL), ATTN_OK);
    attn__problem p = plan->problem;
    attn__run run = {.plan = plan, .p = &p, .seqs = seqs, .joints = joints};
    for (int64_t b = 0; b < MANY; b++) seqs[b] = attn__seq_get(&p, b);
    attn__cascade_find(&run);
    attn_plan_destroy(plan);
    return run.n_joints;
}

/* Whoever has a beginning in common with others is found among 900, and only they. */
static void cascade_finds_families(void **state)
{
    static attn__seq seqs[MANY];
    int64_t joints[MANY / 2];
    const int64_t families[] = {1, 3, 30, MANY / 2, MANY};
    (void)state;
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        const int64_t n = cascade_many(seqs, joints, families[i]);
        int64_t members = 0;
        for (int64_t x = 0; x < n; x++)
            for (int64_t b = joints[x], lane = 0; b >= 0; b = seqs[b].next, members++) {
                assert_int_equal(b % families[i], joints[x] % families[i]);
                assert_int_equal(seqs[b].shared, 1);
                assert_int_equal(seqs[b].joint, x);
                assert_int_equal(seqs[b].lane, lane);
                lane += 2;
                assert_true(lane <= ATTN__PANEL);
            }
        assert_int_equal(members, families[i] == MANY ? 0 : MANY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cascade_is_alone),
        cmocka_unit_test(cascade_finds_families),
    };
    return cmocka_run_group_tests(tests, contexts_setup, contexts_finish);
}
