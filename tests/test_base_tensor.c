/* SPDX-License-Identifier: MIT
 * Tensor views: making, permuting, slicing, counting, checking, and which memory they reach.
 * The questions about overlap are answered a second time by marking every byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/base.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static float arena[4096];

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed >> 20;
}

/* ---- making ----------------------------------------------------------------------------- */

static void make_is_row_major(void **state)
{
    attn_tensor t = ATTN_TENSOR(arena, F32, 2, 3, 5);
    (void)state;
    assert_ptr_equal(t.data, arena);
    assert_int_equal(t.dtype, ATTN_DTYPE_F32);
    assert_int_equal(t.rank, 3);
    assert_memory_equal(t.shape, ((int64_t[]){2, 3, 5}), 3 * sizeof(int64_t));
    assert_memory_equal(t.stride, ((int64_t[]){15, 5, 1}), 3 * sizeof(int64_t));
    t = attn_tensor_make(arena, ATTN_DTYPE_F32, 0, NULL);
    assert_int_equal(t.dtype, ATTN_DTYPE_F32);
    assert_int_equal(attn_tensor_count(t), 1);
    t = ATTN_TENSOR(arena, F32, 2, 0, 3); /* an empty dimension does not spoil the strides */
    assert_memory_equal(t.stride, ((int64_t[]){3, 3, 1}), 3 * sizeof(int64_t));
}

