/* SPDX-License-Identifier: MIT
 * Products and recurrent nodes by relations: a sequence equals its steps, both directions equal
 * two nodes, a full mask equals none, what a mask hides never shows, an activation inside
 * equals the same one outside; leaves of 16 bits; refusals. Equal means the same bits. */
#include "tape_refusal.h"

enum { B = 3, T = 5, I = 4, H = 6 };

#define NORMAL(seed, ...)                                                                      \
    tape_normal((seed), (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),             \
                (const int64_t[]){__VA_ARGS__})

static attn_cell product_cell(attn_tape *t, uint64_t seed, int64_t gates)
{
    return (attn_cell){attn_tape_param(t, NORMAL(seed, gates * H, I)),
                       attn_tape_param(t, NORMAL(seed + 1, gates * H, H)),
                       attn_tape_param(t, NORMAL(seed + 2, gates * H)),
                       attn_tape_param(t, NORMAL(seed + 3, gates * H))};
}

static void expect_same(attn_tape *a, attn_var x, attn_tape *b, attn_var y, const char *what)
{
    const attn_tensor v = attn_tape_value(a, x), w = attn_tape_value(b, y);
    if (v.dtype == ATTN_DTYPE_NONE || !test_same_bits(v, w)) fail_msg("%s differs", what);
}

static void expect_same_grad(attn_tape *a, attn_var x, attn_tape *b, attn_var y,
                             const char *what)
{
    const attn_tensor v = attn_tape_grad(a, x), w = attn_tape_grad(b, y);
    if (v.dtype == ATTN_DTYPE_NONE || !test_same_bits(v, w)) fail_msg("%s differs", what);
}

/* ---- sequences --------------------------------------------------------------------------- */

/* One step at a time, the state handed on. */
static void product_steps(void **state)
{
    (void)state;
    const attn_tensor x = NORMAL(1, B, T, I), h0 = NORMAL(2, B, H), c0 = NORMAL(3, B, H);
    attn_tape *t = tape_new(NULL);
    const attn_cell cell = product_cell(t, 10, 4);
    attn_var h = attn_tape_input(t, h0), c = attn_tape_input(t, c0), none = {0}, last, end;
    attn_var y = attn_tape_lstm(t, attn_tape_input(t, x), h, c, none, 1, &cell, &last, &end);
    for (int64_t i = 0; i < T; i++) {
        attn_var step = attn_tape_input(t, attn_tensor_slice(x, 1, i, i + 1));
        attn_var one = attn_tape_lstm(t, step, h, c, none, 1, &cell, &h, &c);
        expect_same(t, one, t, attn_tape_slice(t, y, 1, i, i + 1), "a step");
    }
    expect_same(t, h, t, last, "last h");
    expect_same(t, c, t, end, "last c");
    attn_tape_destroy(t);
}

/* The second direction is a node over the sequence walked back. */
static void product_directions(void **state)
{
    (void)state;
    attn_tape *t = tape_new(NULL);
    attn_var x = attn_tape_input(t, NORMAL(1, B, T, I)), none = {0}, h, there, back;
    const attn_cell cells[2] = {product_cell(t, 10, 3), product_cell(t, 20, 3)};
    attn_var y = attn_tape_gru(t, x, none, none, 2, cells, &h);
    attn_var first = attn_tape_gru(t, x, none, none, 1, cells, &there);
    attn_var second =
        attn_tape_gru(t, attn_tape_flip(t, x, 1), none, none, 1, cells + 1, &back);
    attn_var both[] = {first, attn_tape_flip(t, second, 1)}, ends[] = {there, back};
    expect_same(t, y, t, attn_tape_concat(t, 2, both, 2), "outputs");
    expect_same(t, h, t, attn_tape_stack(t, 2, ends, 0), "states");
    attn_tape_destroy(t);
}

static attn_var product_masked(attn_tape *t, attn_var x, attn_tensor mask,
                               const attn_cell *cells)
{
    attn_var m = mask.dtype ? attn_tape_input(t, mask) : (attn_var){0}, none = {0}, h;
    attn_var y = attn_tape_gru(t, x, none, m, 2, cells, &h);
    return attn_tape_add(t, tape_total(t, y), tape_total(t, attn_tape_mul(t, h, h)));
}

/* Operands with one mask and another: the same result, and the same gradients of the weights.
 */
