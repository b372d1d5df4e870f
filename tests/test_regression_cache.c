/* SPDX-License-Identifier: MIT
 * Failures others had with caches of keys and values: empty sequences, the tail of a page, ids
 * that nobody checked, a page too many, rings whose order or edges were lost. */
#include "safety.h"

#include "attn/cache.h"

enum { G = 2, D = 3, E = 2 };

/* Token i of a sequence has i + 1 in each key and -(i + 1) in each value. */
static attn_cache_new reg_tokens(int64_t B, int64_t first, int64_t n)
{
    attn_cache_new rows =
        ATTN_CACHE_NEW(.k = SAFETY_EMPTY(F32, B, G, n, D), .v = SAFETY_EMPTY(F32, B, G, n, E));
    for (int64_t x = 0; x < B * G * n; x++) {
        for (int64_t d = 0; d < D; d++)
            safety_put(rows.k, x * D + d, (double)(first + x % n) + 1);
        for (int64_t e = 0; e < E; e++)
            safety_put(rows.v, x * E + e, -(double)(first + x % n) - 1);
    }
    return rows;
}

static attn_cache *reg_cache(attn_cache_spec spec)
{
    attn_cache *c;
    spec.heads = G;
    spec.key_width = D;
    spec.value_width = E;
    assert_int_equal(attn_cache_create(&c, NULL, &spec, NULL), ATTN_OK);
    return c;
}

static void reg_append(attn_cache *c, int64_t n)
{
    const attn_cache_new rows = reg_tokens(1, attn_cache_length(c, 0), n);
    assert_int_equal(attn_cache_append(c, &rows, NULL), ATTN_OK);
}

/* Whether position i is held, and is the token it should be. */
static bool reg_holds(attn_cache *c, int64_t seq, int64_t i)
{
    attn_tensor k = SAFETY_EMPTY(F64, G, 1, D), v = SAFETY_EMPTY(F64, G, 1, E);
    const attn_status s = attn_cache_read(c, seq, i, 1, k, v, NULL);
    if (s == ATTN_E_POSITION) return false;
    assert_int_equal(s, ATTN_OK);
    for (int64_t x = 0; x < G * D; x++) assert_true(safety_at(k, x) == (double)i + 1);
    for (int64_t x = 0; x < G * E; x++) assert_true(safety_at(v, x) == -(double)i - 1);
    return true;
}

/* Held: positions below sinks, and from first on. */
static void reg_window(attn_cache *c, int64_t seq, int64_t sinks, int64_t first)
{
    for (int64_t i = 0, n = attn_cache_length(c, seq); i < n; i++) {
        assert_int_equal(reg_holds(c, seq, i), i < sinks || i >= first);
        assert_int_equal(attn_cache_holds(c, seq, i), i < sinks || i >= first);
    }
}

static int64_t reg_free(const attn_cache *c)
{
    attn_cache_info info;
    attn_cache_describe(c, &info);
    return info.pages_free;
}

/* FlashMLA#11, vllm-fork#318, pytorch#81077: lengths of 0 wrote NaN, or something. */
static void reg_072_073_zero_lengths(void **state)
{
    (void)state;
    attn_cache *c =
        reg_cache(ATTN_CACHE(.kind = ATTN_CACHE_PAGED, .sequences = 3, .page = 2, .pages = 4));
    attn_cache_new rows = reg_tokens(3, 0, 2);
    rows.len = SAFETY_LIST(I64, 0, 2, 0);
    safety_put(rows.k, 0, (double)NAN); /* of a row that does not count */
    assert_int_equal(attn_cache_append(c, &rows, NULL), ATTN_OK);
    assert_int_equal(attn_cache_length(c, 0), 0);
    assert_int_equal(attn_cache_length(c, 2), 0);
    assert_int_equal(reg_free(c), 3);
    reg_window(c, 1, 0, 0);
    rows = reg_tokens(3, 0, 0); /* no rows at all, then no sequences at all */
    assert_int_equal(attn_cache_append(c, &rows, NULL), ATTN_OK);
    rows = reg_tokens(0, 0, 2);
    assert_int_equal(attn_cache_append(c, &rows, NULL), ATTN_OK);
    assert_int_equal(reg_free(c), 3);
    attn_cache_destroy(c);
}

