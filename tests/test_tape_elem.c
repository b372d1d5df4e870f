/* SPDX-License-Identifier: MIT
 * Element-wise operations, reductions, scans and orders of the tape beyond what test_tape_ops
 * asks of every operation: kinks, ties, zeros, NaN, infinities and empty tensors have the
 * results and gradients that the header promises; bad operands have a status and a sentence.
 */
#include "tape_refusal.h"

static attn_tape *elem_open(attn_dtype dtype)
{
    return tape_new(&ATTN_TAPE_CONFIG(.dtype = dtype));
}

static void elem_same(const char *what, int i, double got, double want)
{
    if (got == want || (isnan(got) && isnan(want))) return;
    if (fabs(got - want) <= 1e-15 * fabs(want)) return;
    fail_msg("%s, element %d: got %.17g, want %.17g", what, i, got, want);
}

/* ---- special values: four numbers in, results and gradients out ------------------------- */

#define INF (double)INFINITY
#define NIL (double)NAN

static const attn_var nothing;

#define OF(name, call)                                                                         \
    static attn_var name(attn_tape *t, attn_var x)                                             \
    {                                                                                          \
        return call;                                                                           \
    }
OF(of_abs, attn_tape_abs(t, x))
OF(of_relu, attn_tape_relu(t, x))
OF(of_leaky, attn_tape_leaky_relu(t, x, 0.25))
OF(of_clamp, attn_tape_clamp(t, x, -1, 1))
OF(of_log, attn_tape_log(t, x))
OF(of_exp, attn_tape_exp(t, x))
OF(of_sqrt, attn_tape_sqrt(t, x))
OF(of_square, attn_tape_pow_scalar(t, x, 2))
OF(of_cube, attn_tape_pow_scalar(t, x, 3))
OF(of_inverse, attn_tape_pow_scalar(t, x, -1))
OF(of_one, attn_tape_pow_scalar(t, x, 0))
OF(of_self_max, attn_tape_maximum(t, x, attn_tape_stop(t, x)))
OF(of_self_min, attn_tape_minimum(t, attn_tape_stop(t, x), x))
OF(of_max, attn_tape_max(t, x, ATTN_ALL, false))
OF(of_lse, attn_tape_logsumexp(t, x, ATTN_ALL, false))
OF(of_norm, attn_tape_norm(t, x, ATTN_ALL, false))
OF(of_cumprod, attn_tape_cumprod(t, x, 0))
OF(of_cumsum, attn_tape_cumsum(t, x, 0))
OF(of_softmax, attn_tape_softmax(t, x, nothing, 0))
OF(of_log_softmax, attn_tape_log_softmax(t, x, 0))
OF(of_sort, attn_tape_sort(t, x, 0, false, NULL))
OF(of_top, attn_tape_topk(t, x, 2, 0, NULL))
OF(of_argmax, attn_tape_cast(t, attn_tape_argmax(t, x, 0, false)))

typedef struct special {
    const char *what;
    attn_var (*of)(attn_tape *t, attn_var x);
    double x[4], y[4], d[4]; /* d: gradient of the sum of the results */
} special;

