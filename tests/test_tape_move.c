/* SPDX-License-Identifier: MIT
 * Views, moves and indices of the tape beyond what test_tape_ops asks of every operation: each
 * bad operand has its status and a sentence with both sizes, views are views, integers and
 * bools move too, sums of many rows do not drift, and the indices that were checked are those
 * that count. */
#include "tape_refusal.h"

static float cube[24]; /* 2 3 4 */
static int64_t picks[3] = {0, 1, 1};

static attn_tape *tape_open(void)
{
    for (int i = 0; i < 24; i++) cube[i] = (float)i;
    return tape_new(NULL);
}

/* ---- refusals --------------------------------------------------------------------------- */

static const attn_var nothing;

struct operands {
    attn_var x, ids; /* 2 3 4, {0, 1, 1} */
};

REFUSED(reshape_count, attn_tape_reshape(t, v->x, ATTN_DIMS(5, 5)))
REFUSED(reshape_two, attn_tape_reshape(t, v->x, ATTN_DIMS(-1, -1)))
REFUSED(reshape_uneven, attn_tape_reshape(t, v->x, ATTN_DIMS(-1, 7)))
REFUSED(reshape_negative, attn_tape_reshape(t, v->x, ATTN_DIMS(-24)))
REFUSED(reshape_all, attn_tape_reshape(t, v->x, ATTN_ALL))
REFUSED(reshape_huge, attn_tape_reshape(t, v->x, ATTN_DIMS(INT64_MAX, INT64_MAX)))
REFUSED(reshape_nothing, attn_tape_reshape(t, nothing, ATTN_DIMS(1)))
REFUSED(unsqueeze_place, attn_tape_unsqueeze(t, v->x, 4))
REFUSED(squeeze_size, attn_tape_squeeze(t, v->x, 1))
REFUSED(squeeze_dim, attn_tape_squeeze(t, v->x, -4))
REFUSED(permute_rank, attn_tape_permute(t, v->x, ATTN_DIMS(0, 1)))
REFUSED(permute_twice, attn_tape_permute(t, v->x, ATTN_DIMS(0, 1, 1)))
REFUSED(transpose_dim, attn_tape_transpose(t, v->x, 0, 3))
REFUSED(expand_size, attn_tape_expand(t, v->x, ATTN_DIMS(2, 6, 4)))
REFUSED(expand_rank, attn_tape_expand(t, v->x, ATTN_DIMS(3, 4)))
REFUSED(expand_new, attn_tape_expand(t, v->x, ATTN_DIMS(-1, 2, 3, 4)))
REFUSED(expand_huge, attn_tape_expand(t, attn_tape_reshape(t, v->x, ATTN_DIMS(24, 1, 1)),
                                      ATTN_DIMS(-1, INT64_C(1) << 40, INT64_C(1) << 40)))
REFUSED(slice_dim, attn_tape_slice(t, v->x, 3, 0, 1))
REFUSED(slice_begin, attn_tape_slice(t, v->x, 1, 4, 5))
REFUSED(slice_back, attn_tape_slice(t, v->x, 1, 2, 1))
REFUSED(flip_dim, attn_tape_flip(t, v->x, -4))
REFUSED(split_uneven, attn_tape_split(t, v->x, 1, 2, (attn_var[2]){{0}}))
REFUSED(split_list, attn_tape_split(t, v->x, 0, 2, NULL))
REFUSED(split_dim, attn_tape_split(t, v->x, 3, 2, (attn_var[2]){{0}}))
REFUSED(split_none, attn_tape_split(t, v->x, 1, 0, (attn_var[1]){{0}}))
REFUSED(pad_cut, attn_tape_pad(t, v->x, 1, -2, -2, 0))
REFUSED(pad_wide, attn_tape_pad(t, v->x, 1, 0, INT64_MAX, 0))
REFUSED(roll_dim, attn_tape_roll(t, v->x, 3, 1))
REFUSED(concat_none, attn_tape_concat(t, 0, &v->x, 0))
REFUSED(concat_rank, attn_tape_concat(t, 2, ((attn_var[]){v->x, v->ids}), 0))
REFUSED(concat_size,
        attn_tape_concat(t, 2, ((attn_var[]){v->x, attn_tape_slice(t, v->x, 1, 0, 2)}), 0))