static void product_same(attn_tensor x, attn_tensor mask, attn_tensor z, attn_tensor other)
{
    attn_tape *t = tape_new(NULL), *u = tape_new(NULL);
    const attn_cell a[2] = {product_cell(t, 10, 3), product_cell(t, 20, 3)};
    const attn_cell b[2] = {product_cell(u, 10, 3), product_cell(u, 20, 3)};
    attn_var p = attn_tape_param(t, x), q = attn_tape_param(u, z);
    attn_var y = product_masked(t, p, mask, a), w = product_masked(u, q, other, b);
    assert_int_equal(attn_tape_backward(t, y, NULL), ATTN_OK);
    assert_int_equal(attn_tape_backward(u, w, NULL), ATTN_OK);
    expect_same(t, y, u, w, "the result");
    expect_same_grad(t, p, u, q, "x");
    for (int i = 0; i < 2; i++) {
        expect_same_grad(t, a[i].w_x, u, b[i].w_x, "w_x");
        expect_same_grad(t, a[i].w_h, u, b[i].w_h, "w_h");
        expect_same_grad(t, a[i].b_x, u, b[i].b_x, "b_x");
        expect_same_grad(t, a[i].b_h, u, b[i].b_h, "b_h");
    }
    attn_tape_destroy(t);
    attn_tape_destroy(u);
}

static void product_full_mask(void **state)
{
    (void)state;
    attn_tensor mask = TEST_TENSOR(&arena, BOOL, B, T);
    test_fill_value(&mask, 1);
    product_same(NORMAL(1, B, T, I), mask, NORMAL(1, B, T, I), (attn_tensor){0});
}

/* NaN in x where nobody looks. */
static void product_hidden(void **state)
{
    (void)state;
    attn_tensor mask = TEST_TENSOR(&arena, BOOL, B, T), x = NORMAL(1, B, T, I);
    attn_tensor planted = NORMAL(1, B, T, I);
    for (int64_t i = 0; i < B * T; i++) {
        const bool seen = i % 7 != 2 && i < 11;
        test_put(&mask, (const int64_t[]){i / T, i % T}, seen);
        for (int64_t k = 0; !seen && k < I; k++)
            test_put(&planted, (const int64_t[]){i / T, i % T, k},
                     (double)(k ? NAN : INFINITY));
    }
    product_same(x, mask, planted, mask);
}

/* ---- products ---------------------------------------------------------------------------- */

static attn_var product_none(attn_tape *t, attn_var x)
{
    (void)t;
    return x;
}

static attn_var (*const product_acts[])(attn_tape *, attn_var) = {
    [ATTN_ACT_NONE] = product_none,   [ATTN_ACT_RELU] = attn_tape_relu,
    [ATTN_ACT_GELU] = attn_tape_gelu, [ATTN_ACT_GELU_TANH] = attn_tape_gelu_tanh,
    [ATTN_ACT_SILU] = attn_tape_silu, [ATTN_ACT_SIGMOID] = attn_tape_sigmoid,
    [ATTN_ACT_TANH] = attn_tape_tanh,
};

static void product_fused(void **state)
{
    (void)state;
    attn_tape *t = tape_new(NULL);
    attn_var x = attn_tape_input(t, NORMAL(1, B, T, I)),
             w = attn_tape_param(t, NORMAL(2, H, I));
    attn_var b = attn_tape_param(t, NORMAL(3, H));
    attn_var z = attn_tape_add(t, attn_tape_matmul(t, x, attn_tape_transpose(t, w, 0, 1)), b);
    for (int act = ATTN_ACT_NONE; act <= ATTN_ACT_TANH; act++)
        expect_same(t, attn_tape_linear(t, x, w, b, (attn_activation)act), t,
                    product_acts[act](t, z), "an activation");
    attn_tape_destroy(t);
}

/* Leaves of 16 bits go in as they are; their gradient is a real. */
static void product_narrow(void **state)
{
    (void)state;
    static const attn_dtype types[] = {ATTN_DTYPE_BF16, ATTN_DTYPE_F16};
    for (int i = 0; i < 2; i++) {
        const attn_tensor x = test_tensor_dense(&arena, NORMAL(1, T, I), types[i]);
        const attn_tensor w = test_tensor_dense(&arena, NORMAL(2, I, H), types[i]);
        attn_tape *t = tape_new(NULL);
        attn_var a = attn_tape_param(t, x), b = attn_tape_param(t, w);
        attn_var c = attn_tape_param(t, test_tensor_dense(&arena, x, ATTN_DTYPE_F32));
        attn_var d = attn_tape_param(t, test_tensor_dense(&arena, w, ATTN_DTYPE_F32));
        attn_var y = attn_tape_matmul(t, a, b), z = attn_tape_matmul(t, c, d);
        attn_var loss = attn_tape_add(t, tape_total(t, attn_tape_mul(t, y, y)),
                                      tape_total(t, attn_tape_mul(t, z, z)));
        assert_int_equal(attn_tape_backward(t, loss, NULL), ATTN_OK);
        expect_same(t, y, t, z, "the product");
        assert_int_equal(attn_tape_grad(t, a).dtype, ATTN_DTYPE_F32);
        expect_same_grad(t, a, t, c, "left");
        expect_same_grad(t, b, t, d, "right");
        attn_tape_destroy(t);
    }
}

