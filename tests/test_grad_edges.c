/* SPDX-License-Identifier: MIT
 * Edges of gradients that random cases do not meet: callbacks that only add, gradients of lse
 * alone, rows without a key beside a sink, NaN that must stay where it came in, the caller's
 * rounding mode, a plan that several threads run at once, lanes beyond a sequence's last row.
 */
#include "grad_call.h"

#include <fenv.h>
#include <pthread.h>

static const attn_dtype f32 = ATTN_DTYPE_F32;

/* The bias as a callback: queries by 30 keys of the tensor that user points to. */
static void edge_add_bias(void *user, const attn_tile *tile)
{
    const attn_tensor *bias = user;
    for (int64_t x = 0; x < tile->n_i; x++)
        for (int64_t y = 0; y < tile->n_j; y++) {
            float *s = (float *)tile->s + x * tile->i_stride + y * tile->j_stride;
            const int64_t at[2] = {tile->i0 + x, tile->j0 + y};
            *s += (float)test_get(bias, at);
        }
}

/* attn_tile_adds is the slope of such a callback: the gradients are those of the bias. */
static void edge_tile_adds(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(2, 2, 1, 20, 30, 8, 8));
    a.bias = reg_normal(f32, 7, SAFETY_DIMS(20, 30));
    for (int64_t i = 0; i < 600; i += 7) safety_put(a.bias, i, REG_MINUS_INF);
    attn_args by_tile = a;
    by_tile.bias = (attn_tensor){0};
    grad_ask(&a);
    grad_ask(&by_tile);
    attn_spec spec =
        ATTN_SPEC(.tile = edge_add_bias, .user = &a.bias, .tile_slope = attn_tile_adds);
    for (int isa = 0; safety_isa(isa) != NULL; isa++) {
        grad_run(safety_isa(isa), NULL, &a);
        grad_judge(NULL, &a);
        by_tile.out = safety_make(f32, a.out.rank, a.out.shape);
        by_tile.lse = safety_make(f32, a.lse.rank, a.lse.shape);
        grad_run(safety_isa(isa), &spec, &by_tile);
        const attn_tensor *both[][2] = {
            {&a.d_q, &by_tile.d_q}, {&a.d_k, &by_tile.d_k}, {&a.d_v, &by_tile.d_v}};
        for (int t = 0; t < 3; t++)
            for (int64_t i = 0, n = safety_count(*both[t][0]); i < n; i++)
                safety_near(safety_at(*both[t][1], i), safety_at(*both[t][0], i), 2e-6,
                            "gradient of a callback that adds");
    }
}

/* d lse_i / d q_i = scale sum_j w_ij k_j: what out is with k for v. */
static void edge_lse_alone(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(1, 2, 2, 33, 70, 16, 16));
    a.d_lse = REG_FILLED(F32, 1, 1, 2, 33);
    a.d_q = SAFETY_EMPTY(F32, 1, 2, 33, 16);
    a.d_v = SAFETY_EMPTY(F32, 1, 2, 70, 16);
    attn_args keys = a;
    keys.v = a.k;
    for (int isa = 0; safety_isa(isa) != NULL; isa++) {
        safety_run(safety_isa(isa), NULL, &keys);
        attn_tensor out = safety_copy(a.out);
        a.out = (attn_tensor){0}; /* nobody needs it */
        grad_backward(safety_isa(isa), NULL, &a);
        a.out = keys.out;
        for (int64_t i = 0, n = safety_count(a.d_q); i < n; i++)
            safety_near(safety_at(a.d_q, i), safety_at(out, i) / 4, 1e-6, "d lse / d q");
        grad_all_zero(a.d_v, "d_v from d_lse alone");
    }
}

/* A row without a key beside a sink: lse is the sink, out is 0 whatever d_out is. */
static void edge_sink_alone(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(1, 2, 2, 4, 6, 8, 8));
    a.mask = REG_FILLED(BOOL, 0, 4, 1);
    a.sink = SAFETY_FILLED(F32, 5, 2);
    a.d_out = REG_FILLED(F32, REG_NAN, 1, 2, 4, 8);
    a.d_lse = REG_FILLED(F32, 0.5, 1, 2, 4);
    grad_ask(&a);
    for (int isa = 0; safety_isa(isa) != NULL; isa++) {
        grad_run(safety_isa(isa), NULL, &a);
        grad_all_zero(a.d_q, "d_q");
        grad_all_zero(a.d_k, "d_k");
        grad_all_zero(a.d_v, "d_v");
        for (int64_t h = 0; h < 2; h++)
            safety_near(safety_at(a.d_sink, h), 4 * 0.5, 1e-6, "d_sink of rows without a key");
    }
}

