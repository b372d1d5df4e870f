/* SPDX-License-Identifier: MIT
 * Losses and chance where numbers are extreme or a rule must hold: logits of +-1e4 and -inf,
 * ignored and masked rows, impossible alignments, hard draws, frequencies, refusals. (Values
 * and slopes of ordinary cases: test_tape_ops.c.) */
#include "tape_refusal.h"

static attn_tensor loss_ids(int64_t n, const int64_t *ids)
{
    attn_tensor t = test_tensor(&arena, ATTN_DTYPE_I64, 1, &n);
    memcpy(t.data, ids, (size_t)n * sizeof *ids);
    return t;
}

#define IDS(...)                                                                               \
    loss_ids((int64_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),                    \
             (const int64_t[]){__VA_ARGS__})

static attn_tensor loss_shaped(attn_tensor list, int rank, const int64_t *shape)
{
    return attn_tensor_make(list.data, list.dtype, rank, shape);
}

#define SHAPED(list, ...)                                                                      \
    loss_shaped((list), (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),             \
                (const int64_t[]){__VA_ARGS__})

static float loss_at(attn_tensor t, int64_t i)
{
    return ((const float *)t.data)[i];
}

/* ---- cross-entropy ----------------------------------------------------------------------- */

static void loss_extreme_logits(void **state)
{
    (void)state;
    attn_tape *t = tape_new(NULL);
    const double inf = (double)INFINITY;
    attn_var x = attn_tape_param(
        t, SHAPED(LIST(1e4, -1e4, 0, -1e4, 1e4, 0, 3, -inf, 3, -1e4, -1e4, -1e4), 4, 3));
    attn_var ids = attn_tape_input(t, IDS(0, 0, 2, 1));
    attn_var y = attn_tape_cross_entropy(t, x, ids, 0, -1, ATTN_REDUCE_NONE);
    const attn_tensor value = attn_tape_value(t, y);
    assert_true(loss_at(value, 0) == 0);
    assert_true(loss_at(value, 1) == 20000);
    assert_true(fabs((double)loss_at(value, 2) - log(2)) < 1e-7);
    assert_true(fabs((double)loss_at(value, 3) - log(3)) < 1e-7);
    assert_int_equal(attn_tape_backward(t, tape_total(t, y), NULL), ATTN_OK);
    const float third = 1.0F / 3;
    const attn_tensor d = attn_tape_grad(t, x);
    const float want[] = {0, 0, 0, -1, 1, 0, 0.5F, 0, -0.5F, third, third - 1, third};
    for (int64_t i = 0; i < 12; i++)
        assert_true(fabs((double)loss_at(d, i) - (double)want[i]) < 1e-6);
    attn_tape_destroy(t);
}

/* A NaN where the class is the ignored number is not looked at; nothing at all costs 0. */
static void loss_ignored(void **state)
{
    (void)state;
    const double nan = (double)NAN, inf = (double)INFINITY;
    attn_tape *t = tape_new(NULL);
    attn_var x = attn_tape_param(t, SHAPED(LIST(nan, nan, 1, 1, inf, nan), 3, 2));
    attn_var y = attn_tape_cross_entropy(t, x, attn_tape_input(t, IDS(-100, 1, -100)), 0.1,
                                         -100, ATTN_REDUCE_MEAN);
    assert_true(fabs((double)loss_at(attn_tape_value(t, y), 0) - log(2)) < 1e-7);
    assert_int_equal(attn_tape_backward(t, y, NULL), ATTN_OK);
    const float want[] = {0, 0, 0.5F - 0.05F, -0.45F, 0, 0};
    for (int64_t i = 0; i < 6; i++)
        assert_true(fabs((double)(loss_at(attn_tape_grad(t, x), i) - want[i])) < 1e-6);
    attn_var none =
        attn_tape_cross_entropy(t, x, attn_tape_input(t, IDS(7, 7, 7)), 0, 7, ATTN_REDUCE_MEAN);
    assert_true(loss_at(attn_tape_value(t, none), 0) == 0);
    attn_tape_zero_grads(t);
    assert_int_equal(attn_tape_backward(t, none, NULL), ATTN_OK);
    for (int64_t i = 0; i < 6; i++) assert_true(loss_at(attn_tape_grad(t, x), i) == 0);
    attn_tape_destroy(t);
}

