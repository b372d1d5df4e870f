/* SPDX-License-Identifier: MIT
 * The pool of threads: every index exactly once, whoever calls, from wherever, with however
 * many threads. Nothing here depends on timing: a body that must meet another waits for it only
 * where the pool promises that both run. */
#define _POSIX_C_SOURCE 200809L

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "pool_tally.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const int thread_counts[] = {1, 2, 3, 8, 17};

/* ---- plain use -------------------------------------------------------------------------- */

static void every_index_once(void **state)
{
    static const int sizes[] = {0, 1, 2, 3, 7, 16, 17, 18, 100, MAX_N};
    (void)state;
    assert_true(run_once(NULL, 100));
    for (size_t c = 0; c < COUNT(thread_counts); c++) {
        attn_ctx *ctx = make_ctx(thread_counts[c]);
        assert_non_null(ctx);
        assert_int_equal(attn_ctx_threads(ctx), thread_counts[c]);
        for (size_t i = 0; i < COUNT(sizes); i++) assert_true(run_once(ctx, sizes[i]));
        assert_true(run_once(ctx, -1) && run_once(ctx, INT32_MIN));
        attn_ctx_destroy(ctx);
    }
}

static void many_small_regions(void **state)
{
    (void)state;
    for (size_t c = 0; c < COUNT(thread_counts); c++) {
        attn_ctx *ctx = make_ctx(thread_counts[c]);
        tally *t = calloc(1, sizeof *t);
        assert_non_null(t);
        for (int round = 0; round < 10000; round++) attn__parallel(ctx, 5, tally_body, t);
        assert_true(tally_is(t, 5, 10000));
        free(t);
        attn_ctx_destroy(ctx);
    }
}

static void contexts_that_never_work(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) attn_ctx_destroy(make_ctx(17));
}

static void contexts_that_work_once(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        attn_ctx *ctx = make_ctx(3);
        assert_true(run_once(ctx, 3));
        attn_ctx_destroy(ctx);
    }
}

static void bodies_do_run_at_once(void **state)
{
    attn_ctx *ctx = make_ctx(4);
    (void)state;
    for (int i = 0; i < 50; i++) assert_true(meet(ctx, 4));
    attn_ctx_destroy(ctx);
}

typedef struct signal_check {
    pthread_t caller;
    pthread_barrier_t barrier;
    atomic_int open; /* workers in which a signal could arrive */
} signal_check;

static void signal_body(void *arg, int i)
{
    signal_check *check = arg;
    sigset_t mask;
    (void)i;
    pthread_barrier_wait(&check->barrier);
    if (pthread_equal(pthread_self(), check->caller)) return;
    if (pthread_sigmask(SIG_SETMASK, NULL, &mask) != 0 || !sigismember(&mask, SIGINT) ||
        !sigismember(&mask, SIGUSR1) || !sigismember(&mask, SIGPROF))
        atomic_fetch_add(&check->open, 1);
}

static void workers_block_signals(void **state)
{
    signal_check check = {.caller = pthread_self()};
    attn_ctx *ctx = make_ctx(3);
    sigset_t before, after;
    (void)state;
    assert_int_equal(pthread_barrier_init(&check.barrier, NULL, 3), 0);
    sigemptyset(&before);
    sigaddset(&before, SIGUSR2);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    attn__parallel(ctx, 3, signal_body, &check);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_int_equal(atomic_load(&check.open), 0);
    for (int s = 1; s < 32; s++)
        assert_int_equal(sigismember(&before, s), sigismember(&after, s));
    pthread_barrier_destroy(&check.barrier);
    attn_ctx_destroy(ctx);
}

/* ---- inside and beside ------------------------------------------------------------------ */

typedef struct nest {
    const attn_ctx *ctx;
    atomic_int inner, strangers;
} nest;

typedef struct nest_inner {
    nest *outer;
    pthread_t self;
} nest_inner;

static void nest_inner_body(void *arg, int i)
{
    nest_inner *inner = arg;
    (void)i;
    atomic_fetch_add(&inner->outer->inner, 1);
    if (!pthread_equal(pthread_self(), inner->self))
        atomic_fetch_add(&inner->outer->strangers, 1);
}