REFUSED(concat_empty, attn_tape_concat(t, 2, ((attn_var[]){v->x, nothing}), 0))
REFUSED(concat_type,
        attn_tape_concat(t, 2,
                         ((attn_var[]){v->ids, attn_tape_reshape(t, v->x, ATTN_DIMS(24))}), 0))
REFUSED(stack_list, attn_tape_stack(t, 2, NULL, 0))
REFUSED(stack_place, attn_tape_stack(t, 2, ((attn_var[]){v->x, v->x}), 4))
REFUSED(embedding_rank, attn_tape_embedding(t, v->x, v->ids, -1))
REFUSED(embedding_bound,
        attn_tape_embedding(t, attn_tape_reshape(t, v->x, ATTN_DIMS(1, 24)), v->ids, -1))
REFUSED(embedding_padding,
        attn_tape_embedding(t, attn_tape_reshape(t, v->x, ATTN_DIMS(2, 12)), v->ids, 2))
REFUSED(embedding_real,
        attn_tape_embedding(t, attn_tape_reshape(t, v->x, ATTN_DIMS(2, 12)), v->x, -1))
REFUSED(select_bound, attn_tape_index_select(t, attn_tape_slice(t, v->x, 2, 0, 1), 2, v->ids))
REFUSED(select_rank, attn_tape_index_select(t, v->x, 0, attn_tape_unsqueeze(t, v->ids, 0)))
REFUSED(gather_rank, attn_tape_gather(t, v->x, 0, v->ids))
REFUSED(gather_wide, attn_tape_gather(t, attn_tape_reshape(t, v->x, ATTN_DIMS(12, 2)), 0,
                                      attn_tape_unsqueeze(t, v->ids, 0)))
REFUSED(scatter_src,
        attn_tape_scatter_add(t, attn_tape_reshape(t, v->x, ATTN_DIMS(24)), 0, v->ids,
                              attn_tape_slice(t, attn_tape_reshape(t, v->x, ATTN_DIMS(24)), 0,
                                              0, 2)))
REFUSED(one_hot_bound, attn_tape_one_hot(t, v->ids, 1))
REFUSED(one_hot_count, attn_tape_one_hot(t, v->ids, -1))

