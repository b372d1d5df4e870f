/* SPDX-License-Identifier: MIT
 * Operations of the tape on long tensors: sums, and gradients of what was broadcast, are right
 * in every pattern of dimensions and do not drift; long lines are sorted; an item alone has the
 * bits that it has in a batch. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "attn/tape.h"

static attn_tape *long_open(attn_dtype dtype, attn_ctx *ctx)
{
    attn_tape *t;
    assert_int_equal(attn_tape_create(&t, ctx, &ATTN_TAPE_CONFIG(.dtype = dtype), NULL),
                     ATTN_OK);
    return t;
}

static void long_is_fine(const attn_tape *t)
{
    attn_error error;
    if (attn_tape_status(t, &error) != ATTN_OK) fail_msg("%s: %s", error.where, error.what);
}

/* ---- long tensors: sums of small integers, which are exact in any order ----------------- */

typedef struct pattern {
    int rank;
    int64_t size[4];
    bool kept[4];
} pattern;

static const pattern patterns[] = {
    {1, {70001}, {false}},
    {1, {70001}, {true}},
    {2, {3000, 40}, {false, true}},
    {2, {7, 5000}, {false, true}},
    {2, {9000, 3}, {true, false}},
    {2, {5, 4001}, {true, false}},
    {3, {13, 37, 129}, {false, true, false}},
    {3, {37, 129, 13}, {true, false, true}},
    {3, {600, 1, 90}, {false, true, true}},
    {4, {5, 600, 3, 7}, {true, false, true, false}},
    {4, {3, 7, 1100, 2}, {false, true, false, true}},
    {3, {1, 1, 1}, {false, true, false}},
    {3, {513, 0, 3}, {true, false, true}},
};

static double pattern_value(int64_t i)
{
    return (double)(i * 2654435761 % 1009) - 504;
}

/* The sums by a loop over all elements, count of them. */
static double *pattern_sums(const pattern *p, int64_t *count)
{
    int64_t n = 1;
    *count = 1;
    for (int d = 0; d < p->rank; d++) n *= p->size[d];
    for (int d = 0; d < p->rank; d++) *count *= p->kept[d] ? p->size[d] : 1;
    double *sum = calloc((size_t)*count + 1, sizeof *sum);
    for (int64_t i = 0; i < n; i++) {
        int64_t to = 0, step = 1, left = i;
        for (int d = p->rank - 1; d >= 0; d--) {
            to += p->kept[d] ? left % p->size[d] * step : 0;
            step *= p->kept[d] ? p->size[d] : 1;
            left /= p->size[d];
        }
        sum[to] += pattern_value(i);
    }
    return sum;
}

static attn_var pattern_sum(attn_tape *t, const pattern *p, attn_var x)
{
    attn_dims dims = {0, {0}};
    for (int d = 0; d < p->rank; d++)
        if (!p->kept[d]) dims.at[dims.n++] = d;
    return attn_tape_sum(t, x, dims, false);
}

/* The gradient of a factor of x that is broadcast over what is summed. */
static attn_tensor pattern_gradient(attn_tape *t, attn_var factor, attn_var x)
{
    const attn_var both = attn_tape_mul(t, factor, x);
    const attn_var ones = attn_tape_add_scalar(t, attn_tape_mul_scalar(t, x, 0), 1);
    const attn_tensor d = attn_tape_value(t, ones);
    assert_int_equal(attn_tape_backward_from(t, 1, &both, &d, NULL), ATTN_OK);
    return attn_tape_grad(t, factor);
}

static void pattern_check(const pattern *p, attn_ctx *ctx)
{
    int64_t n = 1, count, narrow[4];
    double *want = pattern_sums(p, &count);
    for (int d = 0; d < p->rank; d++) n *= p->size[d];
    for (int d = 0; d < p->rank; d++) narrow[d] = p->kept[d] ? p->size[d] : 1;
    double *x = calloc((size_t)n + 1, sizeof *x),
           *zero = calloc((size_t)count + 1, sizeof *zero);
    for (int64_t i = 0; i < n; i++) x[i] = pattern_value(i);
    attn_tape *t = long_open(ATTN_DTYPE_F64, ctx);
    const attn_var in =
        attn_tape_input(t, attn_tensor_make(x, ATTN_DTYPE_F64, p->rank, p->size));
    const attn_var factor =
        attn_tape_param(t, attn_tensor_make(zero, ATTN_DTYPE_F64, p->rank, narrow));
    const double *sum = attn_tape_value(t, pattern_sum(t, p, in)).data;
    const double *grad = pattern_gradient(t, factor, in).data;
    for (int64_t i = 0; i < count; i++) {
        if (sum[i] != want[i]) fail_msg("sum %d: %g, not %g", (int)i, sum[i], want[i]);
        if (grad[i] != want[i]) fail_msg("gradient %d: %g, not %g", (int)i, grad[i], want[i]);
    }
    attn_tape_destroy(t);
    free(want), free(x), free(zero);
}

static void test_long_sums(void **state)
{
    (void)state;
    attn_ctx *ctx;
    assert_int_equal(attn_ctx_create(&ctx, &ATTN_CONFIG(.threads = 3), NULL), ATTN_OK);
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        pattern_check(&patterns[i], NULL);
        pattern_check(&patterns[i], ctx);
    }
    attn_ctx_destroy(ctx);
}

