/* SPDX-License-Identifier: MIT
 * Plans: one plan for many calls that differ in pointers and contents, the workspace it asks
 * for, what it says about itself, what it refuses, and its use by several threads at once. */
#include "safety.h"

#include <pthread.h>

enum { B = 2, H = 4, G = 2, T = 37, S = 301, D = 12, E = 9, THREADS = 6 };

static const attn_spec plan_spec = {
    .size = sizeof(attn_spec), .causal = true, .align = ATTN_ALIGN_BOTTOM_RIGHT};

static attn_args plan_args(uint64_t seed)
{
    return ATTN_ARGS(.q = SAFETY_FILLED(F32, seed, B, H, T, D),
                     .k = SAFETY_FILLED(F32, seed + 1, B, G, S, D),
                     .v = SAFETY_FILLED(BF16, seed + 2, B, G, S, E),
                     .out = SAFETY_EMPTY(F32, B, H, T, E), .lse = SAFETY_EMPTY(F32, B, H, T),
                     .bias = SAFETY_FILLED(F32, seed + 3, H, T, S),
                     .q_len = SAFETY_LIST(I64, T, T), .k_len = SAFETY_LIST(I64, S, S));
}

static attn_plan *plan_make(attn_ctx *ctx, const attn_args *args)
{
    attn_error error;
    attn_plan *plan = NULL;
    attn_status s = attn_plan_create(&plan, ctx, &plan_spec, args, &error);
    if (s != ATTN_OK) fail_msg("no plan: %s: %s", error.where, error.what);
    return plan;
}

static void plan_run(const attn_plan *plan, const attn_args *args)
{
    size_t n = attn_plan_workspace(plan);
    void *workspace = memset(safety_bytes(n), 0xFF, n);
    memset(args->out.data, SAFETY_RUBBISH, safety_size(args->out));
    assert_int_equal(attn_plan_run(plan, args, workspace, n, NULL), ATTN_OK);
}

/* out of attn_forward for the same call: what a plan must give too. */
static attn_tensor plan_truth(const attn_args *args)
{
    safety_run(NULL, &plan_spec, args);
    return safety_copy(args->out);
}

/* ---- reuse --------------------------------------------------------------------------- */

static void plan_other_pointers(void **state)
{
    (void)state;
    attn_args first = plan_args(1);
    attn_plan *plan = plan_make(NULL, &first);
    for (uint64_t seed = 1; seed < 200; seed += 40) {
        attn_args args = plan_args(seed);
        attn_tensor want = plan_truth(&args);
        plan_run(plan, &args);
        safety_same(args.out, want, "another call of the plan");
    }
    attn_plan_destroy(plan);
}

static void plan_without_pointers(void **state)
{
    (void)state;
    attn_args args = plan_args(3), bare = args;
    attn_tensor *all[] = {&bare.q,    &bare.k,     &bare.v,     &bare.out,
                          &bare.bias, &bare.q_len, &bare.k_len, &bare.lse};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) all[i]->data = NULL;
    attn_plan *plan = plan_make(safety_threads(3), &bare);
    attn_tensor want = plan_truth(&args);
    plan_run(plan, &args);
    safety_same(args.out, want, "a plan made without pointers");
    attn_plan_destroy(plan);
}

/* A plan made of short sequences serves longer ones, and none. */
static void plan_other_lengths(void **state)
{
    static const double lengths[][2] = {{0, 0}, {1, S}, {S, 1}, {256, 257}, {S - 1, 2}};
    (void)state;
    attn_args args = plan_args(5);
    safety_put(args.k_len, 0, 1);
    safety_put(args.k_len, 1, 0);
    attn_plan *plan = plan_make(safety_threads(2), &args);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        for (int b = 0; b < 2; b++) safety_put(args.k_len, b, lengths[i][b]);
        attn_tensor want = plan_truth(&args);
        plan_run(plan, &args);
        safety_same(args.out, want, "other lengths");
    }
    attn_plan_destroy(plan);
}

