/* SPDX-License-Identifier: MIT
 * Normalisation beyond what test_tape_ops asks of every operation: each bad operand has its
 * status and a sentence, a far mean costs no digits, and the running estimates of batchnorm
 * move once a forward, in a checkpoint too. */
#include "tape_refusal.h"

static float cube[96]; /* x: 2 4 3 4; w: 4 2 3 1 */

static attn_tape *norm_open(void)
{
    for (int i = 0; i < 96; i++) cube[i] = (float)(i * 37 % 96);
    return tape_new(NULL);
}

/* ---- refusals --------------------------------------------------------------------------- */

static const attn_var none;

struct operands {
    attn_var x, w; /* 2 4 3 4, 4 2 3 1 */
};

REFUSED(layer_dims, attn_tape_layernorm(t, v->x, 5, none, none, 0))
REFUSED(layer_none, attn_tape_layernorm(t, v->x, 0, none, none, 0))
REFUSED(layer_size, attn_tape_layernorm(t, v->x, 4, v->w, none, 0))
REFUSED(layer_eps, attn_tape_layernorm(t, v->x, 1, none, none, -1))
REFUSED(layer_nan, attn_tape_layernorm(t, v->x, 1, none, none, (double)NAN))
REFUSED(rms_rank, attn_tape_rmsnorm(t, v->x, v->w, 0))
REFUSED(group_uneven, attn_tape_groupnorm(t, v->x, 3, none, none, 0))
REFUSED(group_none, attn_tape_groupnorm(t, v->x, 0, none, none, 0))
REFUSED(group_size,
        attn_tape_groupnorm(t, v->x, 2, none, attn_tape_reshape(t, v->x, ATTN_DIMS(96)), 0))
REFUSED(batch_missing, attn_tape_batchnorm(t, v->x, none, none, (attn_tensor){0},
                                           (attn_tensor){0}, false, 0, 0))
REFUSED(batch_size, attn_tape_batchnorm(t, v->x, none, none, ATTN_TENSOR(cube, F32, 5),
                                        ATTN_TENSOR(cube, F32, 4), true, 0, 0))
REFUSED(batch_overlap, attn_tape_batchnorm(t, v->x, none, none, ATTN_TENSOR(cube, F32, 4),
                                           ATTN_TENSOR(cube + 3, F32, 4), true, 0, 0))
REFUSED(batch_momentum, attn_tape_batchnorm(t, v->x, none, none, (attn_tensor){0},
                                            (attn_tensor){0}, true, 1.5, 0))

static const refusal refusals[] = {
    {layer_dims, ATTN_E_PARAM, "layernorm", SIZES(4, 5)},
    {layer_none, ATTN_E_PARAM, "layernorm", SIZES(4, 0)},
    {layer_size, ATTN_E_SHAPE, "layernorm", SIZES(2, 4)},
    {layer_eps, ATTN_E_PARAM, "layernorm", NO_SIZES},
    {layer_nan, ATTN_E_PARAM, "layernorm", NO_SIZES},
    {rms_rank, ATTN_E_RANK, "rmsnorm", SIZES(1, 4)},
    {group_uneven, ATTN_E_SHAPE, "groupnorm", SIZES(3, 4)},
    {group_none, ATTN_E_PARAM, "groupnorm", SIZES(1, 0)},
    {group_size, ATTN_E_SHAPE, "groupnorm", SIZES(4, 96)},
    {batch_missing, ATTN_E_NULL, "batchnorm", NO_SIZES},
    {batch_size, ATTN_E_SHAPE, "batchnorm", SIZES(4, 5)},
    {batch_overlap, ATTN_E_ALIAS, "batchnorm", NO_SIZES},
    {batch_momentum, ATTN_E_PARAM, "batchnorm", NO_SIZES},
};

static void norm_works(attn_tape *t, const operands *v)
{
    const attn_var y = attn_tape_layernorm(t, v->x, 2, none, none, 0);
    assert_int_equal(attn_tape_value(t, y).shape[3], 4);
}

static void test_refusals(void **state)
{
    (void)state;
    attn_tape *t = norm_open();
    const operands v = {attn_tape_param(t, ATTN_TENSOR(cube, F32, 2, 4, 3, 4)),
                        attn_tape_param(t, ATTN_TENSOR(cube, F32, 4, 2, 3, 1))};
    refusals_walk(t, REFUSALS(refusals), &v, norm_works);
}

/* ---- running estimates ------------------------------------------------------------------ */

static float batch[6] = {1, 10, 2, 20, 6, 60}; /* 3 2: means 3 and 30, unbiased 7 and 700 */

