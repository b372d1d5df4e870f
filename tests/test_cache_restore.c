/* SPDX-License-Identifier: MIT
 * Entries that are no cache: tensors missing, of other types and shapes, and lists that do not
 * agree with each other. Each has its status and its place, and gives no cache. */
#include "cache_bad.h"

enum { ENTRIES = 16 };

typedef struct restore_set {
    attn_cache *cache;
    int64_t n;
    const char *names[ENTRIES];
    attn_tensor tensors[ENTRIES];
} restore_set;

/* Sequences of 5, 0 and 3 keys; two with a page more of their own, or a ring that has turned. */
static restore_set restore_entries(const attn_cache_spec *spec, int64_t times)
{
    restore_set set = {.n = 0};
    const attn_cache_new rows = ATTN_CACHE_NEW(.k = SAFETY_FILLED(F32, 1, SEQS, G, 5, D),
                                               .v = SAFETY_FILLED(F32, 2, SEQS, G, 5, E),
                                               .len = SAFETY_LIST(I64, 5, 0, 3));
    assert_int_equal(attn_cache_create(&set.cache, NULL, spec, NULL), ATTN_OK);
    for (int64_t i = 0; i < times; i++)
        assert_int_equal(attn_cache_append(set.cache, &rows, NULL), ATTN_OK);
    while ((set.names[set.n] = attn_cache_entry(set.cache, set.n, &set.tensors[set.n])))
        set.n++;
    return set;
}

static attn_tensor *restore_named(restore_set *set, const char *name)
{
    for (int64_t i = 0; i < set->n; i++)
        if (strcmp(set->names[i], name) == 0) return &set->tensors[i];
    fail_msg("no entry %s", name);
    return NULL;
}

static void restore_fails(const char *name, restore_set *set, bad_expect expect)
{
    attn_error e = {0};
    attn_cache *c = (attn_cache *)&e;
    const attn_status s = attn_cache_restore(&c, NULL, 0, set->n, set->names, set->tensors, &e);
    bad_check(name, s, &e, &expect);
    assert_null(c);
}

/* ---- tensors ---------------------------------------------------------------------------- */

static void cache_restore_names(void **state)
{
    (void)state;
    const attn_cache_spec spec = bad_paged();
    restore_set set = restore_entries(&spec, 1);
    assert_int_equal(set.n, 6); /* cache, length, held, table, k, v */
    for (int64_t i = 0; i < set.n; i++) {
        const char *name = set.names[i];
        set.names[i] = "other";
        restore_fails(name, &set, (bad_expect){ATTN_E_NAME, name, 0, 0});
        set.names[i] = name;
    }
    for (int64_t i = 0; i < set.n; i++) {
        const char *name = set.names[i];
        set.names[set.n] = name;
        set.tensors[set.n++] = set.tensors[i];
        restore_fails(name, &set, (bad_expect){ATTN_E_DUP, name, 0, 0});
        set.n--;
    }
    set.names[2] = NULL;
    restore_fails("NULL", &set, (bad_expect){ATTN_E_NULL, "names", 2, 2});
    attn_cache_destroy(set.cache);
}