/* A million terms of one size: the mean is rounded once. */
static void loss_long_mean(void **state)
{
    (void)state;
    enum { N = 1000003 };
    attn_tape *t = tape_new(NULL);
    attn_tensor a = TEST_TENSOR(&arena, F32, N), b = TEST_TENSOR(&arena, F32, N);
    test_fill_value(&a, 0.1);
    attn_var x = attn_tape_input(t, a), y = attn_tape_input(t, b);
    const double tenth = (double)0.1F;
    attn_var l1 = attn_tape_l1(t, x, y, ATTN_REDUCE_MEAN);
    attn_var mse = attn_tape_mse(t, x, y, ATTN_REDUCE_SUM);
    assert_true(loss_at(attn_tape_value(t, l1), 0) == 0.1F);
    assert_true(loss_at(attn_tape_value(t, mse), 0) == (float)(tenth * tenth * N));
    attn_tape_destroy(t);
}

static void loss_extreme_bce(void **state)
{
    (void)state;
    attn_tape *t = tape_new(NULL);
    attn_var x = attn_tape_param(t, LIST(1e4, -1e4, 1e4, 60, -60, (double)INFINITY, 0));
    attn_var target = attn_tape_param(t, LIST(1, 0, 0, 1, 0, 1, 0.5));
    attn_var y = attn_tape_bce(t, x, target, ATTN_REDUCE_NONE);
    const double want[] = {0, 0, 1e4, 8.75651076e-27, 8.75651076e-27, 0, 0.69314718};
    for (int64_t i = 0; i < 7; i++)
        assert_true(fabs((double)loss_at(attn_tape_value(t, y), i) - want[i]) <=
                    1e-6 * want[i]);
    attn_tape_destroy(t);
}

/* ---- ctc --------------------------------------------------------------------------------- */

/* Sample 0 needs 3 frames (a blank between equal targets) and has 2; sample 1 is well. */
static void loss_impossible_ctc(void **state)
{
    (void)state;
    enum { T = 3, B = 2, C = 2 };
    attn_tape *t = tape_new(NULL);
    const attn_tensor x = tape_normal(5, 3, (const int64_t[]){T, B, C});
    attn_var logp = attn_tape_param(t, x);
    attn_var targets = attn_tape_input(t, SHAPED(IDS(1, 1, 1, 0), B, 2));
    attn_var y = attn_tape_ctc(t, logp, targets, attn_tape_input(t, IDS(2, 3)),
                               attn_tape_input(t, IDS(2, 1)), 0, ATTN_REDUCE_NONE);
    assert_true(loss_at(attn_tape_value(t, y), 0) == INFINITY);
    assert_true(isfinite(loss_at(attn_tape_value(t, y), 1)));
    attn_var sum = attn_tape_sum(t, y, ATTN_ALL, false);
    assert_int_equal(attn_tape_backward(t, sum, NULL), ATTN_OK);
    const attn_tensor d = attn_tape_grad(t, logp);
    double whole = 0;
    for (int64_t i = 0; i < T * B * C; i++) {
        if (i / C % B == 0) assert_true(loss_at(d, i) == 0);
        whole += (double)loss_at(d, i);
    }
    assert_true(fabs(whole + T) < 1e-5); /* each frame of sample 1 is some class */
    attn_tape_destroy(t);
}

/* ---- chance ------------------------------------------------------------------------------ */

static void loss_hard_gumbel(void **state)
{
    (void)state;
    const attn_tensor logits = tape_normal(9, 3, (const int64_t[]){4, 5, 3});
    const attn_tensor weights = tape_normal(10, 3, (const int64_t[]){4, 5, 3});
    for (int dim = 0; dim < 3; dim++) {
        attn_tape *t = tape_new(NULL), *other = tape_new(NULL);
        attn_var x = attn_tape_param(t, logits), z = attn_tape_param(other, logits);
        attn_var soft = attn_tape_gumbel_softmax(t, x, 0.7, false, dim, 77);
        attn_var hard = attn_tape_gumbel_softmax(other, z, 0.7, true, dim - 3, 77);
        attn_var ids = attn_tape_argmax(t, soft, dim, true);
        const attn_tensor h = attn_tape_value(other, hard), at = attn_tape_value(t, ids);
        int64_t index[3] = {0};
        do {
            int64_t line[3] = {index[0], index[1], index[2]};
            line[dim] = 0;
            assert_true(test_get(&h, index) ==
                        (double)(test_get(&at, line) == (double)index[dim]));
        } while (test_index_next(&h, index));
        assert_int_equal(attn_tape_backward_from(t, 1, &soft, &weights, NULL), ATTN_OK);
        assert_int_equal(attn_tape_backward_from(other, 1, &hard, &weights, NULL), ATTN_OK);
        assert_true(test_same_bits(attn_tape_grad(t, x), attn_tape_grad(other, z)));
        attn_tape_destroy(t);
        attn_tape_destroy(other);
    }
}