/* vllm#936, #47305: what a page held before must not come back with its next owner. */
static void reg_074_tail_of_the_last_page(void **state)
{
    (void)state;
    attn_cache *c =
        reg_cache(ATTN_CACHE(.kind = ATTN_CACHE_PAGED, .sequences = 1, .page = 4, .pages = 1));
    attn_cache_new nan = reg_tokens(1, 0, 4);
    for (int64_t i = 0; i < G * 4 * D; i++) safety_put(nan.k, i, (double)NAN);
    assert_int_equal(attn_cache_append(c, &nan, NULL), ATTN_OK);
    assert_int_equal(attn_cache_clear(c, 0, NULL), ATTN_OK);
    reg_append(c, 1);
    reg_window(c, 0, 0, 0);
    assert_false(reg_holds(c, 0, 1));
    assert_false(attn_cache_holds(c, 0, 3));
    attn_cache_destroy(c);
}

/* onnxruntime#32391, flash-attention#2711: page ids and columns past the table, from a file. */
static void reg_075_076_page_ids(void **state)
{
    (void)state;
    attn_cache *c =
        reg_cache(ATTN_CACHE(.kind = ATTN_CACHE_PAGED, .sequences = 1, .page = 2, .pages = 3));
    reg_append(c, 3);
    const char *names[16];
    attn_tensor tensors[16];
    int64_t n = 0, at = -1;
    for (; (names[n] = attn_cache_entry(c, n, &tensors[n])); n++)
        if (strcmp(names[n], "table") == 0) at = n;
    const int64_t ids[] = {3, INT64_MAX, INT64_MIN, -2, 2};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        attn_cache *d;
        int64_t table[] = {0, ids[i]};
        tensors[at] = ATTN_TENSOR(table, I64, 1, 2);
        assert_int_equal(attn_cache_restore(&d, NULL, 0, n, names, tensors, NULL), ATTN_E_PAGE);
        assert_null(d);
    }
    attn_cache *d;
    int64_t wide[] = {0, 1, -1, 0};
    tensors[at] = ATTN_TENSOR(wide, I64, 1, 4);
    assert_int_equal(attn_cache_restore(&d, NULL, 0, n, names, tensors, NULL), ATTN_E_SHAPE);
    attn_cache_destroy(c);
}

/* pegainfer#291: at length % page == 0 nothing more is taken until a token comes. */
static void reg_077_one_page_too_many(void **state)
{
    (void)state;
    attn_cache *c =
        reg_cache(ATTN_CACHE(.kind = ATTN_CACHE_PAGED, .sequences = 2, .page = 4, .pages = 3));
    for (int64_t i = 0; i < 12; i++) {
        assert_int_equal(reg_free(c), 3 - (i + 3) / 4);
        reg_append(c, 1);
    }
    attn_error e;
    const attn_cache_new rows = reg_tokens(1, 12, 1);
    assert_int_equal(attn_cache_append(c, &rows, &e), ATTN_E_FULL);
    for (int64_t i = 12; i > 0; i--) {
        assert_int_equal(attn_cache_truncate(c, 0, i, NULL), ATTN_OK);
        assert_int_equal(reg_free(c), 3 - (i + 3) / 4);
    }
    attn_cache_destroy(c);
}

/* vllm#2622: rows of another width would have been written over their neighbours. */
static void reg_078_width(void **state)
{
    (void)state;
    attn_cache *c = reg_cache(ATTN_CACHE(.sequences = 1, .capacity = 8));
    reg_append(c, 3);
    for (int64_t width = 0; width < 9; width++) {
        attn_cache_new rows = reg_tokens(1, 3, 1);
        rows.k = SAFETY_FILLED(F32, 1, 1, G, 1, width);
        assert_int_equal(attn_cache_append(c, &rows, NULL),
                         width == D ? ATTN_OK : ATTN_E_SHAPE);
        assert_int_equal(attn_cache_truncate(c, 0, 3, NULL), ATTN_OK);
    }
    reg_window(c, 0, 0, 0);
    attn_cache_destroy(c);
}

/* onnxruntime#20521: sequences of a batch that do not share their past, over one group. */
static void reg_079_batch_of_caches(void **state)
{
    (void)state;
    attn_cache *c = reg_cache(ATTN_CACHE(.sequences = 3, .capacity = 8));
    for (int64_t i = 0; i < 3; i++) {
        attn_cache_new rows = reg_tokens(2, i, 1);
        rows.seq = SAFETY_LIST(I32, 2, 0);
        assert_int_equal(attn_cache_append(c, &rows, NULL), ATTN_OK);
    }
    assert_int_equal(attn_cache_length(c, 1), 0);
    reg_window(c, 0, 0, 0);
    reg_window(c, 2, 0, 0);
    attn_cache_destroy(c);
}

