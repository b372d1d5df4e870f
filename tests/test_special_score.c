/* SPDX-License-Identifier: MIT
 * Special values under scores that are no products: what is NaN stays where it is used, what is
 * too far apart for a square has no weight and no gradient, an infinity bends to 1. The places
 * are those of test_special. */
#include "special.h"

static void special_rows_of_k(special *s, int64_t head, int64_t j, double value)
{
    for (int64_t d = 0; d < SPECIAL_D; d++)
        safety_put(s->args.k, (head * SPECIAL_S + j) * SPECIAL_D + d, value);
}

static void special_contained(special *s, attn_score_kind score)
{
    attn_tensor q = safety_copy(s->args.q);
    s->spec.score = score;
    special_run_clean(s);
    safety_put(s->args.q, special_row(1, s->i) * SPECIAL_D + s->j % SPECIAL_D, (double)NAN);
    special_run(s);
    special_row_is_nan(s, 1, s->i);
    special_others_are_clean(s, 1, s->i);
    s->args.q = q;
    safety_put(s->args.k, s->j * SPECIAL_D + 3, (double)NAN);
    special_run(s);
    for (int64_t i = 0; i < SPECIAL_T; i++) special_row_is_nan(s, 0, i);
    for (int64_t i = 0; i < SPECIAL_T; i++) assert_true(special_row_is_clean(s, 1, i));
}

static void special_nan_l2(special *s)
{
    special_contained(s, ATTN_SCORE_L2);
}

static void special_nan_additive(special *s)
{
    special_contained(s, ATTN_SCORE_ADDITIVE);
}

/* A key whose distance overflows, even one at infinity, is as good as forbidden. */
static void special_far(special *s, double value)
{
    attn_tensor mask = SAFETY_EMPTY(BOOL, SPECIAL_S);
    memset(mask.data, 1, SPECIAL_S);
    s->spec.score = ATTN_SCORE_L2;
    special_rows_of_k(s, 1, s->j, value);
    special_run_clean(s);
    safety_put(mask, s->j, 0);
    s->args.mask = mask;
    special_run(s);
    for (int64_t i = 0; i < SPECIAL_T; i++) assert_true(special_row_is_clean(s, 1, i));
    assert_true(isfinite(special_lse(s, 1, s->i)));
}

static void special_far_key(special *s)
{
    special_far(s, s->dtype == ATTN_DTYPE_F64 ? DBL_MAX : (double)FLT_MAX);
    s->args.mask = (attn_tensor){0};
    special_far(s, (double)INFINITY);
}

/* No gradient comes from it or goes to it. */
static void special_far_gradient(special *s)
{
    attn_args *a = &s->args;
    s->spec.score = ATTN_SCORE_L2;
    special_rows_of_k(s, 1, s->j, -(double)INFINITY);
    a->lse = SAFETY_EMPTY(F64, 1, SPECIAL_H, SPECIAL_T);
    special_run(s);
    a->d_out = safety_filled(s->dtype, 5, SAFETY_DIMS(1, SPECIAL_H, SPECIAL_T, SPECIAL_E));
    a->d_q = safety_make(s->dtype, SAFETY_DIMS(1, SPECIAL_H, SPECIAL_T, SPECIAL_D));
    a->d_k = safety_make(s->dtype, SAFETY_DIMS(1, SPECIAL_H, SPECIAL_S, SPECIAL_D));
    assert_int_equal(attn_backward(s->ctx, &s->spec, a, NULL), ATTN_OK);
    for (int64_t i = 0; i < safety_count(a->d_q); i++)
        assert_true(isfinite(safety_at(a->d_q, i)));
    for (int64_t i = 0; i < safety_count(a->d_k); i++)
        assert_true(isfinite(safety_at(a->d_k, i)));
    for (int64_t d = 0; d < SPECIAL_D; d++)
        assert_true(safety_plus_zero(safety_at(a->d_k, (SPECIAL_S + s->j) * SPECIAL_D + d)));
}

/* tanh is 1 at infinity, and long before. */
static void special_additive_inf(special *s)
{
    s->spec.score = ATTN_SCORE_ADDITIVE;
    special_rows_of_k(s, 1, s->j, 1000);
    special_run_clean(s);
    special_rows_of_k(s, 1, s->j, (double)INFINITY);
    special_run(s);
    special_all_clean(s);
}

/* One centre that is NaN: with a width its row sees nothing, with a gaussian it is NaN. */
static void special_center_nan(special *s)
{
    s->args.center = safety_make(s->dtype, SAFETY_DIMS(SPECIAL_H, SPECIAL_T));
    for (int64_t i = 0; i < safety_count(s->args.center); i++)
        safety_put(s->args.center, i, (double)(10 * i % SPECIAL_S));
    s->spec.center_sigma = 50;
    special_run_clean(s);
    safety_put(s->args.center, SPECIAL_T + s->i, (double)NAN);
    special_run(s);
    special_row_is_nan(s, 1, s->i);
    special_others_are_clean(s, 1, s->i);
    s->spec.center_width = 3;
    special_run(s);
    assert_true(special_lse(s, 1, s->i) == -(double)INFINITY);
    for (int64_t e = 0; e < SPECIAL_E; e++)
        assert_true(safety_plus_zero(special_out(s, 1, s->i, e)));
}

/* clang-format off */
#define CHECKS(X) \
    X(nan_l2) X(nan_additive) X(far_key) X(far_gradient) X(additive_inf) X(center_nan)
/* clang-format on */

#define X(name) static special_check check_##name = special_##name;
CHECKS(X)
#undef X

int main(void)
{
#define X(name) SAFETY_ROW("special_" #name, special_each, &check_##name),
    const struct CMUnitTest tests[] = {CHECKS(X)};
#undef X
    return cmocka_run_group_tests_name("special_score", tests, NULL, safety_finish);
}