/* Dropped elements are not looked at; one in p of them goes; seeds differ. */
static void loss_dropout_share(void **state)
{
    (void)state;
    enum { N = 100000 };
    attn_tape *t = tape_new(NULL);
    attn_tensor ones = TEST_TENSOR(&arena, F32, N), nans = TEST_TENSOR(&arena, F32, N);
    test_fill_value(&ones, 1);
    test_fill_value(&nans, (double)NAN);
    attn_var x = attn_tape_input(t, ones);
    const attn_tensor a = attn_tape_value(t, attn_tape_dropout(t, x, 0.3, 1));
    const attn_tensor b = attn_tape_value(t, attn_tape_dropout(t, x, 0.3, 1));
    const attn_tensor c = attn_tape_value(t, attn_tape_dropout(t, x, 0.3, UINT64_C(1) << 32));
    const attn_tensor all =
        attn_tape_value(t, attn_tape_dropout(t, attn_tape_input(t, nans), 1, 1));
    int64_t dropped = 0, same = 0;
    for (int64_t i = 0; i < N; i++) {
        assert_true(loss_at(a, i) == 0 || loss_at(a, i) == (float)(1 / 0.7));
        assert_true(loss_at(all, i) == 0);
        dropped += loss_at(a, i) == 0;
        same += loss_at(a, i) == loss_at(c, i);
    }
    assert_true(test_same_bits(a, b));
    assert_true(llabs(dropped - 30000) < 5 * 145);
    assert_true(llabs(same - 58000) < 5 * 156);
    attn_tape_destroy(t);
}

/* Draws come as often as the softmax says, and what is forbidden never. */
static void loss_categorical_share(void **state)
{
    (void)state;
    enum { N = 40000, C = 4 };
    const double p[C] = {0.1, 0.0, 0.6, 0.3};
    int64_t drawn[C] = {0};
    attn_tape *t = tape_new(NULL);
    attn_tensor row = LIST(log(p[0]), log(p[1]), log(p[2]), log(p[3]));
    row.rank = 2;
    row.shape[1] = C, row.stride[1] = 1;
    row.shape[0] = N, row.stride[0] = 0;
    attn_var ids = attn_tape_categorical(t, attn_tape_input(t, row), 31);
    const int64_t *id = attn_tape_value(t, ids).data;
    for (int64_t i = 0; i < N; i++) drawn[id[i]]++;
    assert_int_equal(drawn[1], 0);
    for (int c = 0; c < C; c++) {
        const double away = (double)drawn[c] - N * p[c];
        assert_true(away * away <= 25 * N * p[c] * (1 - p[c]));
    }
    attn_tape_destroy(t);
}

/* ---- refusals ---------------------------------------------------------------------------- */

struct operands {
    attn_var x, row, ids, far;
};

REFUSED(bad_class, attn_tape_cross_entropy(t, v->x, v->far, 0, -1, ATTN_REDUCE_MEAN))
REFUSED(bad_minus, attn_tape_log_prob(t, v->x, attn_tape_input(t, IDS(0, -1))))
REFUSED(bad_rows, attn_tape_log_prob(t, v->x, attn_tape_input(t, IDS(0, 1, 0))))
REFUSED(bad_smoothing, attn_tape_cross_entropy(t, v->x, v->ids, 1.5, -1, ATTN_REDUCE_MEAN))
REFUSED(bad_reduction, attn_tape_mse(t, v->x, v->x, (attn_reduction)3))
REFUSED(bad_pair, attn_tape_l1(t, v->x, attn_tape_input(t, SHAPED(LIST(1, 2, 3, 4), 2, 2)),
                               ATTN_REDUCE_SUM))
REFUSED(bad_broadcast, attn_tape_mse(t, v->x, v->row, ATTN_REDUCE_SUM))
REFUSED(bad_delta, attn_tape_huber(t, v->x, v->x, 0, ATTN_REDUCE_SUM))
REFUSED(bad_absent, attn_tape_bce(t, v->x, (attn_var){0}, ATTN_REDUCE_SUM))
REFUSED(bad_p, attn_tape_dropout(t, v->x, -0.1, 1))
REFUSED(bad_temperature, attn_tape_gumbel_softmax(t, v->x, 0, true, 0, 1))
REFUSED(bad_dim, attn_tape_gumbel_softmax(t, v->x, 1, true, 2, 1))
REFUSED(bad_draw, attn_tape_categorical(t, attn_tape_input(t, ATTN_TENSOR(NULL, F32, 2, 0)), 1))

