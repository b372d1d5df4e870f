/* SPDX-License-Identifier: MIT
 * Caches that cannot be: each wrong spec with its status, its place and its numbers. And memory
 * that runs out while a cache is made or restored. */
#include "cache_bad.h"

typedef struct bad_spec {
    const char *name;
    attn_cache_spec spec;
    bad_expect expect;
} bad_spec;

static const int64_t bad_far = ((int64_t)1 << 47) + 1;

#define PAGED_WITH(...)                                                                        \
    ATTN_CACHE(.kind = ATTN_CACHE_PAGED, .sequences = SEQS, .heads = G, .key_width = D,        \
               .value_width = E, .page = PAGE, .pages = PAGES, __VA_ARGS__)
#define ROOM_WITH(...)                                                                         \
    ATTN_CACHE(.sequences = SEQS, .heads = G, .key_width = D, .value_width = E, __VA_ARGS__)
#define CODED_WITH(...)                                                                        \
    ATTN_CACHE(.sequences = SEQS, .heads = G, .key_width = D, .value_width = E, .capacity = 4, \
               .key = {.type = ATTN_CACHE_I8, __VA_ARGS__})

static void bad_specs(const bad_spec *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        attn_error e = {0};
        attn_cache *c = (attn_cache *)&e;
        const attn_status s = attn_cache_create(&c, NULL, &rows[i].spec, &e);
        bad_check(rows[i].name, s, &e, &rows[i].expect);
        assert_null(c);
    }
}

#define BAD_SPECS(rows) bad_specs((rows), sizeof(rows) / sizeof((rows)[0]))

static void cache_bad_sizes(void **state)
{
    (void)state;
    const bad_spec rows[] = {
        {"kind", ROOM_WITH(.kind = (attn_cache_kind)3), {ATTN_E_ENUM, "kind", 2, 3}},
        {"sequences", ATTN_CACHE(.sequences = -1), {ATTN_E_PARAM, "sequences", 0, -1}},
        {"heads", ATTN_CACHE(.heads = -2), {ATTN_E_PARAM, "heads", 0, -2}},
        {"far", ATTN_CACHE(.heads = bad_far), {ATTN_E_LIMIT, "heads", bad_far - 1, bad_far}},
        {"key width", ATTN_CACHE(.key_width = -1), {ATTN_E_PARAM, "key_width", 0, -1}},
        {"value width", ATTN_CACHE(.value_width = -1), {ATTN_E_PARAM, "value_width", 0, -1}},
        {"capacity", ROOM_WITH(.capacity = -4), {ATTN_E_PARAM, "capacity", 0, -4}},
        {"sinks", ROOM_WITH(.capacity = 4, .sinks = 1), {ATTN_E_PARAM, "sinks", 0, 1}},
        {"full of sinks",
         ROOM_WITH(.kind = ATTN_CACHE_RING, .capacity = 4, .sinks = 4),
         {ATTN_E_PARAM, "capacity", 5, 4}},
        {"capacity of pages", PAGED_WITH(.capacity = 9), {ATTN_E_PARAM, "capacity", 0, 9}},
        {"page of a room", ROOM_WITH(.page = 4), {ATTN_E_PARAM, "page", 0, 4}},
        {"pages of a room", ROOM_WITH(.pages = 4), {ATTN_E_PARAM, "pages", 0, 4}},
        {"page of 0", ROOM_WITH(.kind = ATTN_CACHE_PAGED), {ATTN_E_PARAM, "page", 1, 0}},
        {"longest", ROOM_WITH(.capacity = 4, .longest = 5), {ATTN_E_PARAM, "longest", 4, 5}},
        {"value_from", ROOM_WITH(.value_from = 1), {ATTN_E_PARAM, "value_from", 0, 1}},
        {"latent width",
         ROOM_WITH(.latent = true, .value_from = 2),
         {ATTN_E_PARAM, "value_width", D - 2, E}},
        {"half a byte",
         ROOM_WITH(.latent = true, .value_from = 1, .key = {.type = ATTN_CACHE_I4}),
         {ATTN_E_PARAM, "value_from", 2, 1}},
        {"too much",
         ATTN_CACHE(.sequences = bad_far - 1, .heads = bad_far - 1),
         {ATTN_E_OVERFLOW, "cache", 0, 0}},
    };
    BAD_SPECS(rows);
}

