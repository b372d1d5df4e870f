/* SPDX-License-Identifier: MIT
 * Failures others had when they decode over caches and page tables: rubbish behind the last
 * key, page ids and tables out of bounds, groups of heads in batches, slopes that decode by
 * another rule than they prefill, rows that depend on their company. */
#include "attn/cache.h"
#include "regression.h"

#include <math.h>
#include <string.h>

enum { N = 3, H = 6, G = 2, D = 8, E = 5, PAGE = 16, M = 40, S = PAGE * M };

/* Pools whose pages lie backwards, and the same keys as tensors; sequence b has 600 + b keys. */
typedef struct reg_pages {
    attn_args pages, plain;
} reg_pages;

static reg_pages reg_pages_make(int64_t T)
{
    reg_pages r;
    const reg_shape shape = REG_SHAPE(N, H, G, T, S, D, E);
    r.plain = reg_args(ATTN_DTYPE_F32, shape);
    r.plain.k_len = SAFETY_LIST(I64, 600, 601, 602);
    r.pages = r.plain;
    r.pages.out = SAFETY_EMPTY(F32, N, H, T, E);
    r.pages.lse = SAFETY_EMPTY(F32, N, H, T);
    r.pages.k = SAFETY_EMPTY(F32, N * M, G, PAGE, D);
    r.pages.v = SAFETY_EMPTY(F32, N * M, G, PAGE, E);
    r.pages.page_table = SAFETY_EMPTY(I32, N, M);
    test_fill_value(&r.pages.k, (double)NAN);
    test_fill_value(&r.pages.v, (double)NAN);
    for (int64_t b = 0; b < N; b++)
        for (int64_t j = 0; j < 600 + b; j++)
            for (int64_t g = 0; g < G; g++) {
                const int64_t id = N * M - 1 - (b * M + j / PAGE);
                test_put(&r.pages.page_table, (int64_t[]){b, j / PAGE}, (double)id);
                for (int64_t d = 0; d < D; d++)
                    test_put(&r.pages.k, (int64_t[]){id, g, j % PAGE, d},
                             test_get(&r.plain.k, (int64_t[]){b, g, j, d}));
                for (int64_t d = 0; d < E; d++)
                    test_put(&r.pages.v, (int64_t[]){id, g, j % PAGE, d},
                             test_get(&r.plain.v, (int64_t[]){b, g, j, d}));
            }
    return r;
}

static const attn_spec reg_spec = {
    .size = sizeof(attn_spec), .causal = true, .align = ATTN_ALIGN_BOTTOM_RIGHT};

/* vllm#936, vllm#47305: the tail of the last page was never written, and 0 times NaN is NaN. */
static void reg_074_tail_of_the_last_page(void **state)
{
    (void)state;
    reg_pages r = reg_pages_make(1);
    safety_run(NULL, &reg_spec, &r.plain);
    safety_run(NULL, &reg_spec, &r.pages);
    safety_same(r.pages.out, r.plain.out, "NaN behind the last key");
    safety_same(r.pages.lse, r.plain.lse, "NaN behind the last key");
}

/* onnxruntime#32391: the upper bound of a block id was not checked. */
static void reg_075_block_ids(void **state)
{
    (void)state;
    static const int64_t ids[] = {N * M, N * M + 1, -1, INT32_MAX, INT32_MIN};
    reg_pages r = reg_pages_make(1);
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        attn_error error = {0};
        test_put(&r.pages.page_table, (int64_t[]){1, 600 / PAGE}, (double)ids[i]);
        test_fill_value(&r.pages.out, 7);
        assert_int_equal(attn_forward(NULL, &reg_spec, &r.pages, &error), ATTN_E_PAGE);
        assert_int_equal(error.want, N * M);
        assert_int_equal(error.got, ids[i]);
        assert_true(test_get(&r.pages.out, (int64_t[]){0, 0, 0, 0}) == 7);
    }
}

/* flash-attention#2711: a column of the block table beyond the sequence was read. */
static void reg_076_columns_of_the_table(void **state)
{
    (void)state;
    reg_pages r = reg_pages_make(1);
    safety_run(NULL, &reg_spec, &r.plain);
    for (int64_t b = 0; b < N; b++)
        for (int64_t x = (600 + b + PAGE - 1) / PAGE; x < M; x++)
            test_put(&r.pages.page_table, (int64_t[]){b, x}, INT32_MAX);
    safety_run(NULL, &reg_spec, &r.pages);
    safety_same(r.pages.out, r.plain.out, "rubbish in unused columns");
}

