/* SPDX-License-Identifier: MIT
 * Special values in places that count: NaN, infinities, denormals, the largest numbers, empty
 * shapes. Each case runs on every instruction set, in f32 and f64, at positions around the
 * edges of lanes, panels and chunks.
 *
 * What a special value may change is as important as what it must: all other rows keep their
 * bits. */
#include "special.h"

static double special_limit(const special *s)
{
    return s->dtype == ATTN_DTYPE_F64 ? DBL_MAX : (double)FLT_MAX;
}

/* ---- NaN and infinity in q, k, v -------------------------------------------------------- */

static void special_q_nan(special *s)
{
    special_run_clean(s);
    safety_put(s->args.q, special_row(1, s->i) * SPECIAL_D + s->j % SPECIAL_D, (double)NAN);
    special_run(s);
    special_row_is_nan(s, 1, s->i);
    special_others_are_clean(s, 1, s->i);
}

static void special_k_nan(special *s)
{
    special_run_clean(s);
    safety_put(s->args.k, (0 * SPECIAL_S + s->j) * SPECIAL_D + 3, (double)NAN);
    special_run(s);
    for (int64_t i = 0; i < SPECIAL_T; i++) special_row_is_nan(s, 0, i);
    for (int64_t i = 0; i < SPECIAL_T; i++) assert_true(special_row_is_clean(s, 1, i));
}

static void special_v_nan(special *s)
{
    int64_t e = s->j % SPECIAL_E;
    special_run_clean(s);
    safety_put(s->args.v, (SPECIAL_S + s->j) * SPECIAL_E + e, (double)NAN);
    special_run(s);
    safety_same(s->args.lse, s->clean_lse, "lse does not see v");
    for (int64_t i = 0; i < SPECIAL_T; i++) {
        assert_true(special_is_nan(s, 1, i, e));
        safety_put(s->args.out, special_row(1, i) * SPECIAL_E + e, 0);
        safety_put(s->clean_out, special_row(1, i) * SPECIAL_E + e, 0);
    }
    special_all_clean(s);
}

static void special_v_inf(special *s)
{
    int64_t e = s->i % SPECIAL_E;
    special_run_clean(s);
    safety_put(s->args.v, s->j * SPECIAL_E + e, (double)-INFINITY);
    special_run(s);
    for (int64_t i = 0; i < SPECIAL_T; i++)
        assert_true(special_out(s, 0, i, e) == (double)-INFINITY);
    for (int64_t i = 0; i < SPECIAL_T; i++) assert_true(special_row_is_clean(s, 1, i));
}

/* ---- scores beyond the range of the arithmetic --------------------------------------- */

static void special_put_key(special *s, int64_t j, double value)
{
    for (int64_t d = 0; d < SPECIAL_D; d++)
        safety_put(s->args.k, (1 * SPECIAL_S + j) * SPECIAL_D + d, value);
}

static void special_put_query(special *s, int64_t i, double value)
{
    for (int64_t d = 0; d < SPECIAL_D; d++)
        safety_put(s->args.q, special_row(1, i) * SPECIAL_D + d, value);
}

static void special_score_overflows_up(special *s)
{
    double big = sqrt(special_limit(s));
    special_run_clean(s);
    special_put_query(s, s->i, big);
    special_put_key(s, s->j, big);
    special_run(s);
    special_row_is_nan(s, 1, s->i);
    for (int64_t i = 0; i < SPECIAL_T; i++) assert_true(special_row_is_clean(s, 0, i));
}

/* Below the range: weight 0, so the row is what it is without the key. */
static void special_score_overflows_down(special *s)
{
    double big = sqrt(special_limit(s));
    attn_tensor mask = SAFETY_EMPTY(BOOL, SPECIAL_S);
    memset(mask.data, 1, SPECIAL_S);
    special_put_query(s, s->i, big);
    special_put_key(s, s->j, -big);
    special_run_clean(s);
    safety_put(mask, s->j, 0);
    s->args.mask = mask;
    special_run(s);
    assert_true(special_row_is_clean(s, 1, s->i));
    assert_true(isfinite(special_lse(s, 1, s->i)));
}

/* ---- bias and additive masks --------------------------------------------------------- */

static attn_tensor special_bias(special *s, double fill)
{
    attn_tensor t = safety_make(s->dtype, SAFETY_DIMS(SPECIAL_T, SPECIAL_S));
    test_fill_value(&t, fill);
    return t;
}

