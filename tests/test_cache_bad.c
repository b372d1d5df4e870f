/* SPDX-License-Identifier: MIT
 * What a cache is asked that makes no sense: each with its status, its place, and the numbers
 * that were expected and came. The cache holds the same bytes before and after. */
#include "cache_bad.h"

/* ---- appends ---------------------------------------------------------------------------- */

/* Sequences of 5, 0 and 3 keys in the pages, of which two are free. */
static attn_cache *bad_cache(const attn_cache_spec *spec)
{
    attn_cache *c = NULL;
    attn_cache_new rows = ATTN_CACHE_NEW(.k = SAFETY_FILLED(F32, 1, SEQS, G, 5, D),
                                         .v = SAFETY_FILLED(F32, 2, SEQS, G, 5, E),
                                         .len = SAFETY_LIST(I64, 5, 0, 3));
    assert_int_equal(attn_cache_create(&c, NULL, spec, NULL), ATTN_OK);
    assert_int_equal(attn_cache_append(c, &rows, NULL), ATTN_OK);
    return c;
}

static uint64_t bad_hash(const attn_cache *c)
{
    uint64_t hash = 0;
    attn_tensor t;
    for (int64_t i = 0; attn_cache_entry(c, i, &t); i++) hash = test_hash_bits(t, hash);
    return hash;
}

/* Where an entry of the cache lies. */
static void *bad_own(const attn_cache *c, const char *name)
{
    attn_tensor t;
    const char *at;
    for (int64_t i = 0; (at = attn_cache_entry(c, i, &t)) != NULL; i++)
        if (strcmp(at, name) == 0) return t.data;
    return NULL;
}

typedef struct bad_append {
    const char *name;
    attn_cache_new rows;
    bad_expect expect;
} bad_append;

#define ROWS(...)                                                                              \
    ATTN_CACHE_NEW(.k = SAFETY_FILLED(F32, 3, SEQS, G, T, D),                                  \
                   .v = SAFETY_FILLED(F32, 4, SEQS, G, T, E), __VA_ARGS__)
#define PACKED(...)                                                                            \
    ATTN_CACHE_NEW(.k = SAFETY_FILLED(F32, 3, 1, G, T, D),                                     \
                   .v = SAFETY_FILLED(F32, 4, 1, G, T, E), __VA_ARGS__)
#define KEYS(tensor)   ATTN_CACHE_NEW(.k = (tensor), .v = SAFETY_FILLED(F32, 4, SEQS, G, T, E))
#define VALUES(tensor) ATTN_CACHE_NEW(.k = SAFETY_FILLED(F32, 3, SEQS, G, T, D), .v = (tensor))

static void bad_appends(attn_cache *c, const bad_append *rows, size_t n)
{
    const uint64_t before = bad_hash(c);
    for (size_t i = 0; i < n; i++) {
        attn_error e = {0};
        const attn_status s = attn_cache_append(c, &rows[i].rows, &e);
        bad_check(rows[i].name, s, &e, &rows[i].expect);
        assert_true(bad_hash(c) == before);
    }
}

#define BAD_APPENDS(c, rows) bad_appends((c), (rows), sizeof(rows) / sizeof((rows)[0]))

