/* SPDX-License-Identifier: MIT
 * Measures of rows against values worked out by hand and against loops over random rows; links
 * against counts by hand; what both refuse. */
#include "explain/explain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <math.h>
#include <string.h>
#include <cmocka.h>

#include "support/support.h"

/* ---- rows by hand ------------------------------------------------------------------------ */

typedef struct row_case {
    attn_measure measure;
    double a[4], b[4], want;
} row_case;

#define LN2 0.6931471805599453
static const row_case row_cases[] = {
    {ATTN_MEASURE_ENTROPY, {1, 0, 0, 0}, {0}, 0},
    {ATTN_MEASURE_ENTROPY, {.25, .25, .25, .25}, {0}, 2 * LN2},
    {ATTN_MEASURE_ENTROPY, {2, 2, 0, 0}, {0}, LN2},
    {ATTN_MEASURE_ENTROPY, {0, 0, 0, 0}, {0}, 0},
    {ATTN_MEASURE_SUPPORT, {.25, .25, .25, .25}, {0}, 4},
    {ATTN_MEASURE_SUPPORT, {0, 7, 0, 0}, {0}, 1},
    {ATTN_MEASURE_SUPPORT, {0, 0, 0, 0}, {0}, 0},
    {ATTN_MEASURE_LARGEST, {.5, 1.5, 0, 0}, {0}, .75},
    {ATTN_MEASURE_ZEROS, {.5, .5, 0, -0.0}, {0}, .5},
    {ATTN_MEASURE_FIRST, {3, 1, 0, 0}, {0}, .75},
    {ATTN_MEASURE_LAST, {3, 0, 0, 1}, {0}, .25},
    {ATTN_MEASURE_CORRECTNESS, {.1, .2, .3, .4}, {1, 0, 0, 1}, .5},
    {ATTN_MEASURE_CORRECTNESS, {.1, .2, .3, .4}, {0, 0, 0, 0}, 0},
    {ATTN_MEASURE_SPEARMAN, {.1, .2, .3, .4}, {1, 2, 30, 400}, 1},
    {ATTN_MEASURE_SPEARMAN, {.1, .2, .3, .4}, {4, 3, 2, 1}, -1},
    {ATTN_MEASURE_SPEARMAN, {.1, .2, .3, .4}, {5, 5, 5, 5}, 0},
    {ATTN_MEASURE_SPEARMAN, {1, 2, 2, 3}, {1, 2, 3, 4}, 0.9486832980505138},
    {ATTN_MEASURE_KENDALL, {.1, .2, .3, .4}, {1, 3, 2, 4}, 2. / 3},
    {ATTN_MEASURE_KENDALL, {1, 2, 2, 3}, {1, 2, 3, 4}, 0.9128709291752769},
    {ATTN_MEASURE_DIVERGENCE, {1, 0, 0, 0}, {0, 1, 0, 0}, LN2},
    {ATTN_MEASURE_DIVERGENCE, {.5, .5, 0, 0}, {1, 1, 0, 0}, 0},
    {ATTN_MEASURE_VARIATION, {.5, .5, 0, 0}, {.5, 0, .5, 0}, .5},
};

static void test_rows_by_hand(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof row_cases / sizeof row_cases[0]; i++) {
        row_case c = row_cases[i];
        const attn_measure_info *info = attn_measure_at((int)c.measure);
        double out = -7;
        attn_tensor a = ATTN_TENSOR(c.a, F64, 1, 4), b = ATTN_TENSOR(c.b, F64, 1, 4),
                    o = ATTN_TENSOR(&out, F64, 1);
        assert_int_equal(
            attn_measure_rows(NULL, c.measure, &a, info->other ? &b : NULL, &o, NULL), ATTN_OK);
        if (!(fabs(out - c.want) <= 1e-14))
            fail_msg("%s, row %d: %.17g, not %.17g", info->name, (int)i, out, c.want);
    }
}