static void loss_ctc(attn_tape *t, const int64_t *target, int64_t frames, int64_t length,
                     int64_t blank)
{
    attn_var logp = attn_tape_input(t, SHAPED(LIST(1, 2, 3, 4, 5, 6), 2, 1, 3));
    (void)attn_tape_ctc(t, logp, attn_tape_input(t, SHAPED(loss_ids(2, target), 1, 2)),
                        attn_tape_input(t, loss_ids(1, &frames)),
                        attn_tape_input(t, loss_ids(1, &length)), blank, ATTN_REDUCE_SUM);
}

REFUSED(bad_frames, loss_ctc(t, (const int64_t[]){1, 2}, 3, 1, 0))
REFUSED(bad_length, loss_ctc(t, (const int64_t[]){1, 2}, 2, -1, 0))
REFUSED(bad_target, loss_ctc(t, (const int64_t[]){1, 3}, 2, 2, 0))
REFUSED(bad_target_blank, loss_ctc(t, (const int64_t[]){1, 2}, 2, 2, 2))
REFUSED(bad_blank, loss_ctc(t, (const int64_t[]){1, 2}, 2, 1, 3))

static const refusal refusals[] = {
    {bad_class, ATTN_E_PARAM, "cross_entropy", SIZES(3, 9)},
    {bad_minus, ATTN_E_PARAM, "log_prob", SIZES(3, -1)},
    {bad_rows, ATTN_E_SHAPE, "log_prob", SIZES(2, 3)},
    {bad_smoothing, ATTN_E_PARAM, "cross_entropy", WORD("smoothing")},
    {bad_reduction, ATTN_E_ENUM, "mse", SAYS(2, 3, "reduction")},
    {bad_pair, ATTN_E_SHAPE, "l1", SIZES(3, 2)},
    {bad_broadcast, ATTN_E_RANK, "mse", SIZES(2, 1)},
    {bad_delta, ATTN_E_PARAM, "huber", WORD("delta")},
    {bad_absent, ATTN_E_NULL, "bce", WORD("empty")},
    {bad_p, ATTN_E_PARAM, "dropout", WORD("p must be")},
    {bad_temperature, ATTN_E_PARAM, "gumbel_softmax", WORD("temperature")},
    {bad_dim, ATTN_E_PARAM, "gumbel_softmax", SAYS(2, 2, "dimension")},
    {bad_draw, ATTN_E_SHAPE, "categorical", SIZES(1, 0)},
    {bad_frames, ATTN_E_LENGTH, "ctc", SIZES(2, 3)},
    {bad_length, ATTN_E_LENGTH, "ctc", SIZES(2, -1)},
    {bad_target, ATTN_E_PARAM, "ctc", SIZES(3, 3)},
    {bad_target_blank, ATTN_E_PARAM, "ctc", SAYS(3, 2, "blank")},
    {bad_blank, ATTN_E_PARAM, "ctc", SIZES(3, 3)},
};

static void loss_works(attn_tape *t, const operands *v)
{
    attn_var y = attn_tape_cross_entropy(t, v->x, v->ids, 0, -1, ATTN_REDUCE_MEAN);
    assert_int_equal(attn_tape_backward(t, y, NULL), ATTN_OK);
}

static void loss_refusals(void **state)
{
    (void)state;
    attn_tape *t = tape_new(NULL);
    const operands v = {attn_tape_param(t, SHAPED(LIST(1, 2, 3, 4, 5, 6), 2, 3)),
                        attn_tape_input(t, LIST(1, 2, 3)), attn_tape_input(t, IDS(0, 2)),
                        attn_tape_input(t, IDS(0, 9))};
    refusals_walk(t, REFUSALS(refusals), &v, loss_works);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(loss_extreme_logits), CASE(loss_ignored),           CASE(loss_long_mean),
        CASE(loss_extreme_bce),    CASE(loss_impossible_ctc),    CASE(loss_hard_gumbel),
        CASE(loss_dropout_share),  CASE(loss_categorical_share), CASE(loss_refusals)};
    return cmocka_run_group_tests(tests, tape_setup, tape_finish);
}