/* A sum in f32 would stop at 2^24, and lose what is small. */
static void test_sums_do_not_drift(void **state)
{
    (void)state;
    enum { LONG = 20000000 };
    float one = 1.125f;
    attn_tensor x = ATTN_TENSOR(&one, F32, LONG);
    x.stride[0] = 0;
    attn_tape *t = long_open(ATTN_DTYPE_F32, NULL);
    const attn_var in = attn_tape_input(t, x);
    const float *sum = attn_tape_value(t, attn_tape_sum(t, in, ATTN_ALL, false)).data;
    const float *mean = attn_tape_value(t, attn_tape_mean(t, in, ATTN_ALL, false)).data;
    const float *norm = attn_tape_value(t, attn_tape_norm(t, in, ATTN_ALL, false)).data;
    assert_true(*sum == 22500000 && *mean == 1.125f);
    assert_true(*norm == (float)(1.125 * sqrt(LONG)));
    attn_tape_destroy(t);
}

/* ---- order ------------------------------------------------------------------------------ */

/* 5000 numbers with many ties: each stands where it belongs, ties by their index. */
static void test_long_sort(void **state)
{
    (void)state;
    enum { LONG = 5000 };
    static const int64_t most[] = {LONG, 100, 10};
    static double x[LONG];
    for (int64_t i = 0; i < LONG; i++) x[i] = (double)(i * 7919 % 613);
    for (int k = 0; k < 4; k++) {
        attn_tape *t = long_open(ATTN_DTYPE_F64, NULL);
        const attn_var in = attn_tape_input(t, ATTN_TENSOR(x, F64, LONG));
        attn_var index;
        const attn_var y = k < 3 ? attn_tape_topk(t, in, most[k], 0, &index)
                                 : attn_tape_sort(t, in, -1, false, &index);
        const int64_t *at = attn_tape_value(t, index).data;
        const double *value = attn_tape_value(t, y).data;
        for (int64_t i = 0; i < (k < 3 ? most[k] : LONG); i++) {
            assert_true(value[i] == x[at[i]]);
            if (i == 0) continue;
            assert_true(k < 3 ? value[i] <= value[i - 1] : value[i] >= value[i - 1]);
            assert_true(value[i] != value[i - 1] || at[i] > at[i - 1]);
        }
        assert_true(value[0] == (k < 3 ? 612 : 0));
        long_is_fine(t);
        attn_tape_destroy(t);
    }
}

/* ---- batches ---------------------------------------------------------------------------- */

static const attn_var nothing;

#define OF(name, call)                                                                         \
    static attn_var name(attn_tape *t, attn_var x)                                             \
    {                                                                                          \
        return call;                                                                           \
    }
OF(over_sum, attn_tape_sum(t, x, ATTN_DIMS(-1), false))
OF(over_steps, attn_tape_sum(t, x, ATTN_DIMS(1), false))
OF(over_item, attn_tape_sum(t, x, ATTN_DIMS(1, 2), false))
OF(over_mean, attn_tape_mean(t, x, ATTN_DIMS(2), false))
OF(over_norm, attn_tape_norm(t, x, ATTN_DIMS(-1), false))
OF(over_lse, attn_tape_logsumexp(t, x, ATTN_DIMS(1), false))
OF(over_softmax, attn_tape_softmax(t, x, nothing, 2))
OF(over_steps_softmax, attn_tape_log_softmax(t, x, 1))
OF(over_cumsum, attn_tape_cumsum(t, x, 1))
OF(over_gelu, attn_tape_gelu(t, x))

/* Item 1 of three has the bits that it has alone. */
static void test_items_alone(void **state)
{
    (void)state;
    enum { STEPS = 700, WIDE = 61, ITEM = STEPS * WIDE };
    static attn_var (*const calls[])(attn_tape *, attn_var) = {
        over_sum, over_steps,   over_item,          over_mean,   over_norm,
        over_lse, over_softmax, over_steps_softmax, over_cumsum, over_gelu};
    static float x[3 * ITEM];
    for (int64_t i = 0; i < 3 * ITEM; i++) x[i] = (float)(pattern_value(i) / 97);
    for (size_t k = 0; k < sizeof calls / sizeof calls[0]; k++) {
        attn_tape *t = long_open(ATTN_DTYPE_F32, NULL);
        const attn_var all = attn_tape_input(t, ATTN_TENSOR(x, F32, 3, STEPS, WIDE));
        const attn_var one = attn_tape_input(t, ATTN_TENSOR(x + ITEM, F32, 1, STEPS, WIDE));
        const attn_tensor a = attn_tape_value(t, calls[k](t, all));
        const attn_tensor b = attn_tape_value(t, calls[k](t, one));
        long_is_fine(t);
        const size_t n = (size_t)attn_tensor_count(b);
        assert_memory_equal((const float *)a.data + n, b.data, n * sizeof(float));
        attn_tape_destroy(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_long_sums), cmocka_unit_test(test_sums_do_not_drift),
        cmocka_unit_test(test_long_sort), cmocka_unit_test(test_items_alone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