/* Rows in odd layouts, with another row that repeats, against the definition. */
static void test_many_rows(void **state)
{
    (void)state;
    enum { B = 3, T = 5, S = 11 };
    test_arena arena = {NULL};
    test_rng rng = test_rng_make(3);
    const int64_t whole[] = {B, T, S}, rows[] = {B, T}, row[] = {S};
    attn_tensor a = test_tensor_layout(&arena, &rng, ATTN_DTYPE_F32, 3, whole, false);
    attn_tensor b = test_tensor_layout(&arena, &rng, ATTN_DTYPE_F64, 1, row, false);
    attn_tensor out = test_tensor_layout(&arena, &rng, ATTN_DTYPE_F64, 2, rows, false);
    int64_t i[3] = {0};
    do test_put(&a, i, test_rng_uniform(&rng));
    while (test_index_next(&a, i));
    for (int64_t j = 0; j < S; j++) test_put(&b, &j, test_rng_uniform(&rng));
    assert_int_equal(attn_measure_rows(NULL, ATTN_MEASURE_VARIATION, &a, &b, &out, NULL),
                     ATTN_OK);
    for (int64_t x = 0; x < B; x++)
        for (int64_t y = 0; y < T; y++) {
            double sa = 0, sb = 0, want = 0;
            for (int64_t j = 0; j < S; j++)
                sa += test_get(&a, (int64_t[]){x, y, j}), sb += test_get(&b, &j);
            for (int64_t j = 0; j < S; j++)
                want +=
                    0.5 * fabs(test_get(&a, (int64_t[]){x, y, j}) / sa - test_get(&b, &j) / sb);
            assert_true(fabs(test_get(&out, (int64_t[]){x, y}) - want) <= 1e-14);
        }
    test_arena_reset(&arena);
}

static void test_nothing_and_nan(void **state)
{
    (void)state;
    double nan_row[3] = {1, (double)NAN, 2}, b[3] = {1, 2, 3}, out = 5, none;
    attn_tensor a = ATTN_TENSOR(nan_row, F64, 1, 3), other = ATTN_TENSOR(b, F64, 3),
                o = ATTN_TENSOR(&out, F64, 1);
    for (int m = 0; m < ATTN_MEASURES; m++) {
        const bool two = attn_measure_at(m)->other;
        out = 5;
        assert_int_equal(
            attn_measure_rows(NULL, (attn_measure)m, &a, two ? &other : NULL, &o, NULL),
            ATTN_OK);
        if (!isnan(out)) fail_msg("%s of a row with NaN is %g", attn_measure_at(m)->name, out);
    }
    attn_tensor empty = ATTN_TENSOR(&none, F64, 1, 0);
    assert_int_equal(attn_measure_rows(NULL, ATTN_MEASURE_ENTROPY, &empty, NULL, &o, NULL),
                     ATTN_OK);
    assert_true(out == 0);
}

/* ---- what is refused --------------------------------------------------------------------- */