static void cache_bad_append_shape(void **state)
{
    (void)state;
    const attn_cache_spec spec = bad_paged();
    attn_cache *c = bad_cache(&spec);
    attn_tensor lost = SAFETY_FILLED(F32, 3, SEQS, G, T, D), own = lost;
    lost.data = NULL;
    own.data = bad_own(c, "k");
    const bad_append rows[] = {
        {"no k", KEYS((attn_tensor){0}), {ATTN_E_NULL, "k", 0, 0}},
        {"no v", VALUES((attn_tensor){0}), {ATTN_E_NULL, "v", 0, 0}},
        {"k of integers", KEYS(SAFETY_EMPTY(I32, SEQS, G, T, D)), {ATTN_E_DTYPE, "k", 0, 0}},
        {"k of rank 1", KEYS(SAFETY_EMPTY(F32, D)), {ATTN_E_RANK, "k", 4, 1}},
        {"k of rank 5", KEYS(SAFETY_EMPTY(F32, 1, SEQS, G, T, D)), {ATTN_E_RANK, "k", 4, 5}},
        {"no data", KEYS(lost), {ATTN_E_NULL, "k", 0, 0}},
        {"rows of the cache", KEYS(own), {ATTN_E_ALIAS, "k", 0, 0}},
        {"heads", KEYS(SAFETY_EMPTY(F32, SEQS, 1, T, D)), {ATTN_E_SHAPE, "k", G, 1}},
        {"width", KEYS(SAFETY_EMPTY(F32, SEQS, G, T, D + 1)), {ATTN_E_SHAPE, "k", D, D + 1}},
        {"value width", VALUES(SAFETY_EMPTY(F32, SEQS, G, T, D)), {ATTN_E_SHAPE, "v", E, D}},
        {"batch", VALUES(SAFETY_EMPTY(F32, 2, G, T, E)), {ATTN_E_SHAPE, "v", SEQS, 2}},
        {"rows", VALUES(SAFETY_EMPTY(F32, SEQS, G, 1, E)), {ATTN_E_SHAPE, "v", T, 1}},
        {"len of floats", ROWS(.len = SAFETY_LIST(F32, 1, 1, 1)), {ATTN_E_DTYPE, "len", 0, 0}},
        {"len of 2", ROWS(.len = SAFETY_LIST(I64, 1, 1)), {ATTN_E_SHAPE, "len", 3, 2}},
        {"len too long", ROWS(.len = SAFETY_LIST(I64, 1, 3, 1)), {ATTN_E_LENGTH, "len", T, 3}},
        {"len below 0", ROWS(.len = SAFETY_LIST(I64, 1, -1, 1)), {ATTN_E_LENGTH, "len", T, -1}},
        {"seq of rank 2", ROWS(.seq = SAFETY_EMPTY(I64, 1, 3)), {ATTN_E_RANK, "seq", 1, 2}},
        {"seq of 2", ROWS(.seq = SAFETY_LIST(I64, 0, 1)), {ATTN_E_SHAPE, "seq", SEQS, 2}},
        {"seq too high", ROWS(.seq = SAFETY_LIST(I64, 0, 1, 3)), {ATTN_E_PAGE, "seq", SEQS, 3}},
        {"seq below 0",
         ROWS(.seq = SAFETY_LIST(I64, 0, -1, 2)),
         {ATTN_E_PAGE, "seq", SEQS, -1}},
        {"seq twice", ROWS(.seq = SAFETY_LIST(I64, 2, 1, 2)), {ATTN_E_DUP, "seq", 1, 2}},
        {"cu and len",
         PACKED(.cu = SAFETY_LIST(I64, 0, 2), .len = SAFETY_LIST(I64, 2)),
         {ATTN_E_PARAM, "len", 0, 0}},
        {"cu of rank 2", PACKED(.cu = SAFETY_EMPTY(I64, 1, 2)), {ATTN_E_CUSEQ, "cu", 0, 0}},
        {"cu of a batch", ROWS(.cu = SAFETY_LIST(I64, 0, 2)), {ATTN_E_SHAPE, "k", 1, SEQS}},
        {"cu from 1", PACKED(.cu = SAFETY_LIST(I64, 1, 2)), {ATTN_E_CUSEQ, "cu", 0, 1}},
        {"cu falls", PACKED(.cu = SAFETY_LIST(I64, 0, 2, 1)), {ATTN_E_CUSEQ, "cu", 2, 1}},
        {"cu beyond", PACKED(.cu = SAFETY_LIST(I64, 0, 2, 3)), {ATTN_E_CUSEQ, "cu", T, 3}},
        {"too many sequences",
         PACKED(.cu = SAFETY_LIST(I64, 0, 1, 1, 2, 2)),
         {ATTN_E_PAGE, "seq", SEQS, 3}},
    };
    BAD_APPENDS(c, rows);
    attn_cache_destroy(c);
}