static void cache_restore_tensors(void **state)
{
    (void)state;
    const attn_cache_spec spec = bad_paged();
    restore_set good = restore_entries(&spec, 1), set;
    const struct {
        const char *name;
        attn_tensor tensor;
        bad_expect expect;
    } rows[] = {
        {"cache",
         SAFETY_EMPTY(I32, 19),
         {ATTN_E_DTYPE, "cache", ATTN_DTYPE_I64, ATTN_DTYPE_I32}},
        {"cache", SAFETY_EMPTY(I64, 18), {ATTN_E_SHAPE, "cache", 19, 18}},
        {"cache", SAFETY_EMPTY(I64, 1, 19), {ATTN_E_SHAPE, "cache", 19, -1}},
        {"length",
         SAFETY_EMPTY(I32, SEQS),
         {ATTN_E_DTYPE, "length", ATTN_DTYPE_I64, ATTN_DTYPE_I32}},
        {"length", SAFETY_EMPTY(I64, SEQS - 1), {ATTN_E_SHAPE, "length", SEQS, SEQS - 1}},
        {"length", SAFETY_EMPTY(I64, SEQS, 1), {ATTN_E_RANK, "length", 1, 2}},
        {"held", SAFETY_EMPTY(U64, SEQS, 3), {ATTN_E_SHAPE, "held", 2, 3}},
        {"table", SAFETY_EMPTY(I64, SEQS, 7), {ATTN_E_SHAPE, "table", 6, 7}},
        {"k", SAFETY_EMPTY(F32, 6, G, PAGE, D), {ATTN_E_SHAPE, "k", PAGES, 6}},
        {"k", SAFETY_EMPTY(F32, 3, G, PAGE - 1, D), {ATTN_E_SHAPE, "k", PAGE, PAGE - 1}},
        {"k", SAFETY_EMPTY(F32, 3, G, PAGE, D + 1), {ATTN_E_SHAPE, "k", D, D + 1}},
        {"v", SAFETY_EMPTY(F32, 3, 1, PAGE, E), {ATTN_E_SHAPE, "v", G, 1}},
        {"v",
         SAFETY_EMPTY(F64, 3, G, PAGE, E),
         {ATTN_E_DTYPE, "v", ATTN_DTYPE_F32, ATTN_DTYPE_F64}},
        /* a page that is used and did not come */
        {"v", SAFETY_EMPTY(F32, 2, G, PAGE, E), {ATTN_E_PAGE, "table", 2, 2}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        set = good;
        *restore_named(&set, rows[i].name) = rows[i].tensor;
        restore_fails(rows[i].name, &set, rows[i].expect);
    }
    attn_cache_destroy(good.cache);
}

/* ---- lists ------------------------------------------------------------------------------ */

typedef struct restore_change {
    const char *list;
    int64_t at, value; /* element at becomes value */
    bad_expect expect;
} restore_change;

static void restore_changes(const restore_set *good, const restore_change *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        restore_set set = *good;
        attn_tensor *t = restore_named(&set, rows[i].list);
        *t = safety_copy(*t);
        ((int64_t *)t->data)[rows[i].at] = rows[i].value;
        restore_fails(rows[i].list, &set, rows[i].expect);
    }
}

#define CHANGES(set, rows) restore_changes((set), (rows), sizeof(rows) / sizeof((rows)[0]))

/* Held words and tables have 1 and 2 columns in use. */
static void cache_restore_pages(void **state)
{
    (void)state;
    const attn_cache_spec spec = bad_paged();
    const restore_set set = restore_entries(&spec, 1);
    const restore_change rows[] = {
        {"cache", 0, 2, {ATTN_E_VERSION, "cache", 1, 2}},
        {"cache", 1, 9, {ATTN_E_ENUM, "cache", 5, 9}},
        {"cache", 1, 3, {ATTN_E_ENUM, "kind", 2, 3}},
        {"cache", 2, -1, {ATTN_E_PARAM, "sequences", 0, -1}},
        {"cache", 2, 4, {ATTN_E_SHAPE, "length", 4, 3}},
        {"cache", 13, 6, {ATTN_E_ENUM, "cache", 5, 6}},
        {"cache", 14, 1, {ATTN_E_PARAM, "key.asymmetric", 0, 1}},
        {"cache", 13, ATTN_CACHE_I8, {ATTN_E_DTYPE, "k", ATTN_DTYPE_I8, ATTN_DTYPE_F32}},
        {"length", 0, -1, {ATTN_E_LENGTH, "length", LONGEST, -1}},
        {"length", 0, LONGEST + 1, {ATTN_E_LENGTH, "length", LONGEST, LONGEST + 1}},
        {"length", 0, 4, {ATTN_E_POSITION, "held", 4, 5}},
        {"held", 1, 1, {ATTN_E_POSITION, "held", 0, 1}},
        {"held", 0, 15, {ATTN_E_PAGE, "table", -1, 1}}, /* page 1 holds nothing */
        {"table", 0, PAGES, {ATTN_E_PAGE, "table", 3, PAGES}},
        {"table", 0, -2, {ATTN_E_PAGE, "table", 3, -2}},
        {"table", 0, -1, {ATTN_E_PAGE, "table", 0, -1}},
        {"table", 3, 0, {ATTN_E_PAGE, "table", -1, 0}},
        {"table", 1, 0, {ATTN_E_DUP, "table", 1, 2}}, /* twice in sequence 0 */
    };
    CHANGES(&set, rows);
    attn_cache_destroy(set.cache);
}

/* Keys that are all forgotten need no page: one without any is attended to all the same, with a
 * normaliser that looks at every chunk first. */