static void cache_bad_formats(void **state)
{
    (void)state;
    attn_tensor good = SAFETY_EMPTY(F32, G, D), zeros = SAFETY_EMPTY(F32, G, D);
    for (int64_t i = 0; i < G * D; i++) safety_put(good, i, 1), safety_put(zeros, i, 0);
    attn_tensor nan = safety_copy(good), lost = good;
    safety_put(nan, 5, (double)NAN);
    lost.data = NULL;
    const bad_spec rows[] = {
        {"type", ROOM_WITH(.key = {.type = 6}), {ATTN_E_ENUM, "key.type", 5, 6}},
        {"value type", ROOM_WITH(.value = {.type = 9}), {ATTN_E_ENUM, "value.type", 5, 9}},
        {"asymmetric floats",
         ROOM_WITH(.value = {.asymmetric = true}),
         {ATTN_E_PARAM, "value.asymmetric", 0, 1}},
        {"columns of floats",
         ROOM_WITH(.key = {.columns = good}),
         {ATTN_E_PARAM, "key.columns", 0, 1}},
        {"offsets alone", CODED_WITH(.offsets = good), {ATTN_E_PARAM, "key.offsets", 0, 1}},
        {"offsets missing",
         CODED_WITH(.columns = good, .asymmetric = true),
         {ATTN_E_PARAM, "key.offsets", 1, 0}},
        {"columns of f64",
         CODED_WITH(.columns = SAFETY_FILLED(F64, 1, G, D)),
         {ATTN_E_DTYPE, "key.columns", ATTN_DTYPE_F32, ATTN_DTYPE_F64}},
        {"columns of rank 1",
         CODED_WITH(.columns = SAFETY_FILLED(F32, 1, D)),
         {ATTN_E_RANK, "key.columns", 2, 1}},
        {"columns of other heads",
         CODED_WITH(.columns = SAFETY_FILLED(F32, 1, G + 1, D)),
         {ATTN_E_SHAPE, "key.columns", G, G + 1}},
        {"columns of other widths",
         CODED_WITH(.columns = SAFETY_FILLED(F32, 1, G, D - 1)),
         {ATTN_E_SHAPE, "key.columns", D, D - 1}},
        {"columns without data",
         CODED_WITH(.columns = lost),
         {ATTN_E_NULL, "key.columns", 1, 0}},
        {"columns of 0", CODED_WITH(.columns = zeros), {ATTN_E_PARAM, "key.columns", 0, 0}},
        {"columns with NaN", CODED_WITH(.columns = nan), {ATTN_E_PARAM, "key.columns", 0, 0}},
        {"offsets with NaN",
         CODED_WITH(.columns = good, .offsets = nan, .asymmetric = true),
         {ATTN_E_PARAM, "key.offsets", 0, 0}},
    };
    BAD_SPECS(rows);
}

static void cache_bad_create(void **state)
{
    (void)state;
    attn_error e = {0};
    attn_cache *c;
    attn_cache_spec spec = bad_paged();
    assert_int_equal(attn_cache_create(NULL, NULL, &spec, &e), ATTN_E_NULL);
    assert_int_equal(attn_cache_create(&c, NULL, NULL, &e), ATTN_E_NULL);
    assert_string_equal(e.where, "spec");
    spec.size -= 8;
    assert_int_equal(attn_cache_create(&c, NULL, &spec, &e), ATTN_E_VERSION);
    assert_int_equal(e.got, (int64_t)sizeof spec - 8);
    assert_null(c);
}

/* ---- memory ----------------------------------------------------------------------------- */

/* Allocation number fail_at fails. */
typedef struct bad_meter {
    int calls, fail_at, live;
} bad_meter;