static void cache_bad_append_rope(void **state)
{
    (void)state;
    const attn_cache_spec spec = bad_paged();
    attn_cache *c = bad_cache(&spec);
    const attn_rope_spec half = {.kind = ATTN_ROPE_HALF};
    const attn_tensor table = SAFETY_FILLED(F32, 1, 6, D / 2);
    const bad_append rows[] = {
        {"kind", ROWS(.rope = {.kind = 3}), {ATTN_E_ENUM, "rope.kind", 0, 0}},
        {"odd", ROWS(.rope = {ATTN_ROPE_HALF, 3, 0}), {ATTN_E_PARAM, "rope.dims", D, 3}},
        {"wide", ROWS(.rope = {ATTN_ROPE_HALF, 6, 0}), {ATTN_E_PARAM, "rope.dims", D, 6}},
        {"base", ROWS(.rope = {ATTN_ROPE_HALF, 0, -1}), {ATTN_E_PARAM, "rope.base", 0, 0}},
        {"no rope", ROWS(.rope_cos = table), {ATTN_E_PARAM, "rope_cos", 0, 0}},
        {"positions of no rope",
         ROWS(.rope_pos = SAFETY_EMPTY(I64, SEQS, T)),
         {ATTN_E_PARAM, "rope_pos", 0, 0}},
        {"cos alone", ROWS(.rope = half, .rope_cos = table), {ATTN_E_PARAM, "rope_cos", 0, 0}},
        {"narrow",
         ROWS(.rope = half, .rope_cos = table, .rope_sin = SAFETY_FILLED(F32, 1, 6, 1)),
         {ATTN_E_SHAPE, "rope_sin", D / 2, 1}},
        {"table of rank 3",
         ROWS(.rope = half, .rope_cos = SAFETY_EMPTY(F32, 1, 6, 2), .rope_sin = table),
         {ATTN_E_RANK, "rope_cos", 2, 3}},
        {"short table", /* sequence 0 stands at 5 */
         ROWS(.rope = half, .rope_cos = table, .rope_sin = table),
         {ATTN_E_LENGTH, "rope_cos", 6, 6}},
        {"position below 0",
         PACKED(.rope = half, .rope_cos = table, .rope_sin = table,
                .cu = SAFETY_LIST(I64, 0, 2),
                .rope_pos = attn_tensor_make(SAFETY_LIST(I64, 0, -1).data, ATTN_DTYPE_I64, 2,
                                             (const int64_t[]){1, 2})),
         {ATTN_E_LENGTH, "rope_cos", 6, -1}},
        {"positions of another batch",
         ROWS(.rope = half, .rope_pos = SAFETY_EMPTY(I64, 1, T)),
         {ATTN_E_SHAPE, "rope_pos", SEQS, 1}},
        {"positions of other rows",
         ROWS(.rope = half, .rope_pos = SAFETY_EMPTY(I64, SEQS, 1)),
         {ATTN_E_SHAPE, "rope_pos", T, 1}},
    };
    BAD_APPENDS(c, rows);
    attn_cache_destroy(c);
}

/* Sequence 0 fills a page and a quarter, 2 most of one; three are taken, two are free. */
static void cache_bad_append_full(void **state)
{
    (void)state;
    const attn_cache_spec spec = bad_paged();
    attn_cache *c = bad_cache(&spec);
    const bad_append rows[] = {
        {"pages",
         ATTN_CACHE_NEW(.k = SAFETY_FILLED(F32, 3, SEQS, G, 6, D),
                        .v = SAFETY_FILLED(F32, 4, SEQS, G, 6, E)),
         {ATTN_E_FULL, "pages", 5, 2}}, /* 1 + 2 + 2 */
        {"longest",
         ATTN_CACHE_NEW(.k = SAFETY_FILLED(F32, 3, 1, G, 20, D),
                        .v = SAFETY_FILLED(F32, 4, 1, G, 20, E)),
         {ATTN_E_FULL, "longest", LONGEST, 25}},
    };
    BAD_APPENDS(c, rows);
    attn_cache_destroy(c);
}