/* transformers#37574, #47708: the order of a ring after it has turned, sinks kept. */
static void reg_080_ring_order(void **state)
{
    (void)state;
    for (int64_t sinks = 0; sinks < 4; sinks++) {
        attn_cache *c = reg_cache(ATTN_CACHE(.kind = ATTN_CACHE_RING, .sequences = 1,
                                             .capacity = 5 + sinks, .sinks = sinks));
        for (int64_t i = 0; i < 23; i++) {
            reg_append(c, 1);
            reg_window(c, 0, sinks, i + 1 - 5);
        }
        attn_cache_destroy(c);
    }
}

/* mlx-lm#1914: several tokens at once forget as many, also more than the ring is long. */
static void reg_081_many_tokens_at_once(void **state)
{
    (void)state;
    for (int64_t n = 1; n < 40; n++) {
        attn_cache *c = reg_cache(
            ATTN_CACHE(.kind = ATTN_CACHE_RING, .sequences = 1, .capacity = 7, .sinks = 2));
        reg_append(c, n);
        reg_window(c, 0, 2, n - 5);
        reg_append(c, 3);
        reg_window(c, 0, 2, n + 3 - 5);
        reg_append(c, n);
        reg_window(c, 0, 2, 2 * n + 3 - 5);
        attn_cache_destroy(c);
    }
}

/* mlx-vlm#1715, ollama#15591: a ring that has turned is rolled back, forked, and goes on. */
static void reg_082_roll_back_a_ring(void **state)
{
    (void)state;
    for (int64_t to = 0; to <= 17; to++) {
        attn_cache *c = reg_cache(
            ATTN_CACHE(.kind = ATTN_CACHE_RING, .sequences = 2, .capacity = 8, .sinks = 2));
        reg_append(c, 17); /* 2 sinks and 11 .. 16 */
        assert_int_equal(attn_cache_truncate(c, 0, to, NULL), ATTN_OK);
        reg_window(c, 0, 2, 11);
        assert_int_equal(attn_cache_fork(c, 0, 1, NULL), ATTN_OK);
        reg_window(c, 1, 2, 11);
        reg_append(c, 4);
        const int64_t old = to < 11 ? (to > 2 ? to : 2) : 11, last = to + 4 - 6;
        reg_window(c, 0, 2, old > last ? old : last);
        reg_window(c, 1, 2, 11);
        attn_cache_destroy(c);
    }
}

/* flash-attention#1897, pegainfer#613: how tokens were cut into appends does not show. */
static void reg_093_any_cut(void **state)
{
    (void)state;
    attn_tensor t[2];
    for (int kind = 0; kind <= ATTN_CACHE_PAGED; kind++)
        for (int64_t cut = 1; cut < 20; cut++) {
            const attn_cache_spec spec =
                ATTN_CACHE(.kind = (attn_cache_kind)kind, .sequences = 1,
                           .capacity = kind == 2 ? 0 : 20, .page = kind == 2 ? 3 : 0,
                           .pages = kind == 2 ? 7 : 0,
                           .key = {.type = ATTN_CACHE_I8, .asymmetric = true});
            attn_cache *a = reg_cache(spec), *b = reg_cache(spec);
            reg_append(a, 20);
            for (int64_t i = 0; i < 20; i += cut) reg_append(b, 20 - i < cut ? 20 - i : cut);
            for (int64_t i = 0; attn_cache_entry(a, i, &t[0]); i++) {
                assert_non_null(attn_cache_entry(b, i, &t[1]));
                assert_true(test_same_bits(t[0], t[1]));
            }
            attn_cache_destroy(a);
            attn_cache_destroy(b);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SAFETY_CASE(reg_072_073_zero_lengths),
        SAFETY_CASE(reg_074_tail_of_the_last_page),
        SAFETY_CASE(reg_075_076_page_ids),
        SAFETY_CASE(reg_077_one_page_too_many),
        SAFETY_CASE(reg_078_width),
        SAFETY_CASE(reg_079_batch_of_caches),
        SAFETY_CASE(reg_080_ring_order),
        SAFETY_CASE(reg_081_many_tokens_at_once),
        SAFETY_CASE(reg_082_roll_back_a_ring),
        SAFETY_CASE(reg_093_any_cut),
    };
    return cmocka_run_group_tests_name("regression_cache", tests, NULL, safety_finish);
}