static void test_bad_rows(void **state)
{
    (void)state;
    float x[12] = {0}, y[12] = {0}, z[4];
    int32_t ids[12] = {0};
    memset(z, 0xFF, sizeof z);
    attn_tensor a = ATTN_TENSOR(x, F32, 3, 4), b = ATTN_TENSOR(y, F32, 3, 4),
                out = ATTN_TENSOR(z, F32, 3), none = {0}, empty = ATTN_TENSOR(NULL, F32, 3, 4);
    attn_tensor tall = ATTN_TENSOR(z, F32, 4), deep = ATTN_TENSOR(z, F32, 3, 1),
                whole = ATTN_TENSOR(z, I32, 3), over = ATTN_TENSOR(x, F32, 3),
                numbers = ATTN_TENSOR(ids, I32, 3, 4), five = ATTN_TENSOR(y, F32, 5),
                four = ATTN_TENSOR(ids, I32, 4);
    const struct {
        attn_measure measure;
        const attn_tensor *a, *b, *out;
        attn_status status;
    } cases[] = {
        {ATTN_MEASURE_ENTROPY, NULL, NULL, &out, ATTN_E_NULL},
        {ATTN_MEASURE_ENTROPY, &a, NULL, NULL, ATTN_E_NULL},
        {ATTN_MEASURE_ENTROPY, &a, &b, &out, ATTN_E_NULL},
        {ATTN_MEASURE_SPEARMAN, &a, NULL, &out, ATTN_E_NULL},
        {ATTN_MEASURE_SPEARMAN, &a, &none, &out, ATTN_E_NULL},
        {ATTN_MEASURE_ENTROPY, &empty, NULL, &out, ATTN_E_NULL},
        {ATTN_MEASURES, &a, NULL, &out, ATTN_E_ENUM},
        {ATTN_MEASURE_ENTROPY, &a, NULL, &tall, ATTN_E_SHAPE},
        {ATTN_MEASURE_ENTROPY, &a, NULL, &deep, ATTN_E_RANK},
        {ATTN_MEASURE_ENTROPY, &a, NULL, &whole, ATTN_E_DTYPE},
        {ATTN_MEASURE_ENTROPY, &a, NULL, &over, ATTN_E_ALIAS},
        {ATTN_MEASURE_ENTROPY, &numbers, NULL, &out, ATTN_E_DTYPE},
        {ATTN_MEASURE_KENDALL, &a, &five, &out, ATTN_E_SHAPE},
        {ATTN_MEASURE_KENDALL, &a, &four, &out, ATTN_E_DTYPE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        attn_error error = {0};
        const attn_status s = attn_measure_rows(NULL, cases[i].measure, cases[i].a, cases[i].b,
                                                cases[i].out, &error);
        if (s != cases[i].status) fail_msg("case %d: %s", (int)i, attn_status_name(s));
        assert_true(error.what != NULL && error.where != NULL);
    }
    for (int i = 0; i < 4; i++) assert_true(isnan(z[i]));
}

/* ---- links ------------------------------------------------------------------------------- */

static void test_links_by_hand(void **state)
{
    (void)state;
    const attn_link found[] = {{0, 0, false}, {1, 2, false}, {2, 1, true}, {0, 0, false}};
    const attn_link gold[] = {{1, 2, true}, {0, 0, true}, {0, 0, false}, {3, 3, false}};
    attn_link_counts c = {0};
    assert_int_equal(attn_measure_links(NULL, 4, found, 4, gold, &c, NULL), ATTN_OK);
    assert_int_equal(c.found, 3);
    assert_int_equal(c.sure, 2);
    assert_int_equal(c.found_sure, 1);
    assert_int_equal(c.found_possible, 2);
    assert_true(fabs(attn_measure_aer(&c) - (1 - 3. / 5)) < 1e-15);
    assert_true(fabs(attn_measure_precision(&c) - 2. / 3) < 1e-15);
    assert_true(fabs(attn_measure_recall(&c) - 1. / 2) < 1e-15);
    attn_link_counts same = {0}, none = {0};
    assert_int_equal(attn_measure_links(NULL, 1, gold + 2, 1, gold + 2, &same, NULL), ATTN_OK);
    assert_true(attn_measure_aer(&same) == 0);
    assert_int_equal(attn_measure_links(NULL, 0, NULL, 0, NULL, &none, NULL), ATTN_OK);
    assert_true(attn_measure_aer(&none) == 0);
}

static void test_bad_links(void **state)
{
    (void)state;
    attn_link link = {0, 0, false};
    attn_link_counts c = {0};
    attn_error error;
    assert_int_equal(attn_measure_links(NULL, 1, NULL, 0, NULL, &c, &error), ATTN_E_NULL);
    assert_int_equal(attn_measure_links(NULL, 1, &link, 0, NULL, NULL, &error), ATTN_E_NULL);
    assert_int_equal(attn_measure_links(NULL, -1, &link, 0, NULL, &c, &error), ATTN_E_DIM);
    assert_int_equal(attn_measure_links(NULL, INT64_MAX, &link, 1, &link, &c, &error),
                     ATTN_E_OVERFLOW);
    assert_int_equal(c.found, 0);
}

static void test_strongest(void **state)
{
    (void)state;
    const float w[] = {.1F, .6F, .3F, 0, 0, 0, .4F, .2F, .4F};
    attn_tensor weights = ATTN_TENSOR((void *)(uintptr_t)w, F32, 3, 3);
    attn_link links[3];
    int64_t n = -1;
    assert_int_equal(attn_measure_strongest(&weights, links, &n, NULL), ATTN_OK);
    assert_int_equal(n, 2);
    assert_int_equal(links[0].from, 0);
    assert_int_equal(links[0].to, 1);
    assert_int_equal(links[1].from, 2);
    assert_int_equal(links[1].to, 0);
    weights.rank = 1;
    assert_int_equal(attn_measure_strongest(&weights, links, &n, NULL), ATTN_E_RANK);
    assert_int_equal(attn_measure_strongest(NULL, links, &n, NULL), ATTN_E_NULL);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_rows_by_hand),    cmocka_unit_test(test_many_rows),
    cmocka_unit_test(test_nothing_and_nan), cmocka_unit_test(test_bad_rows),
    cmocka_unit_test(test_links_by_hand),   cmocka_unit_test(test_bad_links),
    cmocka_unit_test(test_strongest),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