/* Many heads, so that one thread takes eight panels a task and others fewer; each count of them
 * has the bits of the rest. */
static void plan_tasks_of_any_size(void **state)
{
    enum { HEADS = 8, BATCH = 4, ROWS = 400, KEYS = 40, WIDE = 8 };
    static const attn_spec spec = {.size = sizeof spec};
    (void)state;
    const attn_args args = ATTN_ARGS(.q = SAFETY_FILLED(F16, 1, BATCH, HEADS, ROWS, WIDE),
                                     .k = SAFETY_FILLED(F16, 2, BATCH, HEADS, KEYS, WIDE),
                                     .v = SAFETY_FILLED(F16, 3, BATCH, HEADS, KEYS, WIDE),
                                     .out = SAFETY_EMPTY(F32, BATCH, HEADS, ROWS, WIDE));
    safety_run(NULL, &spec, &args);
    const attn_tensor want = safety_copy(args.out);
    for (int threads = 2; threads <= 64; threads *= 2) {
        memset(args.out.data, SAFETY_RUBBISH, safety_size(args.out));
        safety_run(safety_threads(threads), &spec, &args);
        safety_same(args.out, want, "tasks of another size");
    }
}

static void plan_spec_is_copied(void **state)
{
    (void)state;
    attn_args args = plan_args(7);
    attn_tensor want = plan_truth(&args);
    attn_spec *spec = safety_bytes(sizeof *spec);
    attn_args *shape = safety_bytes(sizeof *shape);
    attn_plan *plan = NULL;
    *spec = plan_spec;
    *shape = args;
    assert_int_equal(attn_plan_create(&plan, NULL, spec, shape, NULL), ATTN_OK);
    memset(spec, 0xFF, sizeof *spec);
    memset(shape, 0xFF, sizeof *shape);
    plan_run(plan, &args);
    safety_same(args.out, want, "the plan kept what it needs");
    attn_plan_destroy(plan);
}

static void plan_many_times(void **state)
{
    (void)state;
    attn_args args =
        ATTN_ARGS(.q = SAFETY_FILLED(F32, 1, 1, 1, 1, 4),
                  .k = SAFETY_FILLED(F32, 2, 1, 1, 3, 4),
                  .v = SAFETY_FILLED(F32, 3, 1, 1, 3, 4), .out = SAFETY_EMPTY(F32, 1, 1, 1, 4));
    attn_plan *plan = plan_make(NULL, &args);
    size_t n = attn_plan_workspace(plan);
    void *workspace = safety_bytes(n);
    attn_tensor want = plan_truth(&args);
    for (int i = 0; i < (int)test_env_share(100000); i++) {
        memset(args.out.data, SAFETY_RUBBISH, safety_size(args.out));
        attn_status s = attn_plan_run(plan, &args, workspace, n, NULL);
        if (s != ATTN_OK || memcmp(args.out.data, want.data, safety_size(want)) != 0)
            fail_msg("run %d differs", i);
    }
    attn_plan_destroy(plan);
}

/* ---- what it says -------------------------------------------------------------------- */

static void plan_describes(void **state)
{
    (void)state;
    for (int i = 0; safety_isa(i) != NULL; i++) {
        attn_args args = plan_args(9);
        attn_plan_info info;
        attn_plan *plan = plan_make(safety_isa(i), &args);
        attn_plan_describe(plan, NULL); /* nothing happens */
        attn_plan_describe(plan, &info);
        assert_string_equal(info.isa, attn_isa_name(safety_contexts.usable[i]));
        assert_int_equal(info.arithmetic, ATTN_DTYPE_F32);
        assert_int_equal(info.threads, 1);
        assert_int_equal(info.workspace, attn_plan_workspace(plan));
        assert_true(info.chunk > 0 && info.panel > 0 && info.tasks > 0);
        assert_true(info.flops > 0 && info.flops <= 2.0 * B * H * T * S * (D + E) * 4);
        assert_true(info.bytes > 0);
        attn_plan_destroy(plan);
        args.v = SAFETY_FILLED(F64, 2, B, G, S, E);
        plan = plan_make(safety_isa(i), &args);
        attn_plan_describe(plan, &info);
        assert_int_equal(info.arithmetic, ATTN_DTYPE_F64);
        attn_plan_destroy(plan);
    }
}