static const special specials[] = {
    {"abs", of_abs, {0, -0.0, -2, NIL}, {0, 0, 2, NIL}, {0, 0, -1, 1}},
    {"relu", of_relu, {0, -1, 2, NIL}, {0, 0, 2, NIL}, {0, 0, 1, 1}},
    {"leaky_relu", of_leaky, {0, -1, 2, NIL}, {0, -0.25, 2, NIL}, {0.25, 0.25, 1, 0.25}},
    {"clamp", of_clamp, {-1, 1, 1.5, NIL}, {-1, 1, 1, NIL}, {1, 1, 0, 1}},
    {"log", of_log, {0, -1, 1, INF}, {-INF, NIL, 0, INF}, {INF, -1, 1, 0}},
    {"exp", of_exp, {-INF, 0, INF, NIL}, {0, 1, INF, NIL}, {0, 1, INF, NIL}},
    {"sqrt", of_sqrt, {0, -1, 4, INF}, {0, NIL, 2, INF}, {INF, NIL, 0.25, 0}},
    {"square", of_square, {0, -3, INF, NIL}, {0, 9, INF, NIL}, {0, -6, INF, NIL}},
    {"cube", of_cube, {0, -2, 3, -INF}, {0, -8, 27, -INF}, {0, 12, 27, INF}},
    {"inverse", of_inverse, {-4, 2, 0, INF}, {-0.25, 0.5, INF, 0}, {-0.0625, -0.25, -INF, 0}},
    {"power 0", of_one, {0, -3, INF, 2}, {1, 1, 1, 1}, {0, 0, 0, 0}},
    {"maximum", of_self_max, {0, 1, -INF, NIL}, {0, 1, -INF, NIL}, {1, 1, 1, 1}},
    {"minimum", of_self_min, {0, 1, -INF, NIL}, {0, 1, -INF, NIL}, {0, 0, 0, 0}},
    {"max, ties", of_max, {1, 3, 3, 2}, {3}, {0, 1, 0, 0}},
    {"max, NaN", of_max, {1, NIL, INF, NIL}, {NIL}, {0, 1, 0, 0}},
    {"max, -inf", of_max, {-INF, -INF, -INF, -INF}, {-INF}, {1, 0, 0, 0}},
    {"logsumexp, -inf", of_lse, {-INF, -INF, -INF, -INF}, {-INF}, {0, 0, 0, 0}},
    {"logsumexp, one", of_lse, {-INF, 7, -INF, -INF}, {7}, {0, 1, 0, 0}},
    {"logsumexp, large", of_lse, {-1e308, 1e308, -INF, 0}, {1e308}, {0, 1, 0, 0}},
    {"logsumexp, NaN", of_lse, {0, NIL, -INF, 0}, {NIL}, {NIL, NIL, NIL, NIL}},
    {"logsumexp, inf", of_lse, {0, INF, 1, 0}, {INF}, {NIL, NIL, NIL, NIL}},
    {"norm, 0", of_norm, {0, 0, 0, 0}, {0}, {0, 0, 0, 0}},
    {"norm", of_norm, {2, -4, 5, 2}, {7}, {2.0 / 7, -4.0 / 7, 5.0 / 7, 2.0 / 7}},
    {"cumprod, zeros", of_cumprod, {2, 0, 3, 0}, {2, 0, 0, 0}, {1, 8, 0, 0}},
    {"cumprod, zero first", of_cumprod, {0, 2, 3, 4}, {0, 0, 0, 0}, {33, 0, 0, 0}},
    {"cumsum", of_cumsum, {1, 2, INF, 4}, {1, 3, INF, INF}, {4, 3, 2, 1}},
    {"softmax, -inf", of_softmax, {-INF, -INF, -INF, -INF}, {0, 0, 0, 0}, {0, 0, 0, 0}},
    {"softmax, one", of_softmax, {-INF, 3, -INF, -INF}, {0, 1, 0, 0}, {0, 0, 0, 0}},
    {"softmax, inf", of_softmax, {0, INF, -INF, 1}, {NIL, NIL, 0, NIL}, {NIL, NIL, 0, NIL}},
    {"softmax, NaN", of_softmax, {0, NIL, -INF, 1}, {NIL, NIL, 0, NIL}, {NIL, NIL, 0, NIL}},
    {"log_softmax, one", of_log_softmax, {-INF, 3, -INF, -INF}, {-INF, 0, -INF, -INF}, {0}},
    {"log_softmax, -inf",
     of_log_softmax,
     {-INF, -INF, -INF, -INF},
     {-INF, -INF, -INF, -INF},
     {0}},
    {"sort", of_sort, {NIL, 2, -INF, 2}, {-INF, 2, 2, NIL}, {1, 1, 1, 1}},
    {"topk", of_top, {1, NIL, INF, NIL}, {NIL, NIL}, {0, 1, 0, 1}},
    {"topk, ties", of_top, {1, 1, 1, 1}, {1, 1}, {1, 1, 0, 0}},
    {"argmax, ties", of_argmax, {-1, 5, 5, -2}, {1}, {0}},
    {"argmax, NaN", of_argmax, {INF, 5, NIL, NIL}, {2}, {0}},
};

