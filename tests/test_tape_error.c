/* SPDX-License-Identifier: MIT
 * What a tape refuses, and how it says so: creation, leaves, handles, dead tapes, backwards
 * that make no sense. The first error stays until it is cleared, and the tape is usable after.
 */
#include "tape_fixture.h"

/* ---- refusals --------------------------------------------------------------------------- */

static void tape_creation(void **state)
{
    (void)state;
    attn_tape *t = (attn_tape *)(void *)&arena;
    attn_error error;
    attn_tape_config config = ATTN_TAPE_CONFIG(.dtype = ATTN_DTYPE_BF16);
    assert_int_equal(attn_tape_create(&t, ctx, &config, &error), ATTN_E_DTYPE);
    assert_null(t);
    config = (attn_tape_config){.size = 3};
    assert_int_equal(attn_tape_create(&t, ctx, &config, &error), ATTN_E_VERSION);
    assert_int_equal(error.got, 3);
    assert_int_equal(attn_tape_create(NULL, ctx, NULL, &error), ATTN_E_NULL);
    attn_tape_destroy(NULL);
    attn_tape_reset(NULL);
    attn_tape_clear(NULL);
    attn_tape_zero_grads(NULL);
    assert_int_equal(attn_tape_status(NULL, &error), ATTN_E_HANDLE);
    assert_int_equal(attn_tape_memory(NULL), 0);
    assert_true(is_empty(attn_tape_scalar(NULL, 1)));
    assert_true(is_empty(attn_tape_neg(NULL, (attn_var){0})));
}

static void tape_leaves(void **state)
{
    (void)state;
    attn_tape *t = tape_new(NULL);
    int64_t ids[2] = {0};
    assert_true(is_empty(attn_tape_param(t, ATTN_TENSOR(ids, I64, 2))));
    expect_error(t, ATTN_E_DTYPE, "attn_tape_param", "i64");
    (void)attn_tape_input(t, ATTN_TENSOR(NULL, F32, 2));
    expect_error(t, ATTN_E_NULL, "attn_tape_input", "NULL");
    (void)attn_tape_input(t, (attn_tensor){0});
    expect_error(t, ATTN_E_NULL, "attn_tape_input", "missing");
    (void)attn_tape_param(t, ATTN_TENSOR((char *)ids + 1, F32, 1));
    expect_error(t, ATTN_E_ALIGN, "attn_tape_param", "aligned");
    attn_var none = attn_tape_input(t, ATTN_TENSOR(NULL, F32, 2, 0));
    assert_int_equal(attn_tape_value(t, tape_total(t, none)).rank, 0);
    assert_int_equal(attn_tape_status(t, NULL), ATTN_OK);
    attn_tape_destroy(t);
}

static void tape_handles(void **state)
{
    (void)state;
    attn_tape *t = tape_new(NULL), *other = tape_new(NULL);
    attn_var old = attn_tape_scalar(t, 1);
    attn_tape_reset(t);
    attn_var x = attn_tape_scalar(t, 2), far = attn_tape_scalar(other, 3);
    attn_var gone = attn_tape_scalar(t, 4);
    attn_tape_drop(t, gone);
    assert_true(is_empty(attn_tape_mul(t, x, far)));
    expect_error(t, ATTN_E_HANDLE, "mul", "another tape");
    (void)attn_tape_mul(t, old, x);
    expect_error(t, ATTN_E_HANDLE, "mul", "before a reset");
    (void)attn_tape_mul(t, x, gone);
    expect_error(t, ATTN_E_HANDLE, "mul", "dropped");
    (void)attn_tape_mul(t, x, (attn_var){0});
    expect_error(t, ATTN_E_NULL, "mul", "empty");
    (void)attn_tape_mul(t, x, (attn_var){.tape = t, .id = 1000, .age = x.age});
    expect_error(t, ATTN_E_HANDLE, "mul", "before a reset");
    (void)attn_tape_mul(t, x, (attn_var){.tape = t, .id = -1, .age = x.age});
    expect_error(t, ATTN_E_HANDLE, "mul", "before a reset");
    assert_true(attn_tape_value(t, far).dtype == ATTN_DTYPE_NONE);
    assert_true(attn_tape_value(t, old).dtype == ATTN_DTYPE_NONE);
    assert_true(attn_tape_value(t, gone).dtype == ATTN_DTYPE_NONE);
    assert_true(attn_tape_grad(t, gone).dtype == ATTN_DTYPE_NONE);
    attn_tape_drop(t, gone); /* again, and of others: nothing happens */
    attn_tape_drop(t, far);
    attn_tape_retain(t, old);
    assert_true(attn_tape_value(other, far).dtype == ATTN_DTYPE_F32);
    attn_tape_destroy(t);
    attn_tape_destroy(other);
}