/* NaN comes in for one row: other rows' d_q keep their bits. */
static void edge_nan_stays(void **state)
{
    (void)state;
    attn_args a = grad_args(f32, REG_SHAPE(1, 2, 1, 60, 70, 8, 8));
    for (int isa = 0; safety_isa(isa) != NULL; isa++) {
        a.d_out = reg_normal(f32, 91, a.out.rank, a.out.shape);
        grad_run(safety_isa(isa), NULL, &a);
        attn_args bad = test_fresh(&safety_arena, &a, 'D');
        bad.d_out = safety_copy(a.d_out);
        safety_put(bad.d_out, 17 * 8 + 3, REG_NAN);
        grad_backward(safety_isa(isa), NULL, &bad);
        for (int64_t i = 0; i < 2 * 60 * 8; i++) {
            double x = safety_at(bad.d_q, i);
            if (i / 8 == 17 ? !isnan(x) : x != safety_at(a.d_q, i))
                fail_msg("d_q %d is %g", (int)i, x);
        }
    }
}

/* The caller's rounding mode neither shows in a gradient nor is changed. */
static void edge_rounding_modes(void **state)
{
    static const int modes[] = {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    (void)state;
    attn_spec spec = ATTN_SPEC(.causal = true, .softcap = 5);
    attn_args a = grad_args(f32, REG_SHAPE(2, 2, 1, 50, 50, 16, 16));
    for (int isa = 0; safety_isa(isa) != NULL; isa++)
        for (int m = 0; m < 3; m++)
            for (int threads = 1; threads <= 3; threads += 2) {
                attn_ctx *ctx =
                    test_contexts_get(&safety_contexts, safety_contexts.usable[isa], threads);
                attn_args other = test_fresh(&safety_arena, &a, 'D');
                const char *what = "";
                grad_run(ctx, &spec, &a);
                fesetround(modes[m]);
                attn_status s = attn_backward(ctx, &spec, &other, NULL);
                int mode = fegetround();
                fesetround(FE_TONEAREST);
                assert_int_equal(s, ATTN_OK);
                assert_int_equal(mode, modes[m]);
                if (!test_same(&a, &other, 'D', &what)) fail_msg("%s in mode %d", what, m);
            }
}

/* ---- one plan, many threads -------------------------------------------------------------- */

enum { RUNNERS = 8, RUNS = 40 };

typedef struct edge_runner {
    const attn_plan *plan;
    const attn_args *want;
    attn_args args;
    void *workspace;
    size_t size;
    int wrong;
} edge_runner;

static void *edge_runs(void *data)
{
    edge_runner *r = data;
    const char *what = "";
    for (int64_t i = 0; i < test_env_share(RUNS); i++) {
        memset(r->args.d_q.data, 0xFF, safety_size(r->args.d_q));
        memset(r->workspace, 0xFF, r->size);
        if (attn_plan_run(r->plan, &r->args, r->workspace, r->size, NULL) != ATTN_OK ||
            !test_same(&r->args, r->want, 'D', &what))
            r->wrong++;
    }
    return NULL;
}

static void edge_plan_shared(void **state)
{
    pthread_t threads[RUNNERS];
    edge_runner runners[RUNNERS];
    attn_plan *plan = NULL;
    (void)state;
    attn_args a = grad_args(f32, REG_SHAPE(2, 2, 1, 70, 90, 16, 16));
    attn_ctx *ctx = safety_threads(3);
    grad_run(ctx, NULL, &a);
    assert_int_equal(attn_plan_create_backward(&plan, ctx, &grad_plain, &a, NULL), ATTN_OK);
    size_t n = attn_plan_workspace(plan);
    for (int i = 0; i < RUNNERS; i++)
        runners[i] =
            (edge_runner){plan, &a, test_fresh(&safety_arena, &a, 'D'), safety_bytes(n), n, 0};
    for (int i = 0; i < RUNNERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, edge_runs, &runners[i]), 0);
    for (int i = 0; i < RUNNERS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < RUNNERS; i++) assert_int_equal(runners[i].wrong, 0);
    attn_plan_destroy(plan);
}

