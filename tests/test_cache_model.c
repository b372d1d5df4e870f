/* SPDX-License-Identifier: MIT
 * Random operations on caches of every kind and type against plain arrays (cache_model.h), and
 * after every step what the engine will see: the look at every chunk, element by element, the
 * next held position, the chunks two sequences share, and the books of the pages; and in the end
 * attention over all of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include "support/support.h"
#include <cmocka.h>

static uint64_t model_seed; /* of the case that runs */

static void model_require(bool kept, const char *promise, int line)
{
    if (kept) return;
    fail_msg("broken: %s (cache_model.h or test, line %d); ATTN_SEED=0x%llx ATTN_CASES=1",
             promise, line, (unsigned long long)model_seed);
}

#define MODEL_REQUIRE(kept, promise) model_require((kept), (promise), __LINE__)

#include "cache_model_attend.h"
#include "cache_model_steps.h"
#include "engine/cache_store.h"

/* ---- the books -------------------------------------------------------------------------- */

static void model_check_books(const cache_model *m)
{
    const attn_cache *c = m->cache;
    if (c->spec.kind != ATTN_CACHE_PAGED) return;
    int64_t *seen = calloc((size_t)c->pages + 1, sizeof *seen);
    for (int64_t b = 0; b < c->spec.sequences; b++)
        for (int64_t i = 0; i < c->columns; i++) {
            const int64_t page = attn__cache_pages(c, b)[i];
            MODEL_REQUIRE(page >= -1 && page < c->pages, "pages exist");
            if (page >= 0) seen[page]++;
        }
    for (int64_t i = 0; i < c->pages; i++) {
        MODEL_REQUIRE(seen[i] == c->refs[i], "references are counted");
        MODEL_REQUIRE(c->wanted[i] == 0, "nothing is wanted between calls");
    }
    for (int64_t i = 0; i < c->n_spare; i++) {
        MODEL_REQUIRE(seen[c->spare[i]] == 0, "no page is both free and used, or free twice");
        seen[c->spare[i]] = 1;
    }
    for (int64_t i = 0; i < c->pages; i++)
        MODEL_REQUIRE(seen[i] > 0, "every page is free or used");
    free(seen);
}

/* ---- looks ------------------------------------------------------------------------------ */