/* A row that would go around the world is not looked at when there is no room for it. */
static void cache_bad_append_endless(void **state)
{
    (void)state;
    attn_cache_spec spec = bad_paged();
    attn_tensor columns = SAFETY_EMPTY(F32, G, D), k = SAFETY_FILLED(F32, 3, 1, G, 1, D);
    attn_tensor v = SAFETY_FILLED(F32, 4, 1, G, 1, E);
    for (int64_t i = 0; i < G * D; i++) safety_put(columns, i, 0.5);
    spec.key = (attn_cache_format){.type = ATTN_CACHE_I8, .columns = columns};
    const int64_t rows = (int64_t)1 << 46;
    k.shape[2] = v.shape[2] = rows;
    k.stride[2] = v.stride[2] = 0;
    attn_cache *c = bad_cache(&spec);
    const bad_append endless[] = {{"endless",
                                   ATTN_CACHE_NEW(.k = k, .v = v),
                                   {ATTN_E_FULL, "longest", LONGEST, rows + 5}}};
    BAD_APPENDS(c, endless);
    attn_cache_destroy(c);
}

/* What scales by column cannot keep, an inf of f32 on the way to them included. */
static void cache_bad_append_columns(void **state)
{
    (void)state;
    attn_cache_spec spec = bad_paged();
    attn_tensor columns = SAFETY_EMPTY(F32, G, D), odd = SAFETY_FILLED(F64, 3, SEQS, G, T, D);
    for (int64_t i = 0; i < G * D; i++) safety_put(columns, i, 0.5);
    safety_put(odd, 9, -1e300);
    spec.key = (attn_cache_format){.type = ATTN_CACHE_I8, .columns = columns};
    const attn_rope_spec half = {.kind = ATTN_ROPE_HALF};
    const attn_tensor table = SAFETY_FILLED(F64, 1, 9, D / 2);
    attn_tensor large = safety_copy(table), none = safety_copy(table);
    safety_put(large, 11, 1e300); /* sequence 0 stands at 5 */
    safety_put(none, 11, (double)NAN);
    attn_cache *c = bad_cache(&spec);
    const bad_append rows[] = {
        {"large k", KEYS(odd), {ATTN_E_PARAM, "k", 0, 0}},
        {"large cosine",
         ROWS(.rope = half, .rope_cos = large, .rope_sin = table),
         {ATTN_E_PARAM, "rope_cos", 0, 0}},
        {"no sine",
         ROWS(.rope = half, .rope_cos = table, .rope_sin = none),
         {ATTN_E_PARAM, "rope_cos", 0, 0}},
    };
    BAD_APPENDS(c, rows);
    attn_cache_destroy(c);
}

/* n sequences share their last page and all write to it: each but the last needs a copy. */
static void cache_full_of_copies(void **state)
{
    (void)state;
    for (int64_t n = 1; n <= SEQS; n++)
        for (int64_t spare = 0; spare < SEQS; spare++) {
            attn_cache *c;
            attn_cache_spec spec = bad_paged();
            spec.pages = 1 + spare;
            const attn_cache_new one =
                ATTN_CACHE_NEW(.k = SAFETY_FILLED(F32, 1, 1, G, PAGE - 1, D),
                               .v = SAFETY_FILLED(F32, 2, 1, G, PAGE - 1, E));
            const attn_cache_new more = ATTN_CACHE_NEW(.k = SAFETY_FILLED(F32, 1, n, G, 1, D),
                                                       .v = SAFETY_FILLED(F32, 2, n, G, 1, E));
            attn_error e = {0};
            assert_int_equal(attn_cache_create(&c, NULL, &spec, NULL), ATTN_OK);
            assert_int_equal(attn_cache_append(c, &one, NULL), ATTN_OK);
            for (int64_t b = 1; b < n; b++)
                assert_int_equal(attn_cache_fork(c, 0, b, NULL), ATTN_OK);
            const attn_status s = attn_cache_append(c, &more, &e);
            if (spare >= n - 1)
                assert_int_equal(s, ATTN_OK);
            else
                bad_check("copies", s, &e, &(bad_expect){ATTN_E_FULL, "pages", n - 1, spare});
            attn_cache_destroy(c);
        }
}

/* ---- everything else -------------------------------------------------------------------- */