static void make_refuses_ranks(void **state)
{
    const int64_t shape[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    (void)state;
    assert_int_equal(attn_tensor_make(arena, ATTN_DTYPE_F32, 8, shape).rank, 8);
    assert_false(attn__present(&(attn_tensor){0}));
    assert_int_equal(attn_tensor_make(arena, ATTN_DTYPE_F32, 9, shape).dtype, ATTN_DTYPE_NONE);
    assert_int_equal(attn_tensor_make(arena, ATTN_DTYPE_F32, -1, shape).dtype, ATTN_DTYPE_NONE);
    assert_int_equal(attn_tensor_make(arena, ATTN_DTYPE_F32, 2, NULL).dtype, ATTN_DTYPE_NONE);
}

static void make_survives_sizes_that_do_not_fit(void **state)
{
    attn_tensor t = ATTN_TENSOR(NULL, F32, 2, INT64_MAX, INT64_MAX);
    (void)state;
    assert_int_equal(attn_tensor_count(t), -1);
    t = ATTN_TENSOR(NULL, F32, 0, INT64_MAX, INT64_MAX);
    assert_int_equal(attn_tensor_count(t), 0);
    t = ATTN_TENSOR(NULL, F32, 2, -3);
    assert_int_equal(attn_tensor_count(t), -1);
    t = ATTN_TENSOR(NULL, F32, 0, -3);
    assert_int_equal(attn_tensor_count(t), -1);
    t.rank = 9;
    assert_int_equal(attn_tensor_count(t), -1);
}

static void permute_reorders(void **state)
{
    attn_tensor t = ATTN_TENSOR(arena, F32, 2, 3, 5);
    attn_tensor p = attn_tensor_permute(t, (int[]){2, 0, 1});
    (void)state;
    assert_memory_equal(p.shape, ((int64_t[]){5, 2, 3}), 3 * sizeof(int64_t));
    assert_memory_equal(p.stride, ((int64_t[]){1, 15, 5}), 3 * sizeof(int64_t));
    assert_ptr_equal(p.data, arena);
    assert_int_equal(attn_tensor_permute(t, (int[]){0, 1, 3}).dtype, ATTN_DTYPE_NONE);
    assert_int_equal(attn_tensor_permute(t, (int[]){0, 1, -1}).dtype, ATTN_DTYPE_NONE);
    assert_int_equal(attn_tensor_permute(t, (int[]){0, 1, 1}).dtype, ATTN_DTYPE_NONE);
    assert_int_equal(attn_tensor_permute(t, NULL).dtype, ATTN_DTYPE_NONE);
}

static void slice_moves_the_pointer(void **state)
{
    attn_tensor t = ATTN_TENSOR(arena, F32, 4, 6), s = attn_tensor_slice(t, 0, 1, 3);
    (void)state;
    assert_ptr_equal(s.data, arena + 6);
    assert_int_equal(s.shape[0], 2);
    assert_int_equal(s.stride[0], 6);
    s = attn_tensor_slice(s, 1, 2, 6);
    assert_ptr_equal(s.data, arena + 8);
    t.data = arena + 18;
    t.stride[0] = -6;
    assert_ptr_equal(attn_tensor_slice(t, 0, 3, 4).data, arena);
}

static void slice_edges(void **state)
{
    attn_tensor t = ATTN_TENSOR(arena, F32, 4, 6);
    static const int64_t bad[][3] = {{0, -1, 2}, {0, 3, 2}, {0, 0, 5}, {-1, 0, 1}, {2, 0, 1}};
    (void)state;
    attn_tensor s = attn_tensor_slice(t, 0, 4, 4);
    assert_int_equal(s.shape[0], 0);
    assert_ptr_equal(s.data, arena);
    for (size_t i = 0; i < COUNT(bad); i++) {
        s = attn_tensor_slice(t, (int)bad[i][0], bad[i][1], bad[i][2]);
        assert_int_equal(s.dtype, ATTN_DTYPE_NONE);
    }
    t.data = NULL;
    assert_null(attn_tensor_slice(t, 0, 2, 3).data);
    t.stride[0] = INT64_MAX;
    assert_int_equal(attn_tensor_slice(t, 0, 2, 3).dtype, ATTN_DTYPE_NONE);
}

/* ---- checking --------------------------------------------------------------------------- */

#define DIM_LIMIT (INT64_C(1) << 47)

typedef struct check_case {
    attn_tensor t;
    attn_status want;
} check_case;

static const check_case check_cases[] = {
    {{arena, ATTN_DTYPE_F32, 2, {2, 3}, {3, 1}}, ATTN_OK},
    {{NULL, ATTN_DTYPE_F32, 2, {2, 3}, {3, 1}}, ATTN_OK},
    {{arena, ATTN_DTYPE_F32, 0, {0}, {0}}, ATTN_OK},
    {{arena, ATTN_DTYPE_F32, 2, {DIM_LIMIT, 3}, {0, 0}}, ATTN_OK},
    {{arena, ATTN_DTYPE_U8, 1, {DIM_LIMIT}, {1 << 14}}, ATTN_OK},
    {{arena, ATTN_DTYPE_U8, 1, {DIM_LIMIT}, {-(1 << 14)}}, ATTN_OK},
    {{arena, ATTN_DTYPE_F32, 3, {0, DIM_LIMIT, DIM_LIMIT}, {1, 1, 1}}, ATTN_OK},
    {{arena, ATTN_DTYPE_F32, 2, {1, 3}, {INT64_MIN, 1}}, ATTN_OK}, /* never walked */
    {{arena, ATTN_DTYPE_NONE, 2, {2, 3}, {3, 1}}, ATTN_E_NULL},
    {{arena, (attn_dtype)14, 2, {2, 3}, {3, 1}}, ATTN_E_ENUM},
    {{arena, (attn_dtype)-1, 2, {2, 3}, {3, 1}}, ATTN_E_ENUM},
    {{arena, ATTN_DTYPE_F32, 9, {2, 3}, {3, 1}}, ATTN_E_RANK},
    {{arena, ATTN_DTYPE_F32, -1, {2, 3}, {3, 1}}, ATTN_E_RANK},
    {{arena, ATTN_DTYPE_F32, 2, {2, -1}, {3, 1}}, ATTN_E_DIM},
    {{arena, ATTN_DTYPE_F32, 2, {2, DIM_LIMIT + 1}, {3, 1}}, ATTN_E_DIM},
    {{arena, ATTN_DTYPE_F32, 2, {DIM_LIMIT, 1 << 16}, {0, 0}}, ATTN_E_OVERFLOW},
    {{arena, ATTN_DTYPE_F32, 2, {2, 3}, {INT64_MAX, 1}}, ATTN_E_OVERFLOW},
    {{arena, ATTN_DTYPE_U8, 1, {2}, {INT64_MIN}}, ATTN_E_OVERFLOW},
    {{arena, ATTN_DTYPE_F32, 2, {DIM_LIMIT, 2}, {1 << 15, 1}}, ATTN_E_OVERFLOW},
    {{(char *)arena + 2, ATTN_DTYPE_F32, 1, {1}, {1}}, ATTN_E_ALIGN},
    {{(char *)arena + 1, ATTN_DTYPE_F16, 1, {1}, {1}}, ATTN_E_ALIGN},
    {{(char *)arena + 1, ATTN_DTYPE_BOOL, 1, {1}, {1}}, ATTN_OK},
};

static void check_says_what_is_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(check_cases); i++) {
        attn_error error = {0};
        attn_status got = attn__tensor_check(&check_cases[i].t, "t", &error);
        if (got != check_cases[i].want) fail_msg("case %zu: %s", i, attn_status_name(got));
        assert_int_equal(error.status, got);
        assert_int_equal(attn__tensor_check(&check_cases[i].t, "t", NULL), got);
        if (got != ATTN_OK) assert_string_equal(error.where, "t");
    }
}

/* ---- memory, counted out ---------------------------------------------------------------- */

static int64_t offset_at(const attn_tensor *t, int64_t n)
{
    int64_t offset = 0;
    for (int i = t->rank - 1; i >= 0; i--) {
        offset += n % t->shape[i] * t->stride[i];
        n /= t->shape[i];
    }
    return offset;
}

/* Adds 1 at every element that t reaches; whether one was reached twice. marks[0] is arena[0].
 */
static bool mark(const attn_tensor *t, unsigned char *marks)
{
    bool twice = false;
    int64_t base = (float *)t->data - arena;
    for (int64_t n = 0; n < attn_tensor_count(*t); n++)
        if (++marks[base + offset_at(t, n)] > 1) twice = true;
    return twice;
}

