/* SPDX-License-Identifier: MIT
 * Edges of the engine that a careful reader found and no random case had met: tables that are
 * shorter than what reads them, numbers that overflow on the way, rows of NaN, views that
 * overlap. */
#include "regression.h"

#include <float.h>

static const attn_dtype f32 = ATTN_DTYPE_F32;

static void edge_refused(const attn_spec *spec, const attn_args *args, attn_status want)
{
    attn_error error = {0};
    attn_status got = attn_forward(NULL, spec, args, &error);
    if (got != want) fail_msg("%s, want %s", attn_status_name(got), attn_status_name(want));
    assert_true(safety_untouched(args->out));
}

/* Only the head of a relative table may be 1: its length and width are read as they are. */
static void edge_relative_tables(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(1, 2, 2, 5, 5, 4, 8));
    attn_spec plain = ATTN_SPEC(.causal = true);
    a.rel_k = SAFETY_FILLED(F32, 4, 1, 1, 4);
    a.rel_v = SAFETY_FILLED(F32, 5, 1, 9, 8);
    edge_refused(&plain, &a, ATTN_E_SHAPE);
    a.rel_k = SAFETY_FILLED(F32, 4, 1, 9, 1);
    edge_refused(&plain, &a, ATTN_E_SHAPE);
    a.rel_k = SAFETY_FILLED(F32, 4, 9, 4);
    safety_run_and_judge(&plain, &a);
}

static void edge_angle_tables(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(1, 1, 1, 5, 5, 8, 8));
    attn_spec spec = ATTN_SPEC(.rope = {.kind = ATTN_ROPE_HALF});
    a.rope_cos = a.rope_sin = SAFETY_FILLED(F32, 4, 5, 1);
    edge_refused(&spec, &a, ATTN_E_SHAPE);
    a.rope_cos = a.rope_sin = SAFETY_FILLED(F32, 4, 5, 4);
    safety_run_and_judge(&spec, &a);
}

static void edge_packed_batch(void **state)
{
    (void)state;
    attn_args a = {.size = sizeof a,
                   .q = SAFETY_FILLED(F32, 1, 3, 4, 2),
                   .k = SAFETY_FILLED(F32, 2, 1, 4, 2),
                   .v = SAFETY_FILLED(F32, 3, 1, 4, 2),
                   .out = SAFETY_EMPTY(F32, 3, 4, 2),
                   .cu_q = SAFETY_LIST(I32, 0, 4),
                   .cu_k = SAFETY_LIST(I32, 0, 4)};
    edge_refused(NULL, &a, ATTN_E_SHAPE);
}

static void edge_huge_sizes(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(1, 1, 1, 5, 5, 4, 4));
    a.block_mask = SAFETY_FILLED(U8, 1, 1, 1);
    edge_refused(&ATTN_SPEC(.block_q = INT64_MAX, .block_k = INT64_MAX), &a, ATTN_E_PARAM);
    a.block_mask = (attn_tensor){0};
    edge_refused(&ATTN_SPEC(.softcap = 3e38), &a, ATTN_E_PARAM);
    edge_refused(&ATTN_SPEC(.scale = 3e38), &a, ATTN_E_PARAM);
    a.q.shape[0] = a.q.shape[1] = a.q.shape[2] = (int64_t)1 << 30;
    a.q.shape[3] = a.k.shape[3] = 0;
    a.k.shape[0] = a.v.shape[0] = 1;
    a.lse = (attn_tensor){0};
    a.out.shape[0] = a.out.shape[1] = a.out.shape[2] = (int64_t)1 << 30;
    a.out.shape[3] = a.v.shape[3] = 0;
    assert_int_equal(attn_check(NULL, &a, NULL), ATTN_E_OVERFLOW);
}

/* A query of NaN, and a chunk whose scores are all NaN: NaN, never an empty row. */
static void edge_nan_rows(void **state)
{
    (void)state;
    for (int i = 0; safety_isa(i) != NULL; i++) {
        attn_args a = reg_args(f32, REG_SHAPE(1, 1, 1, 2, 1100, 4, 4));
        a.weights = SAFETY_EMPTY(F32, 1, 1, 2, 1100);
        safety_put(a.q, 0, (double)NAN);
        safety_run(safety_isa(i), NULL, &a);
        assert_true(isnan(safety_at(a.out, 0)) && isnan(safety_at(a.lse, 0)));
        for (int64_t j = 0; j < 1100; j++) assert_true(isnan(safety_at(a.weights, j)));
        assert_true(isfinite(safety_at(a.out, 4)) && isfinite(safety_at(a.lse, 1)));
        a = reg_args(f32, REG_SHAPE(1, 1, 1, 1, 1100, 4, 4));
        for (int64_t j = 512 * 4; j < 1024 * 4; j++) safety_put(a.k, j, (double)NAN);
        safety_run(safety_isa(i), NULL, &a);
        assert_true(isnan(safety_at(a.out, 0)) && isnan(safety_at(a.lse, 0)));
    }
}

/* Scores far from 0 do not blur the weights. */
static void edge_weights_of_large_scores(void **state)
{
    static const double lows[] = {-3.4e38, -1e20, -1e6, 1e20};
    (void)state;
    for (size_t x = 0; x < sizeof lows / sizeof lows[0]; x++) {
        attn_args a = reg_args(f32, REG_SHAPE(1, 1, 1, 1, 4, 4, 1));
        a.bias = REG_FILLED(F32, lows[x], 1, 4);
        a.weights = SAFETY_EMPTY(F32, 1, 1, 1, 4);
        safety_run(NULL, NULL, &a);
        double sum = 0;
        for (int64_t j = 0; j < 4; j++) sum += safety_at(a.weights, j);
        safety_near(sum, 1, 1e-6, "sum of weights");
    }
}