/* Memory that is not given back to the system, so that a dead tape may be looked at. */
static void *tape_grave(void *user, void *ptr, size_t old_size, size_t new_size, size_t align)
{
    (void)user, (void)ptr, (void)old_size, (void)align;
    return new_size ? test_alloc(&arena, new_size) : NULL;
}

static void tape_dead(void **state)
{
    (void)state;
    const attn_config config = ATTN_CONFIG(.threads = 1, .alloc = tape_grave);
    attn_ctx *graves;
    attn_tape *t;
    attn_error error;
    assert_int_equal(attn_ctx_create(&graves, &config, NULL), ATTN_OK);
    assert_int_equal(attn_tape_create(&t, graves, NULL, NULL), ATTN_OK);
    attn_var x = attn_tape_scalar(t, 1);
    attn_tape_destroy(t);
    assert_true(is_empty(attn_tape_neg(t, x)));
    assert_int_equal(attn_tape_status(t, &error), ATTN_E_HANDLE);
    assert_int_equal(attn_tape_backward(t, x, &error), ATTN_E_HANDLE);
    assert_int_equal(attn_tape_value(t, x).dtype, ATTN_DTYPE_NONE);
    attn_tape_destroy(t);
    attn_ctx_destroy(graves);
}

/* Whichever of the two structs has the other size is the one that is named. */
static void tape_attention_size(void **state)
{
    (void)state;
    attn_tape *t = tape_new(NULL);
    attn_error error;
    attn_spec spec = ATTN_SPEC(.causal = true);
    const attn_args args = {.size = 5};
    (void)attn_tape_attention(t, &spec, NULL, &args, NULL);
    assert_int_equal(attn_tape_status(t, &error), ATTN_E_VERSION);
    assert_int_equal(error.want, sizeof args);
    assert_int_equal(error.got, 5);
    expect_error(t, ATTN_E_VERSION, "attention", "args");
    spec.size = 3;
    (void)attn_tape_attention(t, &spec, NULL, &args, NULL);
    assert_int_equal(attn_tape_status(t, &error), ATTN_E_VERSION);
    assert_int_equal(error.got, 3);
    expect_error(t, ATTN_E_VERSION, "attention", "spec");
    attn_tape_destroy(t);
}

/* The engine names the operand; the tape adds whose operand it was. */
static void tape_attention_name(void **state)
{
    (void)state;
    attn_tape *t = tape_new(NULL);
    const attn_var q = attn_tape_param(t, LIST(1, 2, 3));
    (void)attn_tape_attention(t, NULL, &(attn_attention_vars){.q = q, .k = q, .v = q}, NULL,
                              NULL);
    expect_error(t, ATTN_E_RANK, "q", "operation attention");
    attn_tape_destroy(t);
}