static void special_bias_breaks_row(special *s, attn_tensor *field, double value)
{
    *field = special_bias(s, 0);
    special_run_clean(s);
    safety_put(*field, s->i * SPECIAL_S + s->j, value);
    special_run(s);
    for (int64_t h = 0; h < SPECIAL_H; h++) special_row_is_nan(s, h, s->i);
    special_others_are_clean(s, -1, s->i);
    *field = (attn_tensor){0};
}

static void special_bias_nan(special *s)
{
    special_bias_breaks_row(s, &s->args.bias, (double)NAN);
    special_bias_breaks_row(s, &s->args.bias_pre, (double)NAN);
    special_bias_breaks_row(s, &s->args.mask, (double)NAN);
}

static void special_bias_inf(special *s)
{
    special_bias_breaks_row(s, &s->args.bias, (double)INFINITY);
    special_bias_breaks_row(s, &s->args.mask, (double)INFINITY);
}

/* The lowest finite number is a number: a row full of it is a uniform softmax. */
static void special_bias_min(special *s)
{
    s->args.bias = special_bias(s, 0);
    special_run_clean(s);
    for (int64_t j = 0; j < SPECIAL_S; j++)
        safety_put(s->args.bias, s->i * SPECIAL_S + j, -special_limit(s));
    special_run(s);
    for (int64_t e = 0; e < SPECIAL_E; e++) {
        double mean = 0;
        for (int64_t j = 0; j < SPECIAL_S; j++)
            mean += safety_at(s->args.v, j * SPECIAL_E + e) / SPECIAL_S;
        safety_near(special_out(s, 0, s->i, e), mean, 1e-5, "uniform softmax");
    }
    special_others_are_clean(s, -1, s->i);
}

/* One ordinary key among lowest ones takes all the weight, also when two planes are summed. */
static void special_bias_min_twice(special *s)
{
    s->args.bias = special_bias(s, -special_limit(s));
    s->args.mask = special_bias(s, -special_limit(s));
    for (int64_t i = 0; i < SPECIAL_T; i++) {
        safety_put(s->args.bias, i * SPECIAL_S + s->j, 0);
        safety_put(s->args.mask, i * SPECIAL_S + s->j, 0);
    }
    special_run(s);
    for (int64_t h = 0; h < SPECIAL_H; h++)
        for (int64_t i = 0; i < SPECIAL_T; i++)
            for (int64_t e = 0; e < SPECIAL_E; e++)
                safety_near(special_out(s, h, i, e),
                            safety_at(s->args.v, (h * SPECIAL_S + s->j) * SPECIAL_E + e), 0,
                            "the only ordinary key");
}

/* ---- denormals and the largest numbers ----------------------------------------------- */

static double special_tiny(const special *s)
{
    return s->dtype == ATTN_DTYPE_F64 ? 0x1p-1074 : 0x1p-149;
}

static void special_v_denormal(special *s)
{
    double tiny = special_tiny(s);
    for (int64_t j = 0, n = safety_count(s->args.v); j < n; j++)
        safety_put(s->args.v, j, 64 * tiny);
    special_run(s);
    for (int64_t n = safety_count(s->args.out), x = 0; x < n; x++)
        safety_near(safety_at(s->args.out, x), 64 * tiny, tiny, "mean of denormals");
}

/* Denormal q times a large k is an ordinary score. */
static void special_q_denormal(special *s)
{
    double small = special_tiny(s) * (s->dtype == ATTN_DTYPE_F64 ? 0x1p51 : 0x1p22);
    special_put_query(s, s->i, 0);
    safety_put(s->args.q, special_row(1, s->i) * SPECIAL_D, small);
    for (int64_t j = 0; j < SPECIAL_S; j++) special_put_key(s, j, 0);
    safety_put(s->args.k, (SPECIAL_S + s->j) * SPECIAL_D, 0.5 / small);
    s->spec.scale = 16;
    special_run(s);
    double weight = exp(8) / (exp(8) + SPECIAL_S - 1);
    safety_near(special_lse(s, 1, s->i), 8 - log(weight), 1e-5, "lse of one score 8");
}

static void special_v_largest(special *s)
{
    attn_args *a = &s->args;
    a->k = attn_tensor_slice(a->k, 2, s->j, s->j + 1);
    a->v = attn_tensor_slice(a->v, 2, s->j, s->j + 1);
    test_fill_value(&a->v, special_limit(s));
    special_run(s);
    for (int64_t n = safety_count(a->out), x = 0; x < n; x++)
        assert_true(safety_at(a->out, x) == special_limit(s));
}