static void nest_body(void *arg, int i)
{
    nest *outer = arg;
    nest_inner inner = {outer, pthread_self()};
    (void)i;
    attn__parallel(outer->ctx, 10, nest_inner_body, &inner);
}

static void a_nested_call_runs_on_its_own_thread(void **state)
{
    (void)state;
    for (size_t c = 0; c < COUNT(thread_counts); c++) {
        attn_ctx *ctx = make_ctx(thread_counts[c]);
        nest outer = {.ctx = ctx};
        attn__parallel(ctx, 64, nest_body, &outer);
        assert_int_equal(atomic_load(&outer.inner), 640);
        assert_int_equal(atomic_load(&outer.strangers), 0);
        attn_ctx_destroy(ctx);
    }
}

static void nest_other_body(void *arg, int i)
{
    nest *outer = arg;
    (void)i;
    if (!run_once(outer->ctx, 20)) atomic_fetch_add(&outer->strangers, 1);
    atomic_fetch_add(&outer->inner, 1);
}

static void two_contexts_may_nest(void **state)
{
    attn_ctx *a = make_ctx(3), *b = make_ctx(3);
    nest outer = {.ctx = b};
    (void)state;
    attn__parallel(a, 40, nest_other_body, &outer);
    assert_int_equal(atomic_load(&outer.inner), 40);
    assert_int_equal(atomic_load(&outer.strangers), 0);
    attn_ctx_destroy(a);
    attn_ctx_destroy(b);
}

typedef struct caller {
    pthread_t thread;
    const attn_ctx *ctx;
    tally *t;
} caller;

static void *caller_main(void *arg)
{
    caller *c = arg;
    for (int i = 0; i < 500; i++) attn__parallel(c->ctx, 9, tally_body, c->t);
    return NULL;
}

static void several_callers_share_a_context(void **state)
{
    caller callers[5];
    attn_ctx *ctx = make_ctx(3);
    (void)state;
    for (size_t i = 0; i < COUNT(callers); i++) {
        callers[i].ctx = ctx;
        callers[i].t = calloc(1, sizeof *callers[i].t);
        assert_non_null(callers[i].t);
        assert_int_equal(pthread_create(&callers[i].thread, NULL, caller_main, &callers[i]), 0);
    }
    for (size_t i = 0; i < COUNT(callers); i++) {
        pthread_join(callers[i].thread, NULL);
        assert_true(tally_is(callers[i].t, 9, 500));
        free(callers[i].t);
    }
    attn_ctx_destroy(ctx);
}

/* ---- the host's threads, and none ------------------------------------------------------- */

typedef struct host {
    int regions, bodies;
} host;

static void host_parallel(void *user, int n, void (*body)(void *arg, int i), void *arg)
{
    host *h = user;
    h->regions++;
    for (int i = n - 1; i >= 0; i--) {
        h->bodies++;
        body(arg, i);
    }
}

static void the_host_runs_every_region(void **state)
{
    host h = {0};
    attn_config config =
        ATTN_CONFIG(.threads = 6, .parallel_for = host_parallel, .parallel_user = &h);
    attn_ctx *ctx;
    (void)state;
    assert_int_equal(attn_ctx_create(&ctx, &config, NULL), ATTN_OK);
    assert_int_equal(attn_ctx_threads(ctx), 6);
    assert_null(ctx->pool);
    assert_true(run_once(ctx, 10) && run_once(ctx, 1) && run_once(ctx, 0));
    assert_int_equal(h.regions, 2);
    assert_int_equal(h.bodies, 11);
    attn_ctx_destroy(ctx);
}

static void a_pool_of_one_is_no_pool(void **state)
{
    (void)state;
    assert_null(attn__pool_create(NULL, 1));
    assert_null(attn__pool_create(NULL, 0));
    attn__pool_destroy(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_index_once),
        cmocka_unit_test(many_small_regions),
        cmocka_unit_test(contexts_that_never_work),
        cmocka_unit_test(contexts_that_work_once),
        cmocka_unit_test(bodies_do_run_at_once),
        cmocka_unit_test(workers_block_signals),
        cmocka_unit_test(a_nested_call_runs_on_its_own_thread),
        cmocka_unit_test(two_contexts_may_nest),
        cmocka_unit_test(several_callers_share_a_context),
        cmocka_unit_test(the_host_runs_every_region),
        cmocka_unit_test(a_pool_of_one_is_no_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