static void tape_first_error(void **state)
{
    (void)state;
    attn_tape *t = tape_new(NULL);
    attn_var a = attn_tape_param(t, LIST(1, 2, 3)), b = attn_tape_input(t, LIST(1, 2));
    attn_error error;
    attn_var c = attn_tape_add(t, a, b);
    assert_true(is_empty(c));
    assert_true(is_empty(attn_tape_exp(t, c)));
    assert_true(is_empty(attn_tape_exp(t, a)));
    assert_true(is_empty(attn_tape_param(t, LIST(1))));
    assert_int_equal(attn_tape_backward(t, c, &error), ATTN_E_SHAPE);
    assert_string_equal(error.where, "add");
    assert_true(error.counted && error.want == 3 && error.got == 2);
    expect_error(t, ATTN_E_SHAPE, "add", "3");
    assert_int_equal(attn_tape_backward(t, tape_total(t, attn_tape_exp(t, a)), NULL), ATTN_OK);
    attn_tape_destroy(t);
}

static void tape_bad_backward(void **state)
{
    (void)state;
    attn_tape *t = tape_new(NULL);
    attn_var x = attn_tape_param(t, LIST(1, 2)), y = attn_tape_mul(t, x, x);
    attn_var z = tape_total(t, y), fixed = attn_tape_input(t, LIST(3));
    const attn_tensor three = LIST(1, 1, 1), column = TEST_TENSOR(&arena, F32, 2, 1);
    const attn_tensor whole = TEST_TENSOR(&arena, I64, 2);
    static const char name[] = "attn_tape_backward";
    assert_int_equal(attn_tape_backward(t, y, NULL), ATTN_E_SHAPE);
    expect_error(t, ATTN_E_SHAPE, name, "(expected 1, got 2)");
    (void)attn_tape_backward(t, fixed, NULL);
    expect_error(t, ATTN_E_PARAM, name, "depends on no parameter");
    attn_var order;
    (void)attn_tape_topk(t, x, 1, 0, &order);
    (void)attn_tape_backward(t, order, NULL);
    expect_error(t, ATTN_E_PARAM, name, "depends on no parameter");
    (void)attn_tape_backward(t, (attn_var){0}, NULL);
    expect_error(t, ATTN_E_HANDLE, name, "empty");
    (void)attn_tape_backward_from(t, 1, &y, &three, NULL);
    expect_error(t, ATTN_E_SHAPE, "d_y", "(expected 2, got 3)");
    (void)attn_tape_backward_from(t, 1, &y, &column, NULL);
    expect_error(t, ATTN_E_RANK, "d_y", "rank");
    (void)attn_tape_backward_from(t, 1, &y, &whole, NULL);
    expect_error(t, ATTN_E_DTYPE, "d_y", "i64");
    (void)attn_tape_backward_from(t, 1, NULL, NULL, NULL);
    expect_error(t, ATTN_E_NULL, name, "no variables");
    assert_int_equal(attn_tape_backward(t, z, NULL), ATTN_OK);
    (void)attn_tape_backward(t, z, NULL);
    expect_error(t, ATTN_E_HANDLE, name, "config.keep");
    (void)attn_tape_backward(t, tape_total(t, attn_tape_neg(t, y)), NULL);
    expect_error(t, ATTN_E_HANDLE, name, "config.keep");
    expect_list(attn_tape_grad(t, x), LIST(2, 4), "what the good one left");
    attn_tape_destroy(t);
    t = tape_new(&ATTN_TAPE_CONFIG(.compute = true));
    (void)attn_tape_backward(t, tape_total(t, attn_tape_param(t, LIST(1, 2))), NULL);
    expect_error(t, ATTN_E_PARAM, name, "only computes");
    attn_tape_destroy(t);
}

/* ---- the program ------------------------------------------------------------------------ */

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(tape_creation),       CASE(tape_leaves),
                                       CASE(tape_handles),        CASE(tape_dead),
                                       CASE(tape_attention_size), CASE(tape_attention_name),
                                       CASE(tape_first_error),    CASE(tape_bad_backward)};
    return cmocka_run_group_tests(tests, tape_setup, tape_finish);
}