/* An infinite slope or table entry is weight 0, a finite one never becomes infinite. */
static void edge_infinite_terms(void **state)
{
    (void)state;
    attn_args a = reg_counting(1, 3);
    attn_spec spec = ATTN_SPEC(.align = ATTN_ALIGN_TOP_LEFT, .rel = {.kind = ATTN_REL_OFFSET});
    a.rel_table = SAFETY_LIST(F32, 0, 0, 0, -(double)INFINITY, 0);
    safety_run(NULL, &spec, &a); /* distance 1 */
    safety_near(safety_at(a.out, 0), 1, 1e-6, "mean of keys 0 and 2");
    a.rel_table =
        SAFETY_LIST(F32, 0, 0, -(double)INFINITY, -(double)INFINITY, -(double)INFINITY);
    safety_run(NULL, &spec, &a);
    assert_true(safety_plus_zero(safety_at(a.out, 0)));
    a.rel_table = SAFETY_LIST(F32, 0, 0, 3e38, 3e38, 3e38);
    safety_run(NULL, &spec, &a);
    safety_near(safety_at(a.out, 0), 1, 1e-6, "mean of all keys");
}

/* Ids beyond the range of i64 are still different ids. */
static void edge_large_segments(void **state)
{
    static const uint64_t ids[] = {(uint64_t)1 << 63, ((uint64_t)1 << 63) + 1};
    (void)state;
    attn_args a = reg_counting(2, 2);
    a.q_seg = a.k_seg = SAFETY_EMPTY(U64, 2);
    memcpy(a.q_seg.data, ids, sizeof ids);
    safety_run(NULL, NULL, &a);
    reg_sees(&a, 0, 0, 0);
    reg_sees(&a, 1, 1, 1);
}

/* ---- callbacks ----------------------------------------------------------------------- */

static void edge_write_lowest(void *user, const attn_tile *tile)
{
    float *s = tile->s;
    for (int64_t x = 0; x < tile->n_i; x++)
        for (int64_t y = 0; y < tile->n_j; y++)
            s[x * tile->i_stride + y * tile->j_stride] = *(const float *)user;
}

static void edge_callback_extremes(void **state)
{
    static float values[] = {-FLT_MAX, FLT_MAX};
    (void)state;
    for (int x = 0; x < 2; x++) {
        attn_args a = reg_counting(1, 5);
        safety_run(NULL, &ATTN_SPEC(.tile = edge_write_lowest, .user = &values[x]), &a);
        safety_near(safety_at(a.out, 0), 2, 1e-6, "mean of all keys");
    }
}

static void edge_count_visible(void *user, const attn_tile *tile)
{
    const float *s = tile->s;
    int64_t *seen = user;
    for (int64_t x = 0; x < tile->n_i; x++)
        for (int64_t y = 0; y < tile->n_j; y++) {
            float score = s[x * tile->i_stride + y * tile->j_stride];
            bool visible = tile->j0 + y <= tile->i0 + x;
            if (visible ? !isfinite(score) : score != -INFINITY) seen[1]++;
            seen[0] += visible;
        }
}

/* User code sees scores where a pair is allowed and -inf where not, and no other memory. */
static void edge_callback_sees(void **state)
{
    int64_t seen[2] = {0, 0};
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(1, 1, 1, 48, 48, 4, 4));
    safety_run(NULL, &ATTN_SPEC(.causal = true, .tile = edge_count_visible, .user = seen), &a);
    assert_int_equal(seen[0], 48 * 49 / 2);
    assert_int_equal(seen[1], 0);
}

/* ---- attn_rope ----------------------------------------------------------------------- */

static void edge_rope_views(void **state)
{
    (void)state;
    const attn_rope_spec rope = {.kind = ATTN_ROPE_HALF};
    attn_tensor x = SAFETY_FILLED(F32, 1, 1, 1, 3, 4), y = x, cos = SAFETY_FILLED(F32, 2, 3, 2);
    y.stride[0] = 999; /* of a dimension of 1: still the same view */
    assert_int_equal(attn_rope(&rope, &x, NULL, NULL, NULL, &y, NULL), ATTN_OK);
    attn_tensor token = SAFETY_FILLED(F32, 3, 1, 3, 2), pos = SAFETY_LIST(I32, 0, 1, 2);
    assert_int_equal(attn_rope(&rope, &x, &pos, &token, &token, &y, NULL), ATTN_E_PARAM);
    y = ATTN_TENSOR(cos.data, F32, 1, 1, 1, 4);
    x = SAFETY_FILLED(F32, 1, 1, 1, 1, 4);
    assert_int_equal(attn_rope(&rope, &x, NULL, &cos, &cos, &y, NULL), ATTN_E_ALIAS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SAFETY_CASE(edge_relative_tables),   SAFETY_CASE(edge_angle_tables),
        SAFETY_CASE(edge_packed_batch),      SAFETY_CASE(edge_huge_sizes),
        SAFETY_CASE(edge_nan_rows),          SAFETY_CASE(edge_weights_of_large_scores),
        SAFETY_CASE(edge_infinite_terms),    SAFETY_CASE(edge_large_segments),
        SAFETY_CASE(edge_callback_extremes), SAFETY_CASE(edge_callback_sees),
        SAFETY_CASE(edge_rope_views),
    };
    return cmocka_run_group_tests_name("edges", tests, NULL, safety_finish);
}
