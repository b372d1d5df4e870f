/* SPDX-License-Identifier: MIT
 * Edges of gradients that random cases do not meet: callbacks that only add, gradients of lse
 * alone, rows without a key beside a sink, NaN that must stay where it came in, the caller's
 * rounding mode, a plan that several threads run at once. */
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

/* ---- one plan, many threads
 * ------------------------------------------------------------------ */

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
    for (int i = 0; i < RUNS; i++) {
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        SAFETY_CASE(edge_tile_adds),      SAFETY_CASE(edge_lse_alone),
        SAFETY_CASE(edge_sink_alone),     SAFETY_CASE(edge_nan_stays),
        SAFETY_CASE(edge_rounding_modes), SAFETY_CASE(edge_plan_shared),
        SAFETY_CASE(edge_empty),          SAFETY_CASE(edge_no_sequences),
    };
    return cmocka_run_group_tests_name("grad_edges", tests, NULL, safety_finish);
}
