/* SPDX-License-Identifier: MIT
 * attn_rope rounds once, whatever comes and goes: the bits of turning the same numbers as doubles
 * and rounding those. Every two types, pairs of both kinds, more of them than a block, elements
 * apart, in place. And positions that a call brings may be any numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "attn/attention.h"
#include "support/support.h"
#include <cmocka.h>

enum { B = 2, H = 3, T = 4, D = 150, R = 140 };

static const attn_dtype types[] = {ATTN_DTYPE_F64, ATTN_DTYPE_F32, ATTN_DTYPE_BF16,
                                   ATTN_DTYPE_F16};
enum { TYPES = sizeof types / sizeof types[0] };

/* B H T D; apart: D outermost in memory, and the other way round. */
static attn_tensor rope_make(test_arena *arena, attn_dtype dtype, bool apart)
{
    static const int order[] = {1, 2, 3, 0};
    const int64_t near[] = {B, H, T, D}, far[] = {D, B, H, T};
    void *data = test_alloc(arena, (size_t)(B * H * T * D) * attn_dtype_size(dtype));
    if (!apart) return attn_tensor_make(data, dtype, 4, near);
    attn_tensor t = attn_tensor_permute(attn_tensor_make(data, dtype, 4, far), order);
    t.data = (char *)data + (D - 1) * t.stride[3] * (int64_t)attn_dtype_size(dtype);
    t.stride[3] = -t.stride[3];
    return t;
}

static attn_tensor rope_copy(test_arena *arena, attn_dtype dtype, bool apart, attn_tensor from)
{
    const attn_tensor to = rope_make(arena, dtype, apart);
    assert_int_equal(attn_tensor_copy(to, from, NULL), ATTN_OK);
    return to;
}

static void rope_case(attn_rope_kind kind, attn_dtype from, attn_dtype to, bool apart)
{
    const attn_rope_spec rope = {.kind = kind, .dims = R};
    test_arena arena = {0};
    test_rng rng = test_rng_make(5);
    attn_tensor numbers = rope_make(&arena, ATTN_DTYPE_F64, false);
    double *x = numbers.data;
    for (int64_t i = 0; i < B * H * T * D; i++) x[i] = 8 * test_rng_normal(&rng);
    const attn_tensor in = rope_copy(&arena, from, apart, numbers);
    const attn_tensor wide = rope_copy(&arena, ATTN_DTYPE_F64, false, in);
    const attn_tensor out = rope_make(&arena, to, apart);
    assert_int_equal(attn_rope(&rope, &in, NULL, NULL, NULL, &out, NULL), ATTN_OK);
    assert_int_equal(attn_rope(&rope, &wide, NULL, NULL, NULL, &wide, NULL), ATTN_OK);
    assert_true(test_same_bits(out, rope_copy(&arena, to, false, wide)));
    if (from == to) {
        assert_int_equal(attn_rope(&rope, &in, NULL, NULL, NULL, &in, NULL), ATTN_OK);
        assert_true(test_same_bits(in, out));
    }
    test_arena_reset(&arena);
}

static void rope_rounds_once(void **state)
{
    (void)state;
    for (int x = 0; x < 4 * TYPES * TYPES; x++)
        rope_case(x % 2 ? ATTN_ROPE_HALF : ATTN_ROPE_INTERLEAVED, types[x / 4 % TYPES],
                  types[x / 4 / TYPES], x / 2 % 2);
}

/* Rows of q turned by positions of the caller, keys turned before: nothing else asks where a call
 * begins, so its offset changes no bit, however far the positions are from it. */
static void rope_far_positions(void **state)
{
    static const int64_t offsets[] = {-10, -1000000, -(INT64_C(1) << 46), INT64_C(1) << 46};
    const int64_t far[T] = {INT64_MAX, INT64_MAX - 1, INT64_C(1) << 62, 3};
    const int64_t q[] = {1, 1, T, D}, k[] = {1, 1, 2 * T, D};
    test_arena arena = {0};
    test_rng rng = test_rng_make(6);
    (void)state;
    attn_args args =
        ATTN_ARGS(.q = test_tensor(&arena, ATTN_DTYPE_F32, 4, q),
                  .k = test_tensor(&arena, ATTN_DTYPE_F32, 4, k),
                  .v = test_tensor(&arena, ATTN_DTYPE_F32, 4, k),
                  .out = test_tensor(&arena, ATTN_DTYPE_F32, 4, q),
                  .q_pos = attn_tensor_make((void *)far, ATTN_DTYPE_I64, 2, &q[1]));
    test_fill_normal(&args.q, &rng, 1);
    test_fill_normal(&args.k, &rng, 1);
    test_fill_normal(&args.v, &rng, 1);
    attn_spec spec = ATTN_SPEC(.rope = {.kind = ATTN_ROPE_HALF}, .keys_turned = true,
                               .align = ATTN_ALIGN_OFFSET);
    assert_int_equal(attn_forward(NULL, &spec, &args, NULL), ATTN_OK);
    const attn_tensor want = args.out;
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        spec.offset = offsets[i];
        args.out = test_tensor(&arena, ATTN_DTYPE_F32, 4, q);
        assert_int_equal(attn_forward(NULL, &spec, &args, NULL), ATTN_OK);
        assert_true(test_same_bits(args.out, want));
    }
    test_arena_reset(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rope_rounds_once),
                                       cmocka_unit_test(rope_far_positions)};
    return cmocka_run_group_tests_name("rope_bits", tests, NULL, NULL);
}