static void special_check(const special *s, attn_tape *t)
{
    double x[4], one[4] = {1, 1, 1, 1};
    memcpy(x, s->x, sizeof x);
    const attn_var in = attn_tape_param(t, ATTN_TENSOR(x, F64, 4)), out = s->of(t, in);
    const attn_tensor y = attn_tape_value(t, out);
    expect_fine(t);
    for (int i = 0; i < (int)attn_tensor_count(y); i++)
        elem_same(s->what, i, ((const double *)y.data)[i], s->y[i]);
    if (s->of == of_argmax) return;
    const attn_tensor d = attn_tensor_make(one, ATTN_DTYPE_F64, y.rank, y.shape);
    assert_int_equal(attn_tape_backward_from(t, 1, &out, &d, NULL), ATTN_OK);
    const double *grad = attn_tape_grad(t, in).data;
    for (int i = 0; i < 4; i++) elem_same(s->what, 100 + i, grad ? grad[i] : 0, s->d[i]);
}

static void test_special_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof specials / sizeof specials[0]; i++) {
        attn_tape *t = elem_open(ATTN_DTYPE_F64);
        special_check(&specials[i], t);
        attn_tape_destroy(t);
    }
}

/* Zero to a power, in both operands. */
static void test_power_at_zero(void **state)
{
    (void)state;
    double a[4] = {0, 0, 0, 4}, b[4] = {2, 0, 1, 0.5}, one[4] = {1, 1, 1, 1};
    const double y[4] = {0, 1, 0, 2}, da[4] = {0, 0, 1, 0.25}, db[4] = {0, 0, 0, 2 * log(4)};
    attn_tape *t = elem_open(ATTN_DTYPE_F64);
    const attn_var in[2] = {attn_tape_param(t, ATTN_TENSOR(a, F64, 4)),
                            attn_tape_param(t, ATTN_TENSOR(b, F64, 4))};
    const attn_var out = attn_tape_pow(t, in[0], in[1]);
    const attn_tensor d = ATTN_TENSOR(one, F64, 4);
    assert_int_equal(attn_tape_backward_from(t, 1, &out, &d, NULL), ATTN_OK);
    for (int i = 0; i < 4; i++) {
        elem_same("pow", i, ((const double *)attn_tape_value(t, out).data)[i], y[i]);
        elem_same("pow a", i, ((const double *)attn_tape_grad(t, in[0]).data)[i], da[i]);
        elem_same("pow b", i, ((const double *)attn_tape_grad(t, in[1]).data)[i], db[i]);
    }
    attn_tape_destroy(t);
}

/* Slopes far out, where 1 - y has nothing left of them in f32. */
static void test_small_slopes(void **state)
{
    (void)state;
    float x[4] = {12, -12, 30, -30}, one[4] = {1, 1, 1, 1};
    attn_tape *t = elem_open(ATTN_DTYPE_F32);
    const attn_tensor d = ATTN_TENSOR(one, F32, 4);
    const attn_var in[2] = {attn_tape_param(t, ATTN_TENSOR(x, F32, 4)),
                            attn_tape_param(t, ATTN_TENSOR(x, F32, 4))};
    const attn_var out[2] = {attn_tape_tanh(t, in[0]), attn_tape_sigmoid(t, in[1])};
    assert_int_equal(attn_tape_backward_from(t, 2, out, (attn_tensor[]){d, d}, NULL), ATTN_OK);
    for (int i = 0; i < 4; i++) {
        const double e = exp(-fabs((double)x[i])), e2 = e * e;
        const double want[2] = {4 * e2 / ((1 + e2) * (1 + e2)), e / ((1 + e) * (1 + e))};
        for (int k = 0; k < 2; k++) {
            const double got = (double)((const float *)attn_tape_grad(t, in[k]).data)[i];
            if (!(fabs(got - want[k]) <= 1e-5 * want[k]))
                fail_msg("slope %d of %g: %.9g, want %.9g", k, (double)x[i], got, want[k]);
        }
    }
    attn_tape_destroy(t);
}