static attn_tensor random_view(uint64_t *seed)
{
    attn_tensor t = {arena + 2000, ATTN_DTYPE_F32, (int32_t)(next_random(seed) % 4), {0}, {0}};
    for (int i = 0; i < t.rank; i++) {
        t.shape[i] = (int64_t)(next_random(seed) % 5) - (next_random(seed) % 9 != 0 ? 0 : 1);
        if (t.shape[i] < 0) t.shape[i] = 0;
        t.stride[i] = (int64_t)(next_random(seed) % 41) - 20;
    }
    return t;
}

static void span_is_what_is_reached(void **state)
{
    uint64_t seed = 77;
    (void)state;
    for (int round = 0; round < 20000; round++) {
        attn_tensor t = random_view(&seed);
        int64_t low = 0, high = 0, want_low = 0, want_high = 0;
        for (int64_t n = 0; n < attn_tensor_count(t); n++) {
            int64_t at = offset_at(&t, n);
            want_low = attn__min(want_low, at);
            want_high = attn__max(want_high, at + 1);
        }
        attn__tensor_span(&t, &low, &high);
        assert_int_equal(low, want_low * 4);
        assert_int_equal(high, want_high * 4);
    }
}

/* Never says "no overlap" wrongly, whatever the strides. */
static void self_overlap_is_never_missed(void **state)
{
    uint64_t seed = 78;
    int found = 0, cleared = 0;
    (void)state;
    for (int round = 0; round < 20000; round++) {
        unsigned char marks[4096] = {0};
        attn_tensor t = random_view(&seed);
        bool said = attn__tensor_self_overlap(&t);
        if (mark(&t, marks)) assert_true(said);
        found += said;
        cleared += !said;
    }
    assert_true(found > 1000 && cleared > 1000);
}

/* A part of one dense 4-d array: sliced, reversed in places, permuted by order. */
static attn_tensor random_part(uint64_t *seed, const int *order)
{
    attn_tensor t = ATTN_TENSOR(arena, F32, 3, 4, 5, 3);
    for (int i = 0; i < 4; i++) {
        int64_t begin = (int64_t)next_random(seed) % t.shape[i];
        int64_t end = begin + 1 + (int64_t)next_random(seed) % (t.shape[i] - begin);
        t = attn_tensor_slice(t, i, begin, end);
        if (next_random(seed) % 3 != 0) continue;
        t.data = (float *)t.data + (t.shape[i] - 1) * t.stride[i];
        t.stride[i] = -t.stride[i];
    }
    return attn_tensor_permute(t, order);
}

static void parts_of_a_dense_array_are_told_apart(void **state)
{
    static const int orders[][4] = {{0, 1, 2, 3}, {3, 2, 1, 0}, {1, 3, 0, 2}};
    uint64_t seed = 79;
    int met = 0, apart = 0;
    (void)state;
    for (int round = 0; round < 30000; round++) {
        const int *order = orders[round % 3];
        unsigned char marks[4096] = {0};
        attn_tensor a = random_part(&seed, order), b = random_part(&seed, order);
        assert_false(attn__tensor_self_overlap(&a));
        assert_false(mark(&a, marks));
        bool meet = mark(&b, marks);
        assert_int_equal(attn__tensor_overlap(&a, &b), meet);
        assert_int_equal(attn__tensor_overlap(&b, &a), meet);
        met += meet;
        apart += !meet;
    }
    assert_true(met > 1000 && apart > 1000);
}

static void overlap_of_two_views_is_never_missed(void **state)
{
    uint64_t seed = 80;
    (void)state;
    for (int round = 0; round < 20000; round++) {
        unsigned char marks[4096] = {0}, other[4096] = {0};
        bool meet = false;
        attn_tensor a = random_view(&seed), b = random_view(&seed);
        b.data = arena + 1990 + next_random(&seed) % 20;
        mark(&a, marks);
        mark(&b, other);
        for (size_t i = 0; i < sizeof marks; i++) meet = meet || (marks[i] && other[i]);
        if (meet) assert_true(attn__tensor_overlap(&a, &b));
    }
}

static void stride_0_overlaps_itself(void **state)
{
    attn_tensor t = ATTN_TENSOR(arena, F32, 2, 3);
    (void)state;
    t.stride[0] = 0;
    assert_true(attn__tensor_self_overlap(&t));
    t.shape[0] = 1;
    assert_false(attn__tensor_self_overlap(&t));
    t.shape[0] = 0;
    assert_false(attn__tensor_self_overlap(&t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(make_is_row_major),
        cmocka_unit_test(make_refuses_ranks),
        cmocka_unit_test(make_survives_sizes_that_do_not_fit),
        cmocka_unit_test(permute_reorders),
        cmocka_unit_test(slice_moves_the_pointer),
        cmocka_unit_test(slice_edges),
        cmocka_unit_test(check_says_what_is_wrong),
        cmocka_unit_test(span_is_what_is_reached),
        cmocka_unit_test(self_overlap_is_never_missed),
        cmocka_unit_test(parts_of_a_dense_array_are_told_apart),
        cmocka_unit_test(overlap_of_two_views_is_never_missed),
        cmocka_unit_test(stride_0_overlaps_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