static void *bad_alloc(void *user, void *ptr, size_t old_size, size_t new_size, size_t align)
{
    bad_meter *m = user;
    (void)old_size;
    if (new_size == 0) {
        m->live--;
        free(ptr);
        return NULL;
    }
    if (m->calls++ == m->fail_at) return NULL;
    m->live++;
    return aligned_alloc(align, (new_size + align - 1) / align * align);
}

/* Makes a cache, and a second one of its entries; the first status that is not OK. */
static attn_status bad_make_two(attn_ctx *ctx)
{
    const attn_cache_spec spec = bad_ring();
    const char *names[16];
    attn_tensor tensors[16];
    attn_cache *c = NULL, *d = NULL;
    int64_t n = 0;
    attn_status s = attn_cache_create(&c, ctx, &spec, NULL);
    assert_true((s == ATTN_OK) == (c != NULL));
    if (s != ATTN_OK) return s;
    while ((names[n] = attn_cache_entry(c, n, &tensors[n]))) n++;
    s = attn_cache_restore(&d, ctx, 0, n, names, tensors, NULL);
    assert_true((s == ATTN_OK) == (d != NULL));
    attn_cache_destroy(d);
    attn_cache_destroy(c);
    return s;
}

static void cache_no_memory(void **state)
{
    (void)state;
    bad_meter meter = {0, -1, 0};
    attn_ctx *ctx;
    const attn_config config =
        ATTN_CONFIG(.threads = 1, .alloc = bad_alloc, .alloc_user = &meter);
    assert_int_equal(attn_ctx_create(&ctx, &config, NULL), ATTN_OK);
    const int live = meter.live;
    attn_status s = ATTN_E_MEMORY;
    for (int n = 0; s != ATTN_OK; n++) {
        meter.calls = 0;
        meter.fail_at = n;
        s = bad_make_two(ctx);
        assert_int_equal(s, n < 2 ? ATTN_E_MEMORY : ATTN_OK); /* one block a cache */
        assert_int_equal(meter.live, live);
    }
    attn_ctx_destroy(ctx);
    assert_int_equal(meter.live, 0);
}

/* Nothing is asked for after a cache was made. */
static void cache_no_more_memory(void **state)
{
    (void)state;
    bad_meter meter = {0, -1, 0};
    attn_ctx *ctx;
    attn_cache *c;
    const attn_config config =
        ATTN_CONFIG(.threads = 1, .alloc = bad_alloc, .alloc_user = &meter);
    const attn_cache_spec spec = bad_paged();
    const attn_cache_new rows = ATTN_CACHE_NEW(.k = SAFETY_FILLED(BF16, 1, 1, G, 1, D),
                                               .v = SAFETY_FILLED(F32, 2, 1, G, 1, E),
                                               .rope = {.kind = ATTN_ROPE_HALF});
    assert_int_equal(attn_ctx_create(&ctx, &config, NULL), ATTN_OK);
    assert_int_equal(attn_cache_create(&c, ctx, &spec, NULL), ATTN_OK);
    meter.calls = meter.fail_at = 0;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(attn_cache_append(c, &rows, NULL), ATTN_OK);
        if (i % 7 == 0) assert_int_equal(attn_cache_fork(c, 0, 1, NULL), ATTN_OK);
        if (i % 7 == 3) assert_int_equal(attn_cache_clear(c, 1, NULL), ATTN_OK);
        if (i % 11 == 5) assert_int_equal(attn_cache_truncate(c, 0, 1, NULL), ATTN_OK);
    }
    assert_int_equal(meter.calls, 0);
    attn_cache_destroy(c);
    attn_ctx_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SAFETY_CASE(cache_bad_sizes),      SAFETY_CASE(cache_bad_formats),
        SAFETY_CASE(cache_bad_create),     SAFETY_CASE(cache_no_memory),
        SAFETY_CASE(cache_no_more_memory),
    };
    return cmocka_run_group_tests_name("cache_spec", tests, NULL, safety_finish);
}