static float model_float(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static double model_f64(const void *row, int64_t d)
{
    double x;
    memcpy(&x, (const char *)row + d * 8, sizeof x);
    return x;
}

static double model_f32(const void *row, int64_t d)
{
    uint32_t x;
    memcpy(&x, (const char *)row + d * 4, sizeof x);
    return (double)model_float(x);
}

static double model_bf16(const void *row, int64_t d)
{
    uint16_t x;
    memcpy(&x, (const char *)row + d * 2, sizeof x);
    return (double)model_float((uint32_t)x << 16);
}

static double model_f16(const void *row, int64_t d)
{
    uint16_t x;
    double y = 0;
    memcpy(&x, (const char *)row + d * 2, sizeof x);
    assert_int_equal(attn_tensor_copy(ATTN_TENSOR(&y, F64, 1), ATTN_TENSOR(&x, F16, 1), NULL),
                     ATTN_OK);
    return y;
}

static double model_i8(const void *row, int64_t d)
{
    return ((const int8_t *)row)[d];
}

static double model_i4(const void *row, int64_t d)
{
    const int byte = ((const uint8_t *)row)[d / 2], q = d % 2 ? byte / 16 : byte % 16;
    return q < 8 ? q : q - 16;
}

/* The number that element d of row i stands for, by the words of attn__rows. */
static double model_row_number(const attn__rows *rows, int64_t i, int64_t d)
{
    static double (*const plain[ATTN__N_ROWS])(const void *, int64_t) = {
        [ATTN__ROW_F64] = model_f64, [ATTN__ROW_F32] = model_f32, [ATTN__ROW_BF16] = model_bf16,
        [ATTN__ROW_F16] = model_f16, [ATTN__ROW_I8] = model_i8,   [ATTN__ROW_I4] = model_i4};
    const double q = plain[rows->kind](rows->row[i], d);
    if (rows->kind != ATTN__ROW_I8 && rows->kind != ATTN__ROW_I4) return q;
    const float scale = rows->scale ? rows->scale[i] : rows->columns[d];
    const float zero = rows->scale     ? (rows->zero ? rows->zero[i] : 0)
                       : rows->offsets ? rows->offsets[d]
                                       : 0;
    return (double)fmaf((float)q, scale, zero);
}

static void model_check_row(const attn__rows *rows, int64_t i, int64_t width,
                            const double *want, const char *promise)
{
    volatile double sum = 0;
    for (int64_t d = 0; d < width; d++) {
        const double x = model_row_number(rows, i, d);
        sum = x; /* may be read also when it means nothing */
        if (want) MODEL_REQUIRE(model_same(x, want[d]), promise);
    }
    (void)sum;
}

static void model_check_look(const cache_model *m, int64_t seq, int64_t g, int64_t j0,
                             int64_t n)
{
    static attn__cache_look look;
    const model_seq *s = &m->seq[seq];
    attn__rows k, v;
    bool all = true;
    memset(&look, 0xFF, sizeof look);
    const bool answer = attn__cache_rows(m->cache, seq, g, j0, n, &look, &k, &v);
    for (int64_t i = 0; i < n; i++) {
        const model_token *t = s->key[j0 + i];
        const bool held = look.held[i / 64] >> i % 64 & 1;
        all = all && t != NULL;
        MODEL_REQUIRE(held == (t != NULL), "a look knows what is held");
        model_check_row(&k, i, m->spec.key_width, t ? t->number[0][g] : NULL, "a look at k");
        model_check_row(&v, i, m->spec.value_width, t ? t->number[1][g] : NULL, "a look at v");
    }
    MODEL_REQUIRE(answer == all, "a look knows whether all are held");
    attn__cache_keys(m->cache, seq, g, j0, n, look.row + 2 * n);
    for (int64_t i = 0; i < n; i++)
        MODEL_REQUIRE(look.row[2 * n + i] == k.row[i], "keys alone lie where a look says");
    for (int64_t i = n; i < ATTN__CHUNK; i++)
        MODEL_REQUIRE((look.held[i / 64] >> i % 64 & 1) == 0, "nothing beyond the look");
}

static void model_check_looks(const cache_model *m, int64_t seq)
{
    const int64_t length = m->seq[seq].length;
    for (int64_t g = 0; g < m->spec.heads; g++) {
        for (int64_t j = 0; j < length; j += ATTN__CHUNK)
            model_check_look(m, seq, g, j, length - j < ATTN__CHUNK ? length - j : ATTN__CHUNK);
        if (length == 0) continue;
        const int64_t j0 = model_pick(m, 0, length - 1);
        const int64_t most = length - j0 < ATTN__CHUNK ? length - j0 : ATTN__CHUNK;
        model_check_look(m, seq, g, j0, model_pick(m, 0, most));
    }
}

static void model_check_next(const cache_model *m, int64_t seq)
{
    const model_seq *s = &m->seq[seq];
    int64_t next = s->length;
    for (int64_t j = s->length - 1; j >= 0; j--) {
        if (s->key[j]) next = j;
        if (j % 7 == 0 || j > s->length - 5)
            MODEL_REQUIRE(attn__cache_next(m->cache, seq, j) == next, "the next held position");
    }
    MODEL_REQUIRE(attn__cache_next(m->cache, seq, s->length) == s->length,
                  "none is the length");
}

/* By the names of pages; what is held must agree too. */
static int64_t model_shared(const cache_model *m, int64_t a, int64_t b)
{
    const model_seq *s = &m->seq[a], *t = &m->seq[b];
    const int64_t length = s->length < t->length ? s->length : t->length;
    const int64_t chunks = length / ATTN__CHUNK;
    if (a == b) return chunks;
    if (m->spec.kind != ATTN_CACHE_PAGED) return 0;
    for (int64_t j = 0; j < chunks * ATTN__CHUNK; j++)
        if (s->page[j / m->spec.page] != t->page[j / m->spec.page] || s->key[j] != t->key[j])
            return j / ATTN__CHUNK;
    return chunks;
}

static void model_check_shared(const cache_model *m)
{
    for (int64_t a = 0; a < m->spec.sequences; a++)
        for (int64_t b = 0; b < m->spec.sequences; b++)
            MODEL_REQUIRE(attn__cache_shared(m->cache, a, b) == model_shared(m, a, b),
                          "shared chunks are counted");
}

/* ---- cases ------------------------------------------------------------------------------ */

static int64_t model_from_rng(void *user, int64_t low, int64_t high)
{
    return test_rng_range(user, low, high);
}

static void model_case(uint64_t seed)
{
    test_rng rng = test_rng_make(seed);
    cache_model *m = model_begin((model_choices){model_from_rng, &rng});
    model_seed = seed;
    for (int64_t n = test_rng_range(&rng, 3, 30); n > 0; n--) {
        model_step(m);
        model_check_books(m);
        model_check_shared(m);
        if (m->spec.sequences == 0) continue;
        const int64_t seq = model_pick(m, 0, m->spec.sequences - 1);
        model_check_seq(m, seq);
        model_check_looks(m, seq);
        model_check_next(m, seq);
    }
    for (int64_t b = 0; b < m->spec.sequences; b++) model_check_looks(m, b);
    model_attend(m);
    model_end(m);
}

static void cache_model_random(void **state)
{
    (void)state;
    const uint64_t seed = (uint64_t)test_env_int("ATTN_SEED", 0xCAC4E);
    const int64_t cases =
        test_env_int("ATTN_CASES", test_env_share(test_env_long() ? 9000 : 900));
    for (int64_t i = 0; i < cases; i++) model_case(seed + (uint64_t)i);
}

static void model_append_zeros(attn_cache *c, int64_t seq, int64_t n)
{
    static float rows[1600];
    const attn_tensor t = ATTN_TENSOR(rows, F32, 1, 1, n, 1);
    const attn_cache_new new = ATTN_CACHE_NEW(.k = t, .v = t, .seq = ATTN_TENSOR(&seq, I64, 1));
    assert_int_equal(attn_cache_append(c, &new, NULL), ATTN_OK);
}

/* Long beginnings in common, which random operations seldom have: until one forgets a key, or
 * writes one of its own. */
static void cache_model_shared(void **state)
{
    (void)state;
    static const int64_t pages[] = {1, 3, 16, 64, 1000};
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++)
        for (int64_t at = 0; at < 1600; at += 199) {
            attn_cache *c;
            const attn_cache_spec spec =
                ATTN_CACHE(.kind = ATTN_CACHE_PAGED, .sequences = 3, .heads = 1, .key_width = 1,
                           .value_width = 1, .page = pages[i], .pages = 4000 / pages[i] + 3,
                           .longest = 1600);
            assert_int_equal(attn_cache_create(&c, NULL, &spec, NULL), ATTN_OK);
            model_append_zeros(c, 0, 1600);
            assert_int_equal(attn_cache_fork(c, 0, 1, NULL), ATTN_OK);
            assert_int_equal(attn_cache_fork(c, 0, 2, NULL), ATTN_OK);
            assert_int_equal(attn__cache_shared(c, 2, 1), 3);
            assert_int_equal(attn_cache_evict(c, 1, at, 1, NULL), ATTN_OK);
            assert_int_equal(attn__cache_shared(c, 0, 1), at / 512);
            assert_int_equal(attn_cache_truncate(c, 2, at, NULL), ATTN_OK);
            model_append_zeros(c, 2, 1600 - at);
            /* page `at` stands in is a copy as a whole */
            assert_int_equal(attn__cache_shared(c, 0, 2), at / pages[i] * pages[i] / 512);
            attn_cache_destroy(c);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(cache_model_random),
                                       cmocka_unit_test(cache_model_shared)};
    return cmocka_run_group_tests_name("cache_model", tests, NULL, NULL);
}