static const refusal refusals[] = {
    {reshape_count, ATTN_E_SHAPE, "reshape", SIZES(24, 25)},
    {reshape_two, ATTN_E_DIM, "reshape", SIZES(0, -1)},
    {reshape_uneven, ATTN_E_SHAPE, "reshape", SIZES(24, 7)},
    {reshape_negative, ATTN_E_DIM, "reshape", SIZES(0, -24)},
    {reshape_all, ATTN_E_RANK, "reshape", SIZES(8, -1)},
    {reshape_huge, ATTN_E_SHAPE, "reshape", SIZES(24, -1)},
    {reshape_nothing, ATTN_E_NULL, "reshape", NO_SIZES},
    {unsqueeze_place, ATTN_E_PARAM, "unsqueeze", SIZES(3, 4)},
    {squeeze_size, ATTN_E_SHAPE, "squeeze", SIZES(1, 3)},
    {squeeze_dim, ATTN_E_PARAM, "squeeze", SIZES(3, -4)},
    {permute_rank, ATTN_E_SHAPE, "permute", SIZES(3, 2)},
    {permute_twice, ATTN_E_PARAM, "permute", NO_SIZES},
    {transpose_dim, ATTN_E_PARAM, "transpose", SIZES(3, 3)},
    {expand_size, ATTN_E_SHAPE, "expand", SIZES(3, 6)},
    {expand_rank, ATTN_E_RANK, "expand", SIZES(3, 2)},
    {expand_new, ATTN_E_SHAPE, "expand", SIZES(1, -1)},
    {expand_huge, ATTN_E_OVERFLOW, "expand", NO_SIZES},
    {slice_dim, ATTN_E_PARAM, "slice", SIZES(3, 3)},
    {slice_begin, ATTN_E_PARAM, "slice", SIZES(3, 4)},
    {slice_back, ATTN_E_PARAM, "slice", SIZES(2, 1)},
    {flip_dim, ATTN_E_PARAM, "flip", SIZES(3, -4)},
    {split_uneven, ATTN_E_SHAPE, "split", SIZES(3, 2)},
    {split_none, ATTN_E_PARAM, "split", SIZES(1, 0)},
    {split_list, ATTN_E_NULL, "split", SIZES(2, 0)},
    {split_dim, ATTN_E_PARAM, "split", SIZES(3, 3)},
    {pad_cut, ATTN_E_SHAPE, "pad", SIZES(0, -1)},
    {pad_wide, ATTN_E_DIM, "pad", SIZES(INT64_C(1) << 47, INT64_MAX)},
    {roll_dim, ATTN_E_PARAM, "roll", SIZES(3, 3)},
    {concat_none, ATTN_E_PARAM, "concat", SIZES(1, 0)},
    {concat_rank, ATTN_E_RANK, "concat", SIZES(3, 1)},
    {concat_size, ATTN_E_SHAPE, "concat", SIZES(3, 2)},
    {concat_empty, ATTN_E_NULL, "concat", NO_SIZES},
    {concat_type, ATTN_E_DTYPE, "concat", NO_SIZES},
    {stack_place, ATTN_E_PARAM, "stack", SIZES(3, 4)},
    {stack_list, ATTN_E_NULL, "stack", SIZES(2, 0)},
    {embedding_rank, ATTN_E_RANK, "embedding", SIZES(2, 3)},
    {embedding_bound, ATTN_E_PARAM, "embedding", SIZES(1, 1)},
    {embedding_padding, ATTN_E_PARAM, "embedding", SIZES(2, 2)},
    {embedding_real, ATTN_E_DTYPE, "embedding", NO_SIZES},
    {select_bound, ATTN_E_PARAM, "index_select", SIZES(1, 1)},
    {select_rank, ATTN_E_RANK, "index_select", SIZES(1, 2)},
    {gather_rank, ATTN_E_RANK, "gather", SIZES(3, 1)},
    {gather_wide, ATTN_E_SHAPE, "gather", SIZES(2, 3)},
    {scatter_src, ATTN_E_SHAPE, "scatter_add", SIZES(3, 2)},
    {one_hot_bound, ATTN_E_PARAM, "one_hot", SIZES(1, 1)},
    {one_hot_count, ATTN_E_DIM, "one_hot", SIZES(0, -1)},
};

static void move_works(attn_tape *t, const operands *v)
{
    assert_int_equal(attn_tape_value(t, attn_tape_flip(t, v->x, 0)).shape[2], 4);
}

static void test_refusals(void **state)
{
    (void)state;
    attn_tape *t = tape_open();
    const operands v = {attn_tape_param(t, ATTN_TENSOR(cube, F32, 2, 3, 4)),
                        attn_tape_input(t, ATTN_TENSOR(picks, I64, 3))};
    refusals_walk(t, REFUSALS(refusals), &v, move_works);
}

static void test_negative_index(void **state)
{
    (void)state;
    int16_t ids[2] = {1, -1};
    attn_tape *t = tape_open();
    attn_error error;
    const attn_var x = attn_tape_param(t, ATTN_TENSOR(cube, F32, 12, 2));
    attn_tape_index_select(t, x, 0, attn_tape_input(t, ATTN_TENSOR(ids, I16, 2)));
    assert_int_equal(attn_tape_status(t, &error), ATTN_E_PARAM);
    assert_int_equal(error.got, -1);
    attn_tape_destroy(t);
}

/* ---- views ------------------------------------------------------------------------------ */