/* The work of the three calls: products of width D and of width E. */
static void plan_counts_work(void **state)
{
    (void)state;
    attn_args args = plan_args(9);
    attn_plan_info info[3];
    attn_plan *plan[3] = {plan_make(NULL, &args)};
    args.lse = SAFETY_EMPTY(F32, B, H, T);
    args.d_out = args.out;
    args.d_q = args.q;
    args.t_out = args.out;
    args.t_q = args.q;
    assert_int_equal(attn_plan_create_backward(&plan[1], NULL, NULL, &args, NULL), ATTN_OK);
    assert_int_equal(attn_plan_create_jvp(&plan[2], NULL, NULL, &args, NULL), ATTN_OK);
    for (int i = 0; i < 3; i++) attn_plan_describe(plan[i], &info[i]);
    const double pairs = 2.0 * B * H * T * S;
    assert_true(info[0].flops == pairs * (D + E));
    assert_true(info[1].flops == pairs * (3 * D + 2 * E));
    assert_true(info[2].flops == pairs * 3 * (D + E));
    for (int i = 0; i < 3; i++) attn_plan_destroy(plan[i]);
}

/* Other scores: a difference is half a product, a tanh twelve of them. */
static void plan_counts_scores(void **state)
{
    static const double forward[] = {1, 1.5, 13};
    (void)state;
    attn_args args = plan_args(9);
    for (int score = ATTN_SCORE_DOT; score <= ATTN_SCORE_ADDITIVE; score++) {
        const attn_spec spec = ATTN_SPEC(.score = (attn_score_kind)score);
        attn_plan *plan;
        attn_plan_info info;
        assert_int_equal(attn_plan_create(&plan, NULL, &spec, &args, NULL), ATTN_OK);
        attn_plan_describe(plan, &info);
        assert_true(info.flops == 2.0 * B * H * T * S * (forward[score] * D + E));
        attn_plan_destroy(plan);
    }
}

/* ---- what it refuses ----------------------------------------------------------------- */

static void plan_refuses(const attn_plan *plan, const attn_args *args, void *workspace,
                         size_t n, attn_status want, const char *what)
{
    attn_error error;
    memset(&error, 0xEE, sizeof error);
    memset(args->out.data, SAFETY_RUBBISH, safety_size(args->out));
    attn_status s = attn_plan_run(plan, args, workspace, n, &error);
    if (s != want) fail_msg("%s: %s", what, attn_status_name(s));
    assert_int_equal(error.status, want);
    assert_true(safety_untouched(args->out));
}

static void plan_workspace_errors(void **state)
{
    (void)state;
    attn_args args = plan_args(11);
    attn_error error;
    attn_plan *plan = plan_make(NULL, &args);
    size_t n = attn_plan_workspace(plan);
    char *workspace = safety_bytes(n + 64);
    assert_true(n > 0);
    plan_refuses(plan, &args, NULL, n, ATTN_E_WORKSPACE, "no workspace");
    plan_refuses(plan, &args, workspace, n - 1, ATTN_E_WORKSPACE, "one byte short");
    plan_refuses(plan, &args, workspace, 0, ATTN_E_WORKSPACE, "no bytes");
    for (int shift = 1; shift < 64; shift *= 2)
        plan_refuses(plan, &args, workspace + shift, n, ATTN_E_WORKSPACE, "off its alignment");
    attn_plan_run(plan, &args, workspace, n - 1, &error);
    assert_true(error.counted);
    assert_int_equal(error.want, n);
    assert_int_equal(error.got, n - 1);
    assert_int_equal(attn_plan_run(plan, &args, workspace, n, NULL), ATTN_OK);
    attn_plan_destroy(plan);
}