/* Nothing to do is done: zero gradients where there is something to write. */
static void edge_empty(void **state)
{
    static const reg_shape shapes[] = {{0, 2, 2, 3, 4, 8, 8}, {2, 2, 2, 0, 4, 8, 8},
                                       {2, 2, 2, 3, 0, 8, 8}, {2, 0, 0, 3, 4, 8, 8},
                                       {2, 2, 2, 3, 4, 0, 8}, {2, 2, 2, 3, 4, 8, 0},
                                       {1, 1, 1, 1, 1, 1, 1}};
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        attn_args a = grad_args(f32, shapes[i]);
        grad_run_and_judge(NULL, &a);
        a = reg_args(f32, shapes[i]);
        a.bias = SAFETY_FILLED(F32, 4, shapes[i].T, shapes[i].S);
        grad_ask(&a);
        grad_run_and_judge(NULL, &a);
    }
}

/* Packed, and no sequence at all: every row is padding, on both sides or with shared keys. */
static void edge_no_sequences(void **state)
{
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        attn_args a = reg_args(f32, REG_SHAPE(1, 2, 1, 5, 7, 8, 8));
        a.cu_q = SAFETY_LIST(I32, 0);
        if (!shared) a.cu_k = SAFETY_LIST(I32, 0);
        grad_ask(&a);
        grad_run(NULL, NULL, &a);
        grad_all_zero(a.d_q, "d_q without sequences");
        grad_all_zero(a.d_k, "d_k without sequences");
        grad_all_zero(a.d_v, "d_v without sequences");
    }
}

/* ---- lanes beyond the last row of a sequence --------------------------------------------- */

static void edge_leave_alone(void *user, const attn_tile *tile)
{
    (void)user;
    (void)tile;
}

/* A bias that sequences of 47 and 60 rows share: its rows from 47 on are those of the second
 * alone, though the first has lanes there. The slope of a callback does not reach them ... */
static void edge_short_rows(void **state)
{
    (void)state;
    attn_spec spec = ATTN_SPEC(.tile = edge_leave_alone, .tile_slope = attn_tile_adds);
    attn_args a = reg_args(f32, REG_SHAPE(2, 2, 1, 60, 30, 8, 8));
    a.q_len = SAFETY_LIST(I32, 47, 60);
    a.bias = reg_normal(f32, 7, SAFETY_DIMS(60, 30));
    grad_ask(&a);
    grad_run_and_judge(&spec, &a);
}

/* ... nor does a NaN among the keys and values of the first. */
static void edge_short_rows_nan(void **state)
{
    (void)state;
    attn_args a = reg_args(f32, REG_SHAPE(2, 2, 1, 60, 30, 8, 8));
    a.q_len = SAFETY_LIST(I32, 47, 60);
    a.bias = reg_normal(f32, 7, SAFETY_DIMS(60, 30));
    safety_put(a.k, 3 * 8, REG_NAN);
    safety_put(a.v, 5 * 8, (double)INFINITY);
    grad_ask(&a);
    for (int isa = 0; safety_isa(isa) != NULL; isa++) {
        grad_run(safety_isa(isa), NULL, &a);
        for (int64_t i = 0; i < 60 * 30; i++) {
            const bool met = i / 30 < 47;
            if (met == (isfinite(safety_at(a.d_bias, i)) != 0))
                fail_msg("d_bias of row %d is %g", (int)(i / 30), safety_at(a.d_bias, i));
        }
    }
}

/* Sums of a shared gradient that leave f32 are its largest number on every instruction set,
 * wherever the rows begin. */
static void edge_sums_too_large(void **state)
{
    (void)state;
    for (int64_t start = 0; start < 2; start++) {
        const int64_t T = 50 + start;
        attn_args a = reg_args(f32, REG_SHAPE(3, 1, 1, T, 2, 1, 1));
        const double first = (double)start;
        a.q_start = SAFETY_LIST(I32, first, first, first);
        a.bias = REG_FILLED(F32, 0, T, 2);
        test_fill_value(&a.q, 0);
        for (int64_t j = 0; j < 6; j++) safety_put(a.v, j, j % 2 ? 1 : -1);
        a.d_out = REG_FILLED(F32, 3e38, 3, 1, T, 1);
        a.d_bias = SAFETY_EMPTY(F32, T, 2);
        for (int isa = 0; safety_isa(isa) != NULL; isa++) {
            grad_run(safety_isa(isa), NULL, &a);
            for (int64_t i = 2 * start; i < 2 * T; i++)
                if (safety_at(a.d_bias, i) != (i % 2 ? 1 : -1) * 0x1.fffffep127)
                    fail_msg("d_bias %d is %g", (int)i, safety_at(a.d_bias, i));
        }
    }
}

