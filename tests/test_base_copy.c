/* SPDX-License-Identifier: MIT
 * attn_tensor_copy against one loop over all indices, in random layouts and all pairs of types,
 * with the bytes around the elements watched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

enum { ARENA = 16384, MIDDLE = 8192 };

static _Alignas(64) unsigned char from_room[ARENA], to_room[ARENA], want_room[ARENA];

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed >> 20;
}

/* Nested strides in a random order of the dimensions, with gaps and reversals. */
static attn_tensor random_layout(uint64_t *seed, void *data, attn_dtype dtype, int rank,
                                 const int64_t *shape)
{
    attn_tensor t = attn_tensor_make(data, dtype, rank, shape);
    int64_t stride = 1 + (int64_t)(next_random(seed) % 2);
    int first = rank ? (int)(next_random(seed) % (uint64_t)rank) : 0;
    for (int i = 0; i < rank; i++) {
        int d = (first + i) % rank;
        t.stride[d] = next_random(seed) % 4 ? stride : -stride;
        stride *= attn__max(shape[d], 1) + (int64_t)(next_random(seed) % 3 == 0);
    }
    return t;
}

static char *element_at(const attn_tensor *t, int64_t n)
{
    int64_t offset = 0;
    for (int i = t->rank - 1; i >= 0; i--) {
        offset += n % t->shape[i] * t->stride[i];
        n /= t->shape[i];
    }
    return (char *)t->data + offset * (int64_t)attn_dtype_size(t->dtype);
}

static void plain_copy(attn_tensor dst, attn_tensor src)
{
    attn__row to = {dst.dtype, 1}, from = {src.dtype, 1};
    for (int64_t n = 0; n < attn_tensor_count(dst); n++) {
        void *at = element_at(&dst, n);
        if (dst.dtype == src.dtype)
            memcpy(at, element_at(&src, n), attn_dtype_size(dst.dtype));
        else
            attn__convert(to, at, from, element_at(&src, n), 1);
    }
}

static void fill_source(uint64_t *seed, attn_dtype dtype)
{
    size_t size = attn_dtype_size(dtype);
    for (size_t i = 0; i < ARENA / size; i++)
        attn__put(dtype, from_room, (int64_t)i, (double)(next_random(seed) % 4001) / 8 - 250);
}

static void check_copy(uint64_t *seed, attn_dtype to, attn_dtype from)
{
    int64_t shape[ATTN_MAX_RANK];
    int rank = (int)(next_random(seed) % 5);
    for (int i = 0; i < rank; i++)
        shape[i] = (int64_t)(next_random(seed) % 16 ? 1 + next_random(seed) % 4 : 0);
    fill_source(seed, from);
    memset(to_room, 0x77, ARENA);
    memset(want_room, 0x77, ARENA);
    attn_tensor src = random_layout(seed, from_room + MIDDLE, from, rank, shape);
    attn_tensor dst = random_layout(seed, to_room + MIDDLE, to, rank, shape), want = dst;
    if (rank && next_random(seed) % 4 == 0) src.stride[rank - 1] = 0;
    want.data = want_room + MIDDLE;
    plain_copy(want, src);
    assert_int_equal(attn_tensor_copy(dst, src, NULL), ATTN_OK);
    assert_memory_equal(to_room, want_room, ARENA);
}

static void copies_equal_the_plain_loop(void **state)
{
    uint64_t seed = 81;
    (void)state;
    for (int to = 1; to <= (int)ATTN_DTYPE_U64; to++)
        for (int from = 1; from <= (int)ATTN_DTYPE_U64; from++)
            for (int round = 0; round < (to == from ? 200 : 12); round++)
                check_copy(&seed, (attn_dtype)to, (attn_dtype)from);
}

/* The same type is copied bit by bit: not even a NaN changes. */
static void same_type_keeps_every_bit(void **state)
{
    uint32_t src[3] = {0xFF812345, 0x7FC00001, 0x80000000}, dst[3] = {0};
    uint8_t odd_bool = 7, out_bool = 0;
    (void)state;
    attn_tensor a = ATTN_TENSOR(src, F32, 3), b = ATTN_TENSOR(dst, F32, 3);
    assert_int_equal(attn_tensor_copy(b, a, NULL), ATTN_OK);
    assert_memory_equal(dst, src, sizeof src);
    a = ATTN_TENSOR(&odd_bool, BOOL, 1), b = ATTN_TENSOR(&out_bool, BOOL, 1);
    assert_int_equal(attn_tensor_copy(b, a, NULL), ATTN_OK);
    assert_int_equal(out_bool, 7);
}