typedef void (*plan_change)(attn_args *args);
static void plan_change_T(attn_args *a)
{
    a->bias = attn_tensor_slice(a->bias, 1, 1, T);
    a->q.shape[2]--, a->out.shape[2]--, a->lse.shape[2]--;
}
static void plan_change_S(attn_args *a)
{
    a->bias = attn_tensor_slice(a->bias, 2, 1, S);
    a->k.shape[2]--, a->v.shape[2]--;
}
static void plan_change_stride(attn_args *a)
{
    a->k.stride[2] = 0;
}
static void plan_change_dtype(attn_args *a)
{
    a->v.dtype = ATTN_DTYPE_F16;
}
static void plan_change_rank(attn_args *a)
{
    a->bias = attn_tensor_slice(a->bias, 0, 0, 1);
}
static void plan_change_less(attn_args *a)
{
    a->lse = (attn_tensor){0};
}
static void plan_change_more(attn_args *a)
{
    a->sink = SAFETY_FILLED(F32, 1, H);
}
static void plan_change_lengths(attn_args *a)
{
    a->q_len = SAFETY_LIST(I32, T, T);
}

static void plan_other_args(void **state)
{
    static const plan_change changes[] = {
        plan_change_T,    plan_change_S,    plan_change_stride, plan_change_dtype,
        plan_change_rank, plan_change_less, plan_change_more,   plan_change_lengths,
    };
    (void)state;
    attn_args args = plan_args(13);
    attn_plan *plan = plan_make(NULL, &args);
    size_t n = attn_plan_workspace(plan);
    void *workspace = safety_bytes(n);
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        attn_args other = args;
        changes[i](&other);
        plan_refuses(plan, &other, workspace, n, ATTN_E_SHAPE, "args of another call");
    }
    assert_int_equal(attn_plan_run(plan, &args, workspace, n, NULL), ATTN_OK);
    attn_plan_destroy(plan);
    attn_plan_destroy(NULL);
}

/* ---- shared -------------------------------------------------------------------------- */

typedef struct plan_user {
    const attn_plan *plan;
    attn_args args;
    attn_tensor want;
    void *workspace;
    int failures;
} plan_user;

static void *plan_user_work(void *arg)
{
    plan_user *user = arg;
    size_t n = attn_plan_workspace(user->plan);
    for (int64_t i = 0; i < test_env_share(40); i++) {
        memset(user->args.out.data, SAFETY_RUBBISH, safety_size(user->args.out));
        attn_status s = attn_plan_run(user->plan, &user->args, user->workspace, n, NULL);
        bool same = memcmp(user->args.out.data, user->want.data, safety_size(user->want)) == 0;
        if (s != ATTN_OK || !same) user->failures++;
    }
    return NULL;
}

static void plan_shared(void **state)
{
    (void)state;
    plan_user users[THREADS];
    pthread_t threads[THREADS];
    attn_args first = plan_args(1);
    attn_plan *plan = plan_make(safety_threads(3), &first);
    for (int i = 0; i < THREADS; i++) {
        attn_args args = plan_args((uint64_t)i * 10 + 1);
        users[i] = (plan_user){plan, args, plan_truth(&args),
                               safety_bytes(attn_plan_workspace(plan)), 0};
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, plan_user_work, &users[i]), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++) assert_int_equal(users[i].failures, 0);
    attn_plan_destroy(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SAFETY_CASE(plan_other_pointers), SAFETY_CASE(plan_without_pointers),
        SAFETY_CASE(plan_other_lengths),  SAFETY_CASE(plan_spec_is_copied),
        SAFETY_CASE(plan_many_times),     SAFETY_CASE(plan_describes),
        SAFETY_CASE(plan_counts_work),    SAFETY_CASE(plan_workspace_errors),
        SAFETY_CASE(plan_counts_scores),  SAFETY_CASE(plan_other_args),
        SAFETY_CASE(plan_shared),         SAFETY_CASE(plan_tasks_of_any_size),
    };
    return cmocka_run_group_tests_name("plan", tests, NULL, safety_finish);
}