static void cache_restore_no_page(void **state)
{
    (void)state;
    const attn_cache_spec spec = bad_paged();
    restore_set set = restore_entries(&spec, 1);
    assert_int_equal(attn_cache_evict(set.cache, 0, 0, 5, NULL), ATTN_OK);
    assert_int_equal(attn_cache_evict(set.cache, 2, 0, 3, NULL), ATTN_OK);
    for (int64_t i = 0; i < set.n; i++) attn_cache_entry(set.cache, i, &set.tensors[i]);
    attn_tensor *head = restore_named(&set, "cache");
    *head = safety_copy(*head);
    assert_int_equal(safety_at(*head, 9), PAGES);
    safety_put(*head, 9, 0);
    attn_cache *c;
    assert_int_equal(attn_cache_restore(&c, NULL, 0, set.n, set.names, set.tensors, NULL),
                     ATTN_OK);
    assert_int_equal(attn_cache_length(c, 0), 5);
    const attn_spec entmax = ATTN_SPEC(.normaliser = ATTN_NORM_ENTMAX);
    const attn_args args = ATTN_ARGS(.q = SAFETY_FILLED(F32, 3, SEQS, G, T, D), .cache = c,
                                     .out = SAFETY_FILLED(F32, 4, SEQS, G, T, E));
    assert_int_equal(attn_forward(NULL, &entmax, &args, NULL), ATTN_OK);
    for (int64_t i = 0; i < SEQS * G * T * E; i++) assert_true(safety_at(args.out, i) == 0);
    attn_cache_destroy(c);
    attn_cache_destroy(set.cache);
}

/* A ring of 2 sinks and 4 more, after 10, 0 and 6 keys. */
static void cache_restore_ring(void **state)
{
    (void)state;
    const attn_cache_spec spec = bad_ring();
    const restore_set set = restore_entries(&spec, 2);
    const restore_change rows[] = {
        {"start", 0, 1, {ATTN_E_POSITION, "start", 10, 1}},
        {"start", 0, 11, {ATTN_E_POSITION, "start", 10, 11}},
        {"start", 0, 5, {ATTN_E_POSITION, "start", 4, 5}},
        {"start", 0, 7, {ATTN_E_POSITION, "held", 5, 6}},
        {"length", 0, 11, {ATTN_E_POSITION, "start", 4, 5}},
        {"cache", 6, 7, {ATTN_E_POSITION, "held", 5, 6}}, /* a larger ring turns elsewhere */
    };
    CHANGES(&set, rows);
    restore_set few = set;
    *restore_named(&few, "v") = attn_tensor_slice(*restore_named(&few, "v"), 2, 0, 5);
    restore_fails("few rows", &few, (bad_expect){ATTN_E_SHAPE, "k", 6, 5});
    attn_cache_destroy(set.cache);
}

/* ---- the call --------------------------------------------------------------------------- */

static void cache_restore_call(void **state)
{
    (void)state;
    const attn_cache_spec spec = bad_paged();
    const restore_set s = restore_entries(&spec, 1);
    attn_error e = {0};
    attn_cache_info info;
    attn_cache *c;
    attn_cache_describe(s.cache, &info);
    assert_int_equal(attn_cache_restore(NULL, NULL, 0, s.n, s.names, s.tensors, &e),
                     ATTN_E_NULL);
    assert_int_equal(attn_cache_restore(&c, NULL, 0, -1, s.names, s.tensors, &e), ATTN_E_PARAM);
    assert_int_equal(attn_cache_restore(&c, NULL, 0, 1, NULL, s.tensors, &e), ATTN_E_NULL);
    assert_int_equal(attn_cache_restore(&c, NULL, 0, 1, s.names, NULL, &e), ATTN_E_NULL);
    assert_int_equal(attn_cache_restore(&c, NULL, 0, 0, NULL, NULL, &e), ATTN_E_NAME);
    assert_int_equal(attn_cache_restore(&c, NULL, info.bytes - 1, s.n, s.names, s.tensors, &e),
                     ATTN_E_LIMIT);
    assert_int_equal(e.got, (int64_t)info.bytes);
    assert_null(c);
    assert_int_equal(attn_cache_restore(&c, NULL, info.bytes, s.n, s.names, s.tensors, &e),
                     ATTN_OK);
    attn_cache_destroy(c);
    attn_cache_destroy(s.cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SAFETY_CASE(cache_restore_names), SAFETY_CASE(cache_restore_tensors),
        SAFETY_CASE(cache_restore_pages), SAFETY_CASE(cache_restore_ring),
        SAFETY_CASE(cache_restore_call),  SAFETY_CASE(cache_restore_no_page),
    };
    return cmocka_run_group_tests_name("cache_restore", tests, NULL, safety_finish);
}