typedef struct estimates {
    double mean[2], var[2];
} estimates;

static void expect_estimates(const estimates *e, double rounds)
{
    const double kept = pow(0.75, rounds);
    for (int c = 0; c < 2; c++) {
        const double mean = c ? 30 : 3, var = c ? 700 : 7;
        assert_true(fabs(e->mean[c] - mean * (1 - kept)) < 1e-12 * mean);
        assert_true(fabs(e->var[c] - (kept + var * (1 - kept))) < 1e-12 * var);
    }
}

static void batch_segment(attn_tape *t, void *user, const attn_var *in, attn_var *out)
{
    estimates *e = user;
    out[0] = attn_tape_batchnorm(t, in[0], none, none, ATTN_TENSOR(e->mean, F64, 2),
                                 ATTN_TENSOR(e->var, F64, 2), true, 0.25, 0);
}

static void test_running_estimates(void **state)
{
    (void)state;
    estimates e = {{0, 0}, {1, 1}};
    attn_tape *t = norm_open();
    const attn_var x = attn_tape_param(t, ATTN_TENSOR(batch, F32, 3, 2));
    attn_var y;
    batch_segment(t, &e, &x, &y);
    expect_estimates(&e, 1);
    const attn_var square = attn_tape_mul(t, y, y);
    assert_int_equal(
        attn_tape_backward(t, attn_tape_sum(t, square, ATTN_DIMS(0, 1), false), NULL), ATTN_OK);
    expect_estimates(&e, 1);
    batch_segment(t, &e, &x, &y);
    expect_estimates(&e, 2);
    attn_tape_destroy(t);
}

static void test_checkpoint_moves_them_once(void **state)
{
    (void)state;
    estimates e = {{0, 0}, {1, 1}};
    attn_tape *t = norm_open();
    const attn_var x = attn_tape_param(t, ATTN_TENSOR(batch, F32, 3, 2));
    const attn_tensor d = ATTN_TENSOR(cube, F32, 3, 2);
    attn_var y;
    assert_true(attn_tape_checkpoint(t, batch_segment, &e, 1, &x, 1, &y));
    expect_estimates(&e, 1);
    assert_int_equal(attn_tape_backward_from(t, 1, &y, &d, NULL), ATTN_OK);
    expect_estimates(&e, 1);
    assert_true(attn_tape_grad(t, x).data != NULL);
    attn_tape_destroy(t);
}

/* One element has no unbiased variance: that estimate stays, the mean moves. */
static void test_single_element(void **state)
{
    (void)state;
    double mean[2] = {0, 0}, var[2] = {1, 1};
    attn_tape *t = norm_open();
    const attn_var y =
        attn_tape_batchnorm(t, attn_tape_input(t, ATTN_TENSOR(batch, F32, 1, 2)), none, none,
                            ATTN_TENSOR(mean, F64, 2), ATTN_TENSOR(var, F64, 2), true, 0, 0);
    const float *got = attn_tape_value(t, y).data;
    assert_true(got[0] == 0 && got[1] == 0);
    assert_true(fabs(mean[0] - 0.1) < 1e-15 && fabs(mean[1] - 1) < 1e-15);
    assert_true(var[0] == 1 && var[1] == 1);
    attn_tape_destroy(t);
}

/* No sample at all moves nothing, and a far mean costs no digits of the variance. */
static void test_far_from_zero(void **state)
{
    (void)state;
    double mean[2] = {5, 6}, var[2] = {1, 1};
    float far[4] = {16777216, 16777218, 16777216, 16777218};
    attn_tape *t = norm_open();
    (void)attn_tape_batchnorm(t, attn_tape_input(t, ATTN_TENSOR(batch, F32, 0, 2)), none, none,
                              ATTN_TENSOR(mean, F64, 2), ATTN_TENSOR(var, F64, 2), true, 0, 0);
    assert_true(mean[0] == 5 && mean[1] == 6 && var[0] == 1 && var[1] == 1);
    const attn_var y =
        attn_tape_layernorm(t, attn_tape_input(t, ATTN_TENSOR(far, F32, 4)), 1, none, none, 0);
    const float *got = attn_tape_value(t, y).data;
    expect_fine(t);
    for (int i = 0; i < 4; i++) assert_true(fabs((double)got[i] - (i % 2 ? 1 : -1)) < 1e-5);
    attn_tape_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_refusals),
        CASE(test_running_estimates),
        CASE(test_checkpoint_moves_them_once),
        CASE(test_single_element),
        CASE(test_far_from_zero),
    };
    return cmocka_run_group_tests(tests, tape_setup, tape_finish);
}
