/* SPDX-License-Identifier: MIT
 * Many threads, one context: calls of all kinds at once give the bits each gives alone
 * (OpenBLAS#1755, #2126, #5825 are this going wrong). Each thread owns its tensors and its
 * random numbers; nothing but the context is shared, so a sanitizer for threads stays silent.
 */
#include "safety.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 8 };

typedef struct concurrent_worker {
    attn_ctx *ctx;
    int number;
    uint64_t seed;
    int64_t rounds, failures;
} concurrent_worker;

static uint64_t concurrent_hash(const attn_args *a)
{
    const attn_tensor *outs[] = {&a->out, &a->lse, &a->weights, &a->scores};
    uint64_t hash = 0;
    for (int i = 0; i < 4; i++)
        if (outs[i]->dtype != ATTN_DTYPE_NONE) hash = test_hash_bits(*outs[i], hash);
    return hash;
}

static int64_t concurrent_rounds(void)
{
    return test_env_int("ATTN_CASES", test_env_long() ? 20000 : 250);
}

/* Draws cases of its own, runs each alone (no context), then many times over the shared one. */
static void *concurrent_mixed_work(void *arg)
{
    concurrent_worker *w = arg;
    const test_profile profile = {.allow = 0, .force = 0, .pairs = 6000};
    for (int64_t n = 0; n < w->rounds; n++) {
        test_case c;
        test_case_draw(&c, w->seed + (uint64_t)n, &profile);
        attn_status alone = attn_forward(NULL, &c.spec, &c.args, NULL);
        uint64_t want = concurrent_hash(&c.args);
        for (int again = 0; again < 3; again++) {
            attn_status s = attn_forward(w->ctx, &c.spec, &c.args, NULL);
            if (s != ATTN_OK || s != alone || concurrent_hash(&c.args) != want) w->failures++;
        }
        test_case_free(&c);
    }
    return NULL;
}

static void concurrent_start(attn_ctx *ctx, void *(*work)(void *), int n)
{
    concurrent_worker workers[THREADS];
    pthread_t threads[THREADS];
    uint64_t seed = (uint64_t)test_env_int("ATTN_SEED", 1);
    for (int i = 0; i < n; i++) {
        workers[i] =
            (concurrent_worker){ctx, i, seed + (uint64_t)i * 1000003, concurrent_rounds(), 0};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < n; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < n; i++)
        if (workers[i].failures != 0)
            fail_msg("thread %d, ATTN_SEED=%d: %d wrong results", i, (int)seed,
                     (int)workers[i].failures);
}

static void concurrent_mixed_calls(void **state)
{
    (void)state;
    concurrent_start(safety_threads(3), concurrent_mixed_work, THREADS);
}

static void concurrent_without_context(void **state)
{
    (void)state;
    concurrent_start(NULL, concurrent_mixed_work, THREADS);
}

/* The same input from all threads, large enough that the pool is really shared out. */
static void *concurrent_same_work(void *arg)
{
    concurrent_worker *w = arg;
    const test_profile profile = {.force = TEST_OPTION(LSE), .pairs = 200000};
    test_case c;
    test_case_draw(&c, 99, &profile);
    attn_status alone = attn_forward(NULL, &c.spec, &c.args, NULL);
    uint64_t want = concurrent_hash(&c.args);
    for (int64_t n = 0; n < w->rounds / 5; n++) {
        attn_status s = attn_forward(w->ctx, &c.spec, &c.args, NULL);
        if (s != ATTN_OK || s != alone || concurrent_hash(&c.args) != want) w->failures++;
    }
    test_case_free(&c);
    return NULL;
}

static void concurrent_same_input(void **state)
{
    (void)state;
    concurrent_start(safety_threads(4), concurrent_same_work, THREADS);
}

/* Inputs are shared, outputs are not: readers need no lock. */
typedef struct concurrent_reader {
    attn_ctx *ctx;
    attn_args args;
    attn_tensor want;
    int64_t failures;
} concurrent_reader;

static void *concurrent_read_work(void *arg)
{
    concurrent_reader *r = arg;
    for (int64_t n = 0; n < test_env_share(60); n++) {
        attn_status s = attn_forward(r->ctx, NULL, &r->args, NULL);
        if (s != ATTN_OK || memcmp(r->args.out.data, r->want.data, safety_size(r->want)) != 0)
            r->failures++;
    }
    return NULL;
}

static void concurrent_shared_inputs(void **state)
{
    (void)state;
    concurrent_reader readers[THREADS];
    pthread_t threads[THREADS];
    attn_args args = ATTN_ARGS(.q = SAFETY_FILLED(F32, 1, 1, 3, 65, 16),
                               .k = SAFETY_FILLED(F16, 2, 1, 3, 513, 16),
                               .v = SAFETY_FILLED(F32, 3, 1, 3, 513, 16));
    args.out = SAFETY_EMPTY(F32, 1, 3, 65, 16);
    safety_run(NULL, NULL, &args);
    attn_tensor want = args.out;
    for (int i = 0; i < THREADS; i++) {
        args.out = SAFETY_EMPTY(F32, 1, 3, 65, 16);
        readers[i] = (concurrent_reader){safety_threads(2), args, want, 0};
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, concurrent_read_work, &readers[i]),
                         0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++) assert_int_equal(readers[i].failures, 0);
}

/* Contexts come and go while others work. */
static void *concurrent_churn_work(void *arg)
{
    concurrent_worker *w = arg;
    for (int64_t n = 0; n < w->rounds / 4; n++) {
        attn_ctx *ctx = NULL;
        attn_config config = ATTN_CONFIG(.threads = 1 + (w->number + (int)n) % 3);
        const test_profile profile = {.pairs = 3000};
        test_case c;
        test_case_draw(&c, w->seed + (uint64_t)n, &profile);
        attn_status s = attn_ctx_create(&ctx, &config, NULL);
        attn_status alone = attn_forward(NULL, &c.spec, &c.args, NULL);
        uint64_t want = concurrent_hash(&c.args);
        if (s == ATTN_OK) s = attn_forward(ctx, &c.spec, &c.args, NULL);
        if (s != alone || concurrent_hash(&c.args) != want) w->failures++;
        attn_ctx_destroy(ctx);
        test_case_free(&c);
    }
    return NULL;
}

static void concurrent_contexts_churn(void **state)
{
    (void)state;
    concurrent_start(NULL, concurrent_churn_work, THREADS);
}

/* A child of fork inherits a context whose threads did not come along: it still computes. */
static void concurrent_after_fork(void **state)
{
    (void)state;
    attn_ctx *ctx = safety_threads(3);
    const test_profile profile = {.pairs = 100000};
    test_case c;
    test_case_draw(&c, 7, &profile);
    assert_int_equal(attn_forward(ctx, &c.spec, &c.args, NULL), ATTN_OK);
    uint64_t want = concurrent_hash(&c.args);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        attn_status s = attn_forward(ctx, &c.spec, &c.args, NULL);
        _exit(s == ATTN_OK && concurrent_hash(&c.args) == want ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    test_case_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SAFETY_CASE(concurrent_mixed_calls),    SAFETY_CASE(concurrent_without_context),
        SAFETY_CASE(concurrent_same_input),     SAFETY_CASE(concurrent_shared_inputs),
        SAFETY_CASE(concurrent_contexts_churn), SAFETY_CASE(concurrent_after_fork),
    };
    return cmocka_run_group_tests_name("concurrent", tests, NULL, safety_finish);
}