/* ---- nothing ---------------------------------------------------------------------------- */

static void test_nothing_to_reduce(void **state)
{
    (void)state;
    double none[1] = {0};
    attn_tape *t = elem_open(ATTN_DTYPE_F64);
    const attn_var x = attn_tape_param(t, ATTN_TENSOR(none, F64, 2, 0));
    const attn_var y[4] = {
        attn_tape_sum(t, x, ATTN_DIMS(1), false), attn_tape_mean(t, x, ATTN_DIMS(1), false),
        attn_tape_logsumexp(t, x, ATTN_DIMS(-1), true), attn_tape_norm(t, x, ATTN_ALL, false)};
    const double want[4] = {0, NIL, -INF, 0};
    for (int i = 0; i < 4; i++)
        elem_same("of nothing", i, *(const double *)attn_tape_value(t, y[i]).data, want[i]);
    assert_int_equal(
        attn_tensor_count(attn_tape_value(t, attn_tape_max(t, x, ATTN_DIMS(0), 0))), 0);
    assert_int_equal(attn_tensor_count(attn_tape_value(t, attn_tape_argmax(t, x, 0, true))), 0);
    expect_fine(t);
    attn_tape_destroy(t);
}

/* ---- masks ------------------------------------------------------------------------------ */

/* What a mask forbids may be anything, in the operand and in the gradient that comes in. */
static void test_masked_gradient(void **state)
{
    (void)state;
    float x[6] = {1, NAN, 2, INFINITY, NAN, -INFINITY}, g[6] = {1, NAN, 3, INFINITY, NAN, NAN};
    uint8_t allowed[6] = {1, 0, 255, 0, 0, 0};
    attn_tape *t = elem_open(ATTN_DTYPE_F32);
    const attn_var in = attn_tape_param(t, ATTN_TENSOR(x, F32, 2, 3));
    const attn_var mask = attn_tape_input(t, ATTN_TENSOR(allowed, BOOL, 2, 3));
    const attn_var y = attn_tape_softmax(t, in, mask, 1);
    const attn_tensor d = ATTN_TENSOR(g, F32, 2, 3);
    assert_int_equal(attn_tape_backward_from(t, 1, &y, &d, NULL), ATTN_OK);
    const float *p = attn_tape_value(t, y).data, *got = attn_tape_grad(t, in).data;
    const double a = 1 / (1 + exp(1)), b = 1 - a;
    const double want[6] = {a, 0, b, 0, 0, 0}, slope[6] = {-2 * a * b, 0, 2 * a * b, 0, 0, 0};
    for (int i = 0; i < 6; i++) {
        if (!(fabs((double)p[i] - want[i]) <= 1e-7)) fail_msg("weight %d", i);
        if (!(fabs((double)got[i] - slope[i]) <= 1e-7)) fail_msg("slope %d", i);
    }
    attn_tape_destroy(t);
}

