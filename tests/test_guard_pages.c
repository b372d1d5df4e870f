/* SPDX-License-Identifier: MIT
 * Nothing is read of a pool but the rows that count: pools end, or begin, at a forbidden page
 * right where the last key of the last page does, and the table where its last used entry does.
 * What the shapes promise behind that is not there. */
#include "guard.h"

enum { N = 1, H = 3, G = 1, T = 2 };

typedef struct pages_shape {
    int64_t page, S, D, E;
} pages_shape;

static const pages_shape shapes[] = {{1, 9, 5, 7},      {3, 17, 16, 16},   {16, 49, 17, 1},
                                     {16, 100, 64, 80}, {64, 130, 31, 33}, {64, 513, 3, 48},
                                     {600, 601, 8, 9},  {1000, 999, 15, 2}};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static const attn_dtype types[] = {ATTN_DTYPE_F32, ATTN_DTYPE_BF16, ATTN_DTYPE_F16,
                                   ATTN_DTYPE_F64};
enum { TYPES = sizeof types / sizeof types[0] };

/* A pool of which only the keys 0 .. S are mapped: the pages lie in order, and the last one is
 * cut off by the end of the memory. */
static attn_tensor pages_pool(const pages_shape *s, attn_dtype dtype, int64_t width, int slot,
                              test_rng *rng)
{
    const int64_t pages = (s->S + s->page - 1) / s->page;
    const size_t bytes = (size_t)(s->S * width) * attn_dtype_size(dtype);
    char *data = guard_place(slot, GUARD_RIGHT, bytes, attn_dtype_size(dtype));
    const attn_tensor there = attn_tensor_make(data, dtype, 4, (int64_t[]){1, G, s->S, width});
    test_fill_normal(&there, rng, 1);
    return attn_tensor_make(data, dtype, 4, (int64_t[]){pages, G, s->page, width});
}

static attn_tensor pages_table(const pages_shape *s, int slot)
{
    const int64_t used = (s->S + s->page - 1) / s->page;
    int32_t *ids = guard_place(slot, GUARD_RIGHT, (size_t)used * sizeof *ids, sizeof *ids);
    for (int64_t i = 0; i < used; i++) ids[i] = (int32_t)i;
    return attn_tensor_make(ids, ATTN_DTYPE_I32, 2, (int64_t[]){N, used + 1000});
}

static void pages_run(const pages_shape *s, attn_dtype k_type, attn_dtype v_type, attn_ctx *ctx)
{
    test_arena arena = {0};
    test_rng rng = test_rng_make(3);
    attn_tensor q = TEST_TENSOR(&arena, F32, N, H, T, s->D), len = TEST_TENSOR(&arena, I64, N);
    test_fill_normal(&q, &rng, 1);
    test_put(&len, (int64_t[]){0}, (double)s->S);
    attn_args args = ATTN_ARGS(.q = q, .k = pages_pool(s, k_type, s->D, 0, &rng),
                               .v = pages_pool(s, v_type, s->E, 1, &rng), .k_len = len,
                               .page_table = pages_table(s, 2),
                               .out = TEST_TENSOR(&arena, F32, N, H, T, s->E));
    attn_args plain = args;
    plain.page_table = plain.k_len = (attn_tensor){0};
    plain.k = attn_tensor_make(args.k.data, k_type, 4, (int64_t[]){N, G, s->S, s->D});
    plain.v = attn_tensor_make(args.v.data, v_type, 4, (int64_t[]){N, G, s->S, s->E});
    plain.out = TEST_TENSOR(&arena, F32, N, H, T, s->E);
    assert_int_equal(attn_forward(ctx, NULL, &args, NULL), ATTN_OK);
    assert_int_equal(attn_forward(ctx, NULL, &plain, NULL), ATTN_OK);
    assert_true(test_same_bits(args.out, plain.out));
    test_arena_reset(&arena);
}

static void pages_guarded(void **state)
{
    (void)state;
    for (int x = 0; x < SHAPES; x++)
        for (int y = 0; y < TYPES * TYPES; y++)
            for (int isa = 0; isa < safety_contexts.n_usable; isa++)
                pages_run(&shapes[x], types[y / TYPES], types[y % TYPES], safety_isa(isa));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_guarded),
    };
    return cmocka_run_group_tests(tests, guard_setup, guard_finish);
}
