/* SPDX-License-Identifier: MIT
 * What this machine can do at most, measured, not assumed: f32 multiply-adds in registers and
 * reading from memory, by the same number of threads as the work they are compared with. */
#define _POSIX_C_SOURCE 200809L
#include "cli.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MEASURE_THREADS = 256, MEASURE_BYTES = 256 << 20 };

double cli_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* One thread's share, and what came of it. */
typedef struct measure_share {
    attn_ctx *ctx;
    int64_t rounds;
    const uint64_t *words;
    size_t n;
    double flops;
    uint64_t sum; /* keeps the reads alive */
} measure_share;

static void *measure_fma_share(void *arg)
{
    measure_share *share = arg;
    share->flops = attn_probe_fma(share->ctx, share->rounds);
    return NULL;
}

/* Eight chains, so that the additions never wait for each other. */
static void *measure_read_share(void *arg)
{
    measure_share *share = arg;
    uint64_t sum[8] = {0};
    for (size_t i = 0; i + 8 <= share->n; i += 8)
        for (size_t j = 0; j < 8; j++) sum[j] += share->words[i + j];
    for (size_t j = 0; j < 8; j++) share->sum += sum[j];
    return NULL;
}

/* Runs body on every share at once, the last one here; returns the seconds it took. */
static double measure_together(void *(*body)(void *), measure_share *shares, int n)
{
    pthread_t threads[MEASURE_THREADS];
    bool started[MEASURE_THREADS] = {false};
    double begin = cli_seconds();
    for (int i = 0; i + 1 < n; i++)
        started[i] = pthread_create(&threads[i], NULL, body, &shares[i]) == 0;
    body(&shares[n - 1]);
    for (int i = 0; i + 1 < n; i++) {
        if (started[i])
            pthread_join(threads[i], NULL);
        else
            body(&shares[i]);
    }
    return cli_seconds() - begin;
}

static int measure_threads(const attn_ctx *ctx)
{
    int n = attn_ctx_threads(ctx);
    return n < MEASURE_THREADS ? n : MEASURE_THREADS;
}

static double measure_fma_once(attn_ctx *ctx, int64_t rounds, double *seconds)
{
    measure_share shares[MEASURE_THREADS];
    int n = measure_threads(ctx);
    for (int i = 0; i < n; i++) shares[i] = (measure_share){.ctx = ctx, .rounds = rounds};
    *seconds = measure_together(measure_fma_share, shares, n);
    double flops = 0;
    for (int i = 0; i < n; i++) flops += shares[i].flops;
    return flops;
}

double cli_measure_fma(attn_ctx *ctx)
{
    int64_t rounds = 1024;
    double best = 0, seconds = 0;
    while (rounds < INT64_C(1) << 40 && measure_fma_once(ctx, rounds, &seconds) > 0 &&
           seconds < 0.02)
        rounds *= 2;
    for (int i = 0; i < 3; i++) {
        double flops = measure_fma_once(ctx, rounds, &seconds);
        if (flops / seconds > best) best = flops / seconds;
    }
    return best;
}

double cli_measure_bandwidth(attn_ctx *ctx)
{
    int n = measure_threads(ctx);
    size_t words = MEASURE_BYTES / sizeof(uint64_t), each = words / (size_t)n;
    uint64_t *buffer = malloc(MEASURE_BYTES);
    if (!buffer) return 0;
    memset(buffer, 1, MEASURE_BYTES);
    double best = 0;
    for (int repeat = 0; repeat < 4; repeat++) {
        measure_share shares[MEASURE_THREADS];
        for (int i = 0; i < n; i++)
            shares[i] = (measure_share){.words = buffer + (size_t)i * each, .n = each};
        double seconds = measure_together(measure_read_share, shares, n);
        double rate = (double)(each * (size_t)n * sizeof(uint64_t)) / seconds;
        if (rate > best) best = rate;
    }
    free(buffer);
    return best;
}