/* where: what is not chosen reaches neither the value nor a gradient. */
static void test_where_hides(void **state)
{
    (void)state;
    float a[2] = {NAN, 2}, g[2] = {NAN, 5};
    bool choose[2] = {false, true};
    attn_tape *t = elem_open(ATTN_DTYPE_F32);
    const attn_var in = attn_tape_param(t, ATTN_TENSOR(a, F32, 2));
    const attn_var y = attn_tape_where(t, attn_tape_input(t, ATTN_TENSOR(choose, BOOL, 2)), in,
                                       attn_tape_scalar(t, 7));
    const attn_tensor d = ATTN_TENSOR(g, F32, 2);
    assert_int_equal(attn_tape_backward_from(t, 1, &y, &d, NULL), ATTN_OK);
    const float *value = attn_tape_value(t, y).data, *got = attn_tape_grad(t, in).data;
    assert_true(value[0] == 7 && value[1] == 2 && got[0] == 0 && got[1] == 5);
    attn_tape_destroy(t);
}

static void test_integers_compare(void **state)
{
    (void)state;
    int64_t a[3] = {INT64_C(1) << 60, 5, -3}, b[3] = {(INT64_C(1) << 60) + 1, 5, -4};
    attn_tape *t = elem_open(ATTN_DTYPE_F32);
    const attn_var x = attn_tape_input(t, ATTN_TENSOR(a, I64, 3));
    const attn_var y = attn_tape_input(t, ATTN_TENSOR(b, I64, 3));
    const uint8_t want[3][3] = {{1, 0, 0}, {1, 1, 0}, {0, 1, 0}};
    const attn_var got[3] = {attn_tape_less(t, x, y), attn_tape_less_equal(t, x, y),
                             attn_tape_equal(t, x, y)};
    for (int i = 0; i < 3; i++)
        assert_memory_equal(attn_tape_value(t, got[i]).data, want[i], 3);
    attn_tape_destroy(t);
}

/* ---- refusals --------------------------------------------------------------------------- */

struct operands {
    attn_var x, ids, wide; /* 2 3, two integers, 2 4 */
};

REFUSED(add_sizes, attn_tape_add(t, v->x, v->wide))
REFUSED(add_nothing, attn_tape_add(t, v->x, nothing))
REFUSED(mul_integers, attn_tape_mul(t, v->x, v->ids))
REFUSED(less_mixed, attn_tape_less(t, v->ids, v->x))
REFUSED(where_real, attn_tape_where(t, v->x, v->x, v->x))
REFUSED(clamp_ends, attn_tape_clamp(t, v->x, 1, 0))
REFUSED(clamp_nan, attn_tape_clamp(t, v->x, NIL, 0))
REFUSED(exp_integers, attn_tape_exp(t, v->ids))
REFUSED(not_real, attn_tape_not(t, v->x))
REFUSED(cast_nothing, attn_tape_cast(t, nothing))
REFUSED(through_rank, attn_tape_straight_through(t, v->x, attn_tape_scalar(t, 1)))
REFUSED(through_size, attn_tape_straight_through(t, v->x, v->wide))
REFUSED(sum_dim, attn_tape_sum(t, v->x, ATTN_DIMS(2), false))
REFUSED(mean_twice, attn_tape_mean(t, v->x, ATTN_DIMS(1, -1), false))
REFUSED(max_none, attn_tape_max(t, attn_tape_slice(t, v->x, 1, 0, 0), ATTN_DIMS(1), false))
REFUSED(argmax_none, attn_tape_argmax(t, attn_tape_slice(t, v->x, 0, 1, 1), 0, false))
REFUSED(argmax_dim, attn_tape_argmax(t, v->x, 2, false))
REFUSED(cumsum_dim, attn_tape_cumsum(t, v->x, -3))
REFUSED(softmax_mask_size, attn_tape_softmax(t, v->x, attn_tape_less(t, v->wide, v->wide), 0))
REFUSED(softmax_mask_large, attn_tape_softmax(t, attn_tape_slice(t, v->x, 0, 0, 1),
                                              attn_tape_less(t, v->x, v->x), 0))
REFUSED(softmax_mask_rank,
        attn_tape_softmax(t, v->x, attn_tape_unsqueeze(t, attn_tape_less(t, v->x, v->x), 0), 0))