static attn_cache *reg_cache(const attn_args *a, int64_t sequences)
{
    attn_cache *cache = NULL;
    const attn_cache_spec s =
        ATTN_CACHE(.kind = ATTN_CACHE_PAGED, .sequences = sequences, .heads = G, .key_width = D,
                   .value_width = E, .page = PAGE, .pages = sequences * M);
    assert_int_equal(attn_cache_create(&cache, NULL, &s, NULL), ATTN_OK);
    assert_int_equal(
        attn_cache_append(cache, &ATTN_CACHE_NEW(.k = a->k, .v = a->v, .len = a->k_len), NULL),
        ATTN_OK);
    return cache;
}

static attn_args reg_over(const attn_args *plain, const attn_cache *cache, int64_t T)
{
    attn_args a = *plain;
    a.k = a.v = a.k_len = (attn_tensor){0};
    a.cache = cache;
    a.out = SAFETY_EMPTY(F32, N, H, T, E);
    a.lse = SAFETY_EMPTY(F32, N, H, T);
    return a;
}

/* onnxruntime#20521: groups of heads, a batch, and a cache that is not shared gave NaN. */
static void reg_079_groups_in_a_batch(void **state)
{
    (void)state;
    for (int64_t T = 1; T <= 8; T += 7) {
        reg_pages r = reg_pages_make(T);
        attn_cache *cache = reg_cache(&r.plain, N);
        attn_args over = reg_over(&r.plain, cache, T);
        safety_run(NULL, &reg_spec, &r.plain);
        safety_run(NULL, &reg_spec, &over);
        safety_same(over.out, r.plain.out, "groups of heads over a cache");
        attn_cache_destroy(cache);
    }
}

/* flash-attention#907: ALiBi in training counted from the diagonal, with a cache from key 0. */
static void reg_088_slopes_when_decoding(void **state)
{
    (void)state;
    enum { T = 40 };
    reg_pages r = reg_pages_make(T);
    r.plain.alibi = SAFETY_FILLED(F32, 4, H);
    attn_cache *cache = reg_cache(&r.plain, N);
    safety_run(NULL, &reg_spec, &r.plain);
    for (int64_t i = 0; i < T; i++) {
        attn_args over = reg_over(&r.plain, cache, 1);
        over.q = attn_tensor_slice(r.plain.q, 2, i, i + 1);
        over.k_len = SAFETY_EMPTY(I64, N);
        for (int64_t b = 0; b < N; b++) test_put(&over.k_len, &b, (double)(601 + b + i - T));
        over.alibi = r.plain.alibi;
        safety_run(NULL, &reg_spec, &over);
        safety_same(over.out, attn_tensor_slice(r.plain.out, 2, i, i + 1), "slopes");
    }
    attn_cache_destroy(cache);
}

/* flash-attention#1897, pegainfer#613: what was chosen for the batch showed in its rows. */
static void reg_093_company(void **state)
{
    (void)state;
    reg_pages r = reg_pages_make(1);
    attn_cache *cache = reg_cache(&r.plain, N);
    attn_args over = reg_over(&r.plain, cache, 1);
    safety_run(NULL, &reg_spec, &over);
    for (int64_t n = 1; n <= 40; n += 13) /* sequence 1, n times over */
        for (int isa = 0; safety_isa(isa) != NULL; isa++) {
            attn_args many = over;
            many.q = attn_tensor_slice(over.q, 0, 1, 2);
            many.q.shape[0] = n, many.q.stride[0] = 0;
            many.out = SAFETY_EMPTY(F32, n, H, 1, E);
            many.lse = SAFETY_EMPTY(F32, n, H, 1);
            many.cache_seq = SAFETY_EMPTY(I32, n);
            test_fill_value(&many.cache_seq, 1);
            safety_run(safety_isa(isa), &reg_spec, &many);
            for (int64_t b = 0; b < n; b++)
                safety_same(attn_tensor_slice(many.out, 0, b, b + 1),
                            attn_tensor_slice(over.out, 0, 1, 2), "company");
        }
    attn_cache_destroy(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SAFETY_CASE(reg_074_tail_of_the_last_page), SAFETY_CASE(reg_075_block_ids),
        SAFETY_CASE(reg_076_columns_of_the_table),  SAFETY_CASE(reg_079_groups_in_a_batch),
        SAFETY_CASE(reg_088_slopes_when_decoding),  SAFETY_CASE(reg_093_company),
    };
    return cmocka_run_group_tests_name("regression_pages", tests, NULL, safety_finish);
}