static void test_views_share_memory(void **state)
{
    (void)state;
    attn_tape *t = tape_open();
    const attn_var x = attn_tape_param(t, ATTN_TENSOR(cube, F32, 2, 3, 4));
    const attn_var turned = attn_tape_transpose(t, x, 1, 2);
    assert_ptr_equal(attn_tape_value(t, attn_tape_reshape(t, x, ATTN_DIMS(6, -1))).data, cube);
    assert_ptr_equal(attn_tape_value(t, turned).data, cube);
    assert_ptr_equal(attn_tape_value(t, attn_tape_slice(t, x, 2, 1, -1)).data, cube + 1);
    assert_ptr_equal(attn_tape_value(t, attn_tape_flip(t, x, 0)).data, cube + 12);
    assert_ptr_equal(attn_tape_value(t, attn_tape_unsqueeze(t, turned, 1)).data, cube);
    const attn_tensor heads =
        attn_tape_value(t, attn_tape_reshape(t, turned, ATTN_DIMS(2, 2, 2, 3)));
    assert_ptr_equal(heads.data, cube);
    assert_int_equal(heads.stride[1], 2);
    const attn_tensor row = attn_tape_value(t, attn_tape_reshape(t, turned, ATTN_DIMS(-1)));
    assert_ptr_not_equal(row.data, cube);
    for (int i = 0; i < 24; i++)
        assert_true(((const float *)row.data)[i] ==
                    (float)(i / 12 * 12 + i % 3 * 4 + i % 12 / 3));
    expect_fine(t);
    attn_tape_destroy(t);
}

/* ---- moves ------------------------------------------------------------------------------ */

static void test_other_types_move(void **state)
{
    (void)state;
    const uint8_t want[7] = {1, 0, 1, 1, 0, 1, 1};
    uint8_t bits[3] = {1, 0, 1};
    attn_tape *t = tape_open();
    const attn_var b = attn_tape_input(t, ATTN_TENSOR(bits, BOOL, 3));
    const attn_var padded = attn_tape_pad(t, b, 0, 0, 1, 1);
    const attn_tensor y =
        attn_tape_value(t, attn_tape_concat(t, 2, (attn_var[]){b, padded}, 0));
    assert_int_equal(y.dtype, ATTN_DTYPE_BOOL);
    assert_memory_equal(y.data, want, 7);
    const attn_var ids = attn_tape_input(t, ATTN_TENSOR(picks, I64, 3));
    const attn_tensor rolled = attn_tape_value(t, attn_tape_roll(t, ids, 0, -1));
    assert_int_equal(rolled.dtype, ATTN_DTYPE_I64);
    assert_int_equal(((const int64_t *)rolled.data)[2], 0);
    expect_fine(t);
    attn_tape_destroy(t);
}

static void test_halves_become_reals(void **state)
{
    (void)state;
    uint16_t halves[4] = {0x3F80, 0xC000, 0x8000, 0x3F00}; /* 1, -2, -0, 0.5 in bf16 */
    const float want[4] = {-0.0f, 0.5f, 1, -2};
    attn_tape *t = tape_open();
    const attn_var x = attn_tape_param(t, ATTN_TENSOR(halves, BF16, 2, 2));
    const attn_tensor y = attn_tape_value(t, attn_tape_roll(t, x, 0, 3));
    assert_int_equal(y.dtype, ATTN_DTYPE_F32);
    assert_memory_equal(y.data, want, sizeof want);
    int64_t at[2] = {1, 0};
    const attn_tensor rows = attn_tape_value(
        t, attn_tape_embedding(t, x, attn_tape_input(t, ATTN_TENSOR(at, I64, 2)), -1));
    assert_memory_equal(rows.data, want, sizeof want);
    expect_fine(t);
    attn_tape_destroy(t);
}

/* What a long list makes on the way goes again: the whole is all that stays, and variables. */
static void test_long_list_is_freed(void **state)
{
    (void)state;
    enum { PARTS = 1100, WIDE = 2000 };
    static attn_var parts[PARTS];
    static float wide[WIDE];
    attn_tape *t = tape_new(&ATTN_TAPE_CONFIG(.compute = true));
    const attn_var x = attn_tape_input(t, ATTN_TENSOR(wide, F32, WIDE));
    for (int i = 0; i < PARTS; i++) parts[i] = x;
    for (int i = 0; i < WIDE; i++) wide[i] = (float)i;
    const attn_tensor y = attn_tape_value(t, attn_tape_stack(t, PARTS, parts, 1));
    assert_int_equal(y.shape[0], WIDE);
    assert_int_equal(y.shape[1], PARTS);
    assert_true(((const float *)y.data)[5 * PARTS + 1099] == 5);
    assert_true(attn_tape_memory(t) < sizeof wide * PARTS * 5 / 4);
    expect_fine(t);
    attn_tape_destroy(t);
}