/* ---- refusals ---------------------------------------------------------------------------- */

static const attn_var nothing;

struct operands {
    attn_var x, w, b, vector, scalar;
    attn_cell cell;
};

REFUSED(bad_inner, attn_tape_matmul(t, v->x, v->w))
REFUSED(bad_leading, attn_tape_matmul(t, v->x, attn_tape_input(t, NORMAL(1, B + 1, I, H))))
REFUSED(bad_scalar, attn_tape_matmul(t, v->x, v->scalar))
REFUSED(bad_columns, attn_tape_linear(t, v->vector, v->w, v->b, ATTN_ACT_NONE))
REFUSED(bad_bias, attn_tape_linear(t, v->x, v->w, v->vector, ATTN_ACT_NONE))
REFUSED(bad_act, attn_tape_linear(t, v->x, v->w, v->b, (attn_activation)99))

static void bad_cells(attn_tape *t, const operands *v)
{
    attn_var h = v->x;
    (void)attn_tape_gru(t, v->x, nothing, nothing, 3, &v->cell, &h);
    assert_true(is_empty(h));
}

REFUSED(bad_no_cells, attn_tape_lstm(t, v->x, nothing, nothing, nothing, 1, NULL, NULL, NULL))
REFUSED(bad_gates, attn_tape_lstm(t, v->x, nothing, nothing, nothing, 1, &v->cell, NULL, NULL))
REFUSED(bad_width, attn_tape_gru(t, attn_tape_input(t, NORMAL(1, B, T, I + 1)), nothing,
                                 nothing, 1, &v->cell, NULL))
REFUSED(bad_state, attn_tape_gru(t, v->x, attn_tape_input(t, NORMAL(1, B + 1, H)), nothing, 1,
                                 &v->cell, NULL))
REFUSED(bad_mask,
        attn_tape_gru(t, v->x, nothing, attn_tape_input(t, TEST_TENSOR(&arena, BOOL, B, T + 2)),
                      1, &v->cell, NULL))

static void bad_cell_bias(attn_tape *t, const operands *v)
{
    attn_cell cell = v->cell;
    cell.b_h = v->vector;
    (void)attn_tape_gru(t, v->x, nothing, nothing, 1, &cell, NULL);
}

static const refusal refusals[] = {
    {bad_inner, ATTN_E_SHAPE, "matmul", SIZES(4, 6)},
    {bad_leading, ATTN_E_SHAPE, "matmul", SIZES(3, 4)},
    {bad_scalar, ATTN_E_RANK, "matmul", SIZES(1, 0)},
    {bad_columns, ATTN_E_SHAPE, "linear", SIZES(5, 4)},
    {bad_bias, ATTN_E_SHAPE, "linear", SIZES(6, 5)},
    {bad_act, ATTN_E_ENUM, "linear", SIZES(6, 99)},
    {bad_cells, ATTN_E_PARAM, "gru", SIZES(2, 3)},
    {bad_no_cells, ATTN_E_PARAM, "lstm", SIZES(2, 0)},
    {bad_gates, ATTN_E_SHAPE, "lstm", SIZES(24, 18)},
    {bad_width, ATTN_E_SHAPE, "gru", SIZES(5, 4)},
    {bad_state, ATTN_E_SHAPE, "gru", SIZES(3, 4)},
    {bad_mask, ATTN_E_SHAPE, "gru", SIZES(5, 7)},
    {bad_cell_bias, ATTN_E_SHAPE, "gru", SIZES(18, 5)},
};

static void product_works(attn_tape *t, const operands *v)
{
    attn_var y = attn_tape_gru(t, v->x, nothing, nothing, 1, &v->cell, NULL);
    assert_int_equal(attn_tape_backward(t, tape_total(t, y), NULL), ATTN_OK);
}

static void product_refusals(void **state)
{
    (void)state;
    attn_tape *t = tape_new(NULL);
    const operands v = {attn_tape_param(t, NORMAL(1, B, T, I)),
                        attn_tape_param(t, NORMAL(2, H, I)),
                        attn_tape_param(t, NORMAL(3, H)),
                        attn_tape_param(t, NORMAL(4, T)),
                        attn_tape_scalar(t, 1),
                        product_cell(t, 10, 3)};
    refusals_walk(t, REFUSALS(refusals), &v, product_works);
}

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(product_steps),     CASE(product_directions),
                                       CASE(product_full_mask), CASE(product_hidden),
                                       CASE(product_fused),     CASE(product_narrow),
                                       CASE(product_refusals)};
    return cmocka_run_group_tests(tests, tape_setup, tape_finish);
}