REFUSED(softmax_mask_real, attn_tape_softmax(t, v->x, v->x, 0))
REFUSED(softmax_scalar, attn_tape_softmax(t, attn_tape_scalar(t, 1), nothing, 0))
REFUSED(topk_many, attn_tape_topk(t, v->x, 4, 1, NULL))
REFUSED(topk_negative, attn_tape_topk(t, v->x, -1, 1, NULL))
REFUSED(sort_integers, attn_tape_sort(t, v->ids, 0, false, NULL))

static const refusal refusals[] = {
    {add_sizes, ATTN_E_SHAPE, "add", SIZES(3, 4)},
    {add_nothing, ATTN_E_NULL, "add", NO_SIZES},
    {mul_integers, ATTN_E_DTYPE, "mul", NO_SIZES},
    {less_mixed, ATTN_E_DTYPE, "less", NO_SIZES},
    {where_real, ATTN_E_DTYPE, "where", NO_SIZES},
    {clamp_ends, ATTN_E_PARAM, "clamp", NO_SIZES},
    {clamp_nan, ATTN_E_PARAM, "clamp", NO_SIZES},
    {exp_integers, ATTN_E_DTYPE, "exp", NO_SIZES},
    {not_real, ATTN_E_DTYPE, "not", NO_SIZES},
    {cast_nothing, ATTN_E_NULL, "cast", NO_SIZES},
    {through_rank, ATTN_E_RANK, "straight_through", SIZES(2, 0)},
    {through_size, ATTN_E_SHAPE, "straight_through", SIZES(3, 4)},
    {sum_dim, ATTN_E_PARAM, "sum", SIZES(2, 2)},
    {mean_twice, ATTN_E_PARAM, "mean", NO_SIZES},
    {max_none, ATTN_E_SHAPE, "max", SIZES(1, 0)},
    {argmax_none, ATTN_E_SHAPE, "argmax", SIZES(1, 0)},
    {argmax_dim, ATTN_E_PARAM, "argmax", SIZES(2, 2)},
    {cumsum_dim, ATTN_E_PARAM, "cumsum", SIZES(2, -3)},
    {softmax_mask_size, ATTN_E_SHAPE, "softmax", SIZES(3, 4)},
    {softmax_mask_large, ATTN_E_SHAPE, "softmax", SIZES(1, 2)},
    {softmax_mask_rank, ATTN_E_SHAPE, "softmax", SIZES(2, 3)},
    {softmax_mask_real, ATTN_E_DTYPE, "softmax", NO_SIZES},
    {softmax_scalar, ATTN_E_PARAM, "softmax", SIZES(0, 0)},
    {topk_many, ATTN_E_PARAM, "topk", SIZES(3, 4)},
    {topk_negative, ATTN_E_PARAM, "topk", SIZES(0, -1)},
    {sort_integers, ATTN_E_DTYPE, "sort", NO_SIZES},
};

static void elem_works(attn_tape *t, const operands *v)
{
    (void)v;
    assert_true(*(const float *)attn_tape_value(t, attn_tape_scalar(t, 3)).data == 3);
}

static void test_refusals(void **state)
{
    (void)state;
    float x[8] = {0};
    int32_t ids[2] = {0};
    attn_tape *t = elem_open(ATTN_DTYPE_F32);
    const operands v = {attn_tape_param(t, ATTN_TENSOR(x, F32, 2, 3)),
                        attn_tape_input(t, ATTN_TENSOR(ids, I32, 2)),
                        attn_tape_input(t, ATTN_TENSOR(x, F32, 2, 4))};
    refusals_walk(t, REFUSALS(refusals), &v, elem_works);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_special_values),    CASE(test_power_at_zero),   CASE(test_small_slopes),
        CASE(test_nothing_to_reduce), CASE(test_masked_gradient), CASE(test_where_hides),
        CASE(test_integers_compare),  CASE(test_refusals)};
    return cmocka_run_group_tests(tests, tape_setup, tape_finish);
}