/* One call that reports to e; untouched says whether everything is as it was. */
#define BAD(untouched, call, ...)                                                              \
    do {                                                                                       \
        const attn_status answer = (call);                                                     \
        bad_check(#call, answer, &e, &(bad_expect){__VA_ARGS__});                              \
        assert_true(untouched);                                                                \
        e = (attn_error){0};                                                                   \
    } while (0)
#define BAD_CALL(call, ...) BAD(bad_hash(c) == before, call, __VA_ARGS__)
#define BAD_READ(call, ...) BAD(safety_untouched(k), call, __VA_ARGS__)

static void cache_bad_forget(void **state)
{
    (void)state;
    const attn_cache_spec spec = bad_ring();
    attn_cache *c = bad_cache(&spec);
    const uint64_t before = bad_hash(c);
    attn_error e = {0};
    BAD_CALL(attn_cache_truncate(c, SEQS, 0, &e), ATTN_E_PAGE, "seq", SEQS, SEQS);
    BAD_CALL(attn_cache_truncate(c, -1, 0, &e), ATTN_E_PAGE, "seq", SEQS, -1);
    BAD_CALL(attn_cache_truncate(c, 0, 6, &e), ATTN_E_POSITION, "length", 5, 6);
    BAD_CALL(attn_cache_truncate(c, 0, -1, &e), ATTN_E_POSITION, "length", 5, -1);
    BAD_CALL(attn_cache_evict(c, 7, 0, 0, &e), ATTN_E_PAGE, "seq", SEQS, 7);
    BAD_CALL(attn_cache_evict(c, 0, 6, 0, &e), ATTN_E_POSITION, "first", 5, 6);
    BAD_CALL(attn_cache_evict(c, 0, -1, 1, &e), ATTN_E_POSITION, "first", 5, -1);
    BAD_CALL(attn_cache_evict(c, 0, 3, 3, &e), ATTN_E_POSITION, "n", 2, 3);
    BAD_CALL(attn_cache_evict(c, 0, 3, INT64_MAX, &e), ATTN_E_POSITION, "n", 2, INT64_MAX);
    BAD_CALL(attn_cache_evict(c, 0, 0, -1, &e), ATTN_E_POSITION, "n", 5, -1);
    BAD_CALL(attn_cache_clear(c, -5, &e), ATTN_E_PAGE, "seq", SEQS, -5);
    BAD_CALL(attn_cache_fork(c, 3, 1, &e), ATTN_E_PAGE, "from", SEQS, 3);
    BAD_CALL(attn_cache_fork(c, 0, 3, &e), ATTN_E_PAGE, "to", SEQS, 3);
    BAD_CALL(attn_cache_fork(c, 1, 1, &e), ATTN_E_DUP, "to", 1, 1);
    BAD_CALL(attn_cache_fork(c, 0, 2, &e), ATTN_E_LENGTH, "to", 0, 3);
    assert_int_equal(attn_cache_length(c, -1), -1);
    assert_int_equal(attn_cache_length(c, SEQS), -1);
    assert_false(attn_cache_holds(c, SEQS, 0));
    attn_cache_destroy(c);
}

static void cache_bad_read(void **state)
{
    (void)state;
    const attn_cache_spec spec = bad_ring();
    attn_cache *c = bad_cache(&spec);
    const attn_tensor none = {0}, k = SAFETY_EMPTY(F32, G, 1, D);
    attn_tensor lost = k, twice = k;
    attn_error e = {0};
    lost.data = NULL;
    twice.stride[0] = 0;
    assert_int_equal(attn_cache_clear(c, 2, NULL), ATTN_OK);
    BAD_READ(attn_cache_read(c, 2, 1, 0, none, none, &e), ATTN_E_POSITION, "first", 0, 1);
    BAD_READ(attn_cache_read(c, 1, 0, 1, none, none, &e), ATTN_E_POSITION, "n", 0, 1);
    BAD_READ(attn_cache_read(c, 0, 0, -1, none, none, &e), ATTN_E_POSITION, "n", 5, -1);
    BAD_READ(attn_cache_read(c, 9, 0, 0, none, none, &e), ATTN_E_PAGE, "seq", SEQS, 9);
    BAD_READ(attn_cache_read(c, 0, 0, 2, k, none, &e), ATTN_E_SHAPE, "k", 2, 1);
    BAD_READ(attn_cache_read(c, 0, 0, 1, none, k, &e), ATTN_E_SHAPE, "v", E, D);
    BAD_READ(attn_cache_read(c, 0, 0, 1, SAFETY_EMPTY(F32, G, D), none, &e), ATTN_E_RANK, "k",
             3, 2);
    BAD_READ(attn_cache_read(c, 0, 0, 1, none, SAFETY_EMPTY(I8, G, 1, E), &e), ATTN_E_DTYPE,
             "v", 0, 0);
    BAD_READ(attn_cache_read(c, 0, 0, 1, lost, none, &e), ATTN_E_NULL, "k", 0, 0);
    BAD_READ(attn_cache_read(c, 0, 0, 1, twice, none, &e), ATTN_E_ALIAS, "k", 0, 0);
    BAD_READ(attn_cache_read(c, 0, 0, 1, k, attn_tensor_slice(k, 2, 0, E), &e), ATTN_E_ALIAS,
             "v", 0, 0);
    attn_tensor own = k;
    own.data = bad_own(c, "k");
    BAD_READ(attn_cache_read(c, 0, 0, 1, own, none, &e), ATTN_E_ALIAS, "k", 0, 0);
    assert_int_equal(attn_cache_evict(c, 0, 2, 1, NULL), ATTN_OK);
    BAD_READ(attn_cache_read(c, 0, 1, 2, none, none, &e), ATTN_E_POSITION, "first", 3, 2);
    attn_cache_destroy(c);
}

/* NULL, and an object that is no cache any more. */
static void cache_bad_handle(void **state)
{
    (void)state;
    uint64_t dead[64] = {0};
    attn_cache *const handles[] = {NULL, (attn_cache *)(void *)dead};
    const attn_status want[] = {ATTN_E_NULL, ATTN_E_HANDLE};
    const attn_tensor none = {0};
    for (int i = 0; i < 2; i++) {
        attn_cache *c = handles[i];
        attn_cache_info info;
        const attn_cache_new rows = ROWS(.len = none);
        assert_int_equal(attn_cache_append(c, &rows, NULL), want[i]);
        assert_int_equal(attn_cache_fork(c, 0, 1, NULL), want[i]);
        assert_int_equal(attn_cache_truncate(c, 0, 0, NULL), want[i]);
        assert_int_equal(attn_cache_evict(c, 0, 0, 0, NULL), want[i]);
        assert_int_equal(attn_cache_clear(c, 0, NULL), want[i]);
        assert_int_equal(attn_cache_read(c, 0, 0, 0, none, none, NULL), want[i]);
        assert_int_equal(attn_cache_length(c, 0), -1);
        assert_false(attn_cache_holds(c, 0, 0));
        assert_null(attn_cache_entry(c, 0, NULL));
        attn_cache_describe(c, &info);
        assert_int_equal(info.bytes, 0);
        attn_cache_destroy(c);
    }
    const attn_cache_spec spec = bad_paged();
    attn_cache *c = bad_cache(&spec);
    assert_int_equal(attn_cache_append(c, NULL, NULL), ATTN_E_NULL);
    assert_int_equal(attn_cache_append(c, &(attn_cache_new){.size = 8}, NULL), ATTN_E_VERSION);
    attn_cache_describe(c, NULL);
    attn_cache_destroy(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {

        SAFETY_CASE(cache_bad_append_shape),   SAFETY_CASE(cache_bad_append_rope),
        SAFETY_CASE(cache_bad_append_full),    SAFETY_CASE(cache_full_of_copies),
        SAFETY_CASE(cache_bad_append_endless), SAFETY_CASE(cache_bad_append_columns),
        SAFETY_CASE(cache_bad_forget),         SAFETY_CASE(cache_bad_read),
        SAFETY_CASE(cache_bad_handle),
    };
    return cmocka_run_group_tests_name("cache_bad", tests, NULL, safety_finish);
}