/* ---- indices ---------------------------------------------------------------------------- */

enum { HOT = 300000 };

/* d table[1] is the sum of HOT numbers; in f32 it would stop growing at 2^24. */
static void test_hot_row_does_not_drift(void **state)
{
    (void)state;
    int64_t *ids = calloc(HOT, sizeof *ids);
    float *ones = calloc(HOT, sizeof *ones);
    for (int i = 0; i < HOT; i++) ids[i] = 1, ones[i] = i % 2 ? 100.25f : 0.125f;
    attn_tape *t = tape_open();
    const attn_var x = attn_tape_param(t, ATTN_TENSOR(cube, F32, 24, 1));
    const attn_var i = attn_tape_input(t, ATTN_TENSOR(ids, I64, HOT));
    const attn_var line = attn_tape_reshape(t, x, ATTN_DIMS(24));
    const attn_var y[2] = {attn_tape_embedding(t, x, i, -1), attn_tape_gather(t, line, 0, i)};
    const attn_tensor d[2] = {ATTN_TENSOR(ones, F32, HOT, 1), ATTN_TENSOR(ones, F32, HOT)};
    assert_int_equal(attn_tape_backward_from(t, 2, y, d, NULL), ATTN_OK);
    const float *got = attn_tape_grad(t, x).data;
    const double sum = (HOT / 2) * 100.375;
    assert_true(got[1] == (float)((double)(float)sum + (double)(float)sum));
    assert_true(got[0] == 0 && got[2] == 0);
    attn_tape_destroy(t);
    free(ids);
    free(ones);
}

/* The caller may write other indices into the array, even bad ones. */
static void test_checked_indices_count(void **state)
{
    (void)state;
    int32_t ids[3] = {2, 0, 2};
    float ones[3] = {1, 1, 1};
    attn_tape *t = tape_open();
    const attn_var x = attn_tape_param(t, ATTN_TENSOR(cube, F32, 4, 1));
    const attn_var i = attn_tape_input(t, ATTN_TENSOR(ids, I32, 3));
    const attn_var column = attn_tape_unsqueeze(t, i, 1);
    const attn_tensor d = ATTN_TENSOR(ones, F32, 3, 1);
    const attn_var y[4] = {
        attn_tape_embedding(t, x, i, 0), attn_tape_index_select(t, x, 0, i),
        attn_tape_gather(t, x, 0, column),
        attn_tape_slice(t,
                        attn_tape_scatter_add(t, x, 0, column, attn_tape_slice(t, x, 0, 0, 3)),
                        0, 0, 3)};
    for (int k = 0; k < 3; k++) ids[k] = 1 << 30;
    assert_int_equal(attn_tape_backward_from(t, 4, y, (attn_tensor[]){d, d, d, d}, NULL),
                     ATTN_OK);
    const float *got = attn_tape_grad(t, x).data;
    const float want[4] = {1 + 1 + 1 + 1, 1 + 1, 2 + 2 + 2 + 1 + 1, 0};
    for (int k = 0; k < 4; k++) assert_true(got[k] == want[k]);
    attn_tape_destroy(t);
}

static void test_gather_keeps_signs(void **state)
{
    (void)state;
    float x[2] = {-0.0f, 0};
    int64_t ids[3] = {0, 1, 0};
    const float want[3] = {-0.0f, 0, -0.0f};
    attn_tape *t = tape_open();
    const attn_var y = attn_tape_gather(t, attn_tape_input(t, ATTN_TENSOR(x, F32, 2)), 0,
                                        attn_tape_input(t, ATTN_TENSOR(ids, I64, 3)));
    assert_memory_equal(attn_tape_value(t, y).data, want, sizeof want);
    attn_tape_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_refusals),
        CASE(test_negative_index),
        CASE(test_views_share_memory),
        CASE(test_other_types_move),
        CASE(test_halves_become_reals),
        CASE(test_long_list_is_freed),
        CASE(test_hot_row_does_not_drift),
        CASE(test_checked_indices_count),
        CASE(test_gather_keeps_signs),
    };
    return cmocka_run_group_tests(tests, tape_setup, tape_finish);
}