static void large_dense_and_transposed(void **state)
{
    enum { N = 600, M = 700 };
    float *src = malloc(N * M * sizeof *src), *dst = calloc(N * M, sizeof *dst);
    (void)state;
    assert_non_null(src);
    assert_non_null(dst);
    for (int i = 0; i < N * M; i++) src[i] = (float)i;
    attn_tensor a = ATTN_TENSOR(src, F32, N, M), b = ATTN_TENSOR(dst, F32, N, M);
    assert_int_equal(attn_tensor_copy(b, a, NULL), ATTN_OK);
    assert_memory_equal(dst, src, N * M * sizeof *src);
    b = attn_tensor_permute(ATTN_TENSOR(dst, F32, M, N), (int[]){1, 0});
    assert_int_equal(attn_tensor_copy(b, a, NULL), ATTN_OK);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < M; j++) assert_true(dst[j * N + i] == (float)(i * M + j));
    free(src);
    free(dst);
}

/* ---- refusals --------------------------------------------------------------------------- */

static void refuse(attn_tensor dst, attn_tensor src, attn_status want, const char *where)
{
    attn_error error = {0};
    memcpy(want_room, to_room, ARENA);
    assert_int_equal(attn_tensor_copy(dst, src, &error), want);
    assert_int_equal(error.status, want);
    assert_string_equal(error.where, where);
    assert_memory_equal(want_room, to_room, ARENA);
}

static void bad_copies_are_refused(void **state)
{
    attn_tensor a = ATTN_TENSOR(to_room, F32, 2, 3), b = ATTN_TENSOR(from_room, F32, 2, 3), x;
    (void)state;
    for (int i = 0; i < ARENA; i++) to_room[i] = (unsigned char)i;
    refuse((attn_tensor){0}, b, ATTN_E_NULL, "dst");
    refuse(a, (attn_tensor){0}, ATTN_E_NULL, "src");
    refuse(a, ATTN_TENSOR(from_room, F32, 6), ATTN_E_RANK, "src");
    refuse(a, ATTN_TENSOR(from_room, F32, 3, 2), ATTN_E_SHAPE, "src");
    refuse(a, ATTN_TENSOR(NULL, F32, 2, 3), ATTN_E_NULL, "src");
    refuse(ATTN_TENSOR(NULL, F32, 2, 3), b, ATTN_E_NULL, "dst");
    refuse(a, ATTN_TENSOR(from_room + 1, F32, 2, 3), ATTN_E_ALIGN, "src");
    x = a;
    x.stride[0] = 0;
    refuse(x, b, ATTN_E_ALIAS, "dst");
    refuse(a, ATTN_TENSOR(to_room + 4, F32, 2, 3), ATTN_E_ALIAS, "dst");
    refuse(a, ATTN_TENSOR(to_room, F16, 2, 3), ATTN_E_ALIAS, "dst");
    refuse(a, attn_tensor_slice(ATTN_TENSOR(to_room, F64, 3, 3), 0, 0, 2), ATTN_E_ALIAS, "dst");
}

static void parts_of_one_array_may_be_copied(void **state)
{
    float x[4][6];
    (void)state;
    for (int i = 0; i < 24; i++) x[i / 6][i % 6] = (float)i;
    attn_tensor whole = ATTN_TENSOR(x, F32, 4, 6);
    attn_tensor left = attn_tensor_slice(whole, 1, 0, 3);
    attn_tensor right = attn_tensor_slice(whole, 1, 3, 6);
    assert_int_equal(attn_tensor_copy(left, right, NULL), ATTN_OK);
    for (int i = 0; i < 24; i++) assert_true(x[i / 6][i % 6] == (float)(i % 6 < 3 ? i + 3 : i));
    assert_int_equal(attn_tensor_copy(whole, whole, NULL), ATTN_OK);
    assert_true(x[3][5] == 23.0f);
}

static void empty_copies_need_no_memory(void **state)
{
    attn_tensor nothing = ATTN_TENSOR(NULL, F32, 3, 0, 2);
    (void)state;
    assert_int_equal(attn_tensor_copy(nothing, nothing, NULL), ATTN_OK);
    assert_int_equal(attn_tensor_copy(nothing, ATTN_TENSOR(NULL, I8, 3, 0, 2), NULL), ATTN_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_equal_the_plain_loop),
        cmocka_unit_test(same_type_keeps_every_bit),
        cmocka_unit_test(large_dense_and_transposed),
        cmocka_unit_test(bad_copies_are_refused),
        cmocka_unit_test(parts_of_one_array_may_be_copied),
        cmocka_unit_test(empty_copies_need_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