/* ---- nothing, and things between things --------------------------------------------- */

/* A dimension of 0: success, and only what has elements is written. */
static void special_empty_shapes(special *s)
{
    static const int64_t shapes[][6] = {/* B H T S D E */
                                        {0, 2, 3, 4, 5, 6}, {2, 0, 3, 4, 5, 6},
                                        {2, 2, 0, 4, 5, 6}, {2, 2, 3, 0, 5, 6},
                                        {2, 2, 3, 4, 0, 6}, {2, 2, 3, 4, 5, 0}};
    const int64_t *n = shapes[s->j % 6];
    attn_args a =
        ATTN_ARGS(.q = safety_filled(s->dtype, 1, SAFETY_DIMS(n[0], n[1], n[2], n[4])),
                  .k = safety_filled(s->dtype, 2, SAFETY_DIMS(n[0], n[1], n[3], n[4])),
                  .v = safety_filled(s->dtype, 3, SAFETY_DIMS(n[0], n[1], n[3], n[5])),
                  .out = safety_make(s->dtype, SAFETY_DIMS(n[0], n[1], n[2], n[5])),
                  .lse = safety_make(s->dtype, SAFETY_DIMS(n[0], n[1], n[2])));
    attn_spec spec = ATTN_SPEC(.scale = 1);
    safety_run(s->ctx, &spec, &a);
    for (int64_t i = 0; n[3] == 0 && i < safety_count(a.out); i++)
        assert_true(safety_plus_zero(safety_at(a.out, i)));
    for (int64_t i = 0; n[3] == 0 && i < safety_count(a.lse); i++)
        assert_true(safety_at(a.lse, i) == (double)-INFINITY);
    for (int64_t i = 0; n[4] == 0 && i < safety_count(a.lse); i++) /* all scores are 0 */
        safety_near(safety_at(a.lse, i), log(4), 1e-6, "lse of four keys of no width");
    if (safety_count(a.out) == 0)
        assert_int_equal(*(unsigned char *)a.out.data, SAFETY_RUBBISH);
}

/* The same elements with NaN between the rows and after the last. */
static attn_tensor special_gaps(attn_tensor t)
{
    int64_t row = t.shape[3] + 3, n = t.shape[1] * t.shape[2] * row;
    attn_tensor gaps = safety_make(t.dtype, SAFETY_DIMS(n));
    test_fill_value(&gaps, (double)NAN);
    attn_tensor view = attn_tensor_make(gaps.data, t.dtype, t.rank, t.shape);
    view.stride[2] = row, view.stride[1] = row * t.shape[2], view.stride[0] = n;
    for (int64_t i = 0; i < safety_count(t); i++) safety_put(view, i, safety_at(t, i));
    return view;
}

static void special_nan_in_gaps(special *s)
{
    special_run_clean(s);
    s->args.q = special_gaps(s->args.q);
    s->args.k = special_gaps(s->args.k);
    s->args.v = special_gaps(s->args.v);
    special_run(s);
    special_all_clean(s);
}

/* The sign of a zero in q or k changes nothing. */
static void special_minus_zero(special *s)
{
    special_put_query(s, s->i, -0.0);
    special_put_key(s, s->j, -0.0);
    special_run_clean(s);
    special_put_query(s, s->i, 0.0);
    special_put_key(s, s->j, 0.0);
    special_run(s);
    special_all_clean(s);
}

/* ---- cases --------------------------------------------------------------------------- */

/* clang-format off */
#define CHECKS(X) \
    X(q_nan) X(k_nan) X(v_nan) X(v_inf) X(score_overflows_up) X(score_overflows_down) \
    X(bias_nan) X(bias_inf) X(bias_min) X(bias_min_twice) X(v_denormal) X(q_denormal) \
    X(v_largest) X(empty_shapes) X(nan_in_gaps) X(minus_zero)
/* clang-format on */

#define X(name) static special_check check_##name = special_##name;
CHECKS(X)
#undef X

int main(void)
{
#define X(name) SAFETY_ROW("special_" #name, special_each, &check_##name),
    const struct CMUnitTest tests[] = {CHECKS(X)};
#undef X
    return cmocka_run_group_tests_name("special", tests, NULL, safety_finish);
}
