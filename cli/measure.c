/* SPDX-License-Identifier: MIT
 * Clocks, and what this machine can do at most in multiply-adds, measured, not assumed, by the
 * same number of threads as the work it is compared with. Reading is in measure_read.c. */
#define _POSIX_C_SOURCE 200809L
#include "cli.h"

#include <pthread.h>
#include <time.h>

double cli_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- several threads at once ------------------------------------------------------------- */

typedef struct measure_task {
    void (*body)(void *);
    void *arg;
} measure_task;

static void *measure_thread(void *arg)
{
    const measure_task *task = arg;
    task->body(task->arg);
    return NULL;
}

double cli_measure_together(void (*body)(void *), void *const *args, int n)
{
    pthread_t threads[CLI_MEASURE_THREADS];
    measure_task tasks[CLI_MEASURE_THREADS];
    bool started[CLI_MEASURE_THREADS] = {false};
    const double begin = cli_seconds();
    for (int i = 0; i + 1 < n; i++) {
        tasks[i] = (measure_task){body, args[i]};
        started[i] = pthread_create(&threads[i], NULL, measure_thread, &tasks[i]) == 0;
    }
    body(args[n - 1]);
    for (int i = 0; i + 1 < n; i++) {
        if (started[i])
            pthread_join(threads[i], NULL);
        else
            body(args[i]);
    }
    return cli_seconds() - begin;
}

int cli_measure_threads(const attn_ctx *ctx)
{
    const int n = attn_ctx_threads(ctx);
    return n < CLI_MEASURE_THREADS ? n : CLI_MEASURE_THREADS;
}

/* ---- multiply-adds ----------------------------------------------------------------------- */

typedef struct measure_share {
    const attn_ctx *ctx;
    int64_t rounds;
    double flops;
} measure_share;

static void measure_fma_share(void *arg)
{
    measure_share *share = arg;
    share->flops = attn_probe_fma(share->ctx, share->rounds);
}

static double measure_fma_once(const attn_ctx *ctx, int64_t rounds, double *seconds)
{
    measure_share shares[CLI_MEASURE_THREADS];
    void *args[CLI_MEASURE_THREADS] = {NULL};
    const int n = cli_measure_threads(ctx);
    for (int i = 0; i < n; i++) {
        shares[i] = (measure_share){.ctx = ctx, .rounds = rounds};
        args[i] = &shares[i];
    }
    *seconds = cli_measure_together(measure_fma_share, args, n);
    double flops = 0;
    for (int i = 0; i < n; i++) flops += shares[i].flops;
    return flops;
}

double cli_measure_fma(const attn_ctx *ctx)
{
    int64_t rounds = 1024;
    double best = 0, seconds = 0;
    while (rounds < INT64_C(1) << 40 && measure_fma_once(ctx, rounds, &seconds) > 0 &&
           seconds < 0.02)
        rounds *= 2;
    for (int i = 0; i < 3; i++) {
        const double flops = measure_fma_once(ctx, rounds, &seconds);
        if (flops / seconds > best) best = flops / seconds;
    }
    return best;
}