/* Entries of a relative table that no allowed pair takes may hold anything. */
static void edge_unused_entries(void **state)
{
    (void)state;
    attn_spec spec = ATTN_SPEC(.causal = true);
    for (int isa = 0; safety_isa(isa) != NULL; isa++) {
        attn_args a = reg_args(f32, REG_SHAPE(1, 2, 2, 20, 20, 8, 8));
        a.rel_k = reg_normal(f32, 8, SAFETY_DIMS(1, 7, 8));
        a.rel_v = reg_normal(f32, 9, SAFETY_DIMS(1, 7, 8));
        for (int64_t i = 4 * 8; i < 7 * 8; i++) {
            safety_put(a.rel_k, i, REG_NAN);
            safety_put(a.rel_v, i, (double)INFINITY);
        }
        grad_ask(&a);
        a.t_q = reg_normal(f32, 10, SAFETY_DIMS(1, 2, 20, 8));
        a.t_out = SAFETY_EMPTY(F32, 1, 2, 20, 8);
        a.t_lse = SAFETY_EMPTY(F32, 1, 2, 20);
        grad_run(safety_isa(isa), &spec, &a);
        assert_int_equal(attn_jvp(safety_isa(isa), &spec, &a, NULL), ATTN_OK);
        const attn_tensor *all[] = {&a.d_q,     &a.d_k,   &a.d_v,  &a.d_rel_k,
                                    &a.d_rel_v, &a.t_out, &a.t_lse};
        for (size_t t = 0; t < sizeof all / sizeof all[0]; t++) reg_all_finite(*all[t]);
    }
}

/* Rows without a number, so many that their chunks do not fit in 64 bits: a plan says so. */
static void edge_rows_beyond_count(void **state)
{
    (void)state;
    const int64_t far = (int64_t)1 << 47, many = (int64_t)1 << 40;
    const attn_tensor q = {.dtype = f32, .rank = 4, .shape = {many, 1, 1, 0}};
    const attn_tensor k = {.dtype = f32, .rank = 4, .shape = {many, 1, far, 0}};
    const attn_tensor lse = {.dtype = f32, .rank = 3, .shape = {many, 1, 1}};
    const attn_args a =
        ATTN_ARGS(.q = q, .k = k, .v = k, .lse = lse, .d_lse = lse, .d_q = q, .d_k = k);
    attn_plan *plan = NULL;
    assert_int_equal(attn_plan_create_backward(&plan, NULL, &grad_plain, &a, NULL),
                     ATTN_E_OVERFLOW);
    assert_null(plan);
}

/* Every sequence and key/value head is work for a thread of its own. */
static void edge_threads_wanted(void **state)
{
    (void)state;
    const attn_args a = grad_args(f32, REG_SHAPE(4, 4, 4, 20, 20, 8, 8));
    attn_plan *plan = NULL;
    attn_plan_info info;
    assert_int_equal(attn_plan_create_backward(&plan, safety_threads(8), &grad_plain, &a, NULL),
                     ATTN_OK);
    attn_plan_describe(plan, &info);
    attn_plan_destroy(plan);
    assert_int_equal(info.threads, 8);
    assert_int_equal(info.tasks, 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SAFETY_CASE(edge_tile_adds),
        SAFETY_CASE(edge_lse_alone),
        SAFETY_CASE(edge_sink_alone),
        SAFETY_CASE(edge_nan_stays),
        SAFETY_CASE(edge_rounding_modes),
        SAFETY_CASE(edge_plan_shared),
        SAFETY_CASE(edge_empty),
        SAFETY_CASE(edge_no_sequences),
        SAFETY_CASE(edge_short_rows),
        SAFETY_CASE(edge_short_rows_nan),
        SAFETY_CASE(edge_sums_too_large),
        SAFETY_CASE(edge_unused_entries),
        SAFETY_CASE(edge_rows_beyond_count),
        SAFETY_CASE(edge_threads_wanted),
    };
    return cmocka_run_group_tests_name("grad_edges", tests, NULL, safety_finish);
}
