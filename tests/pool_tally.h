/* SPDX-License-Identifier: MIT
 * What the two test programs of the pool share: a region that counts how often each index came,
 * and one whose bodies wait for each other. */
#ifndef POOL_TALLY_H
#define POOL_TALLY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/base.h"

enum { MAX_N = 4096 };

typedef struct tally {
    atomic_int hits[MAX_N];
    int plain[MAX_N]; /* written without atomics: a race here is a finding of the sanitizer */
} tally;

static inline void tally_body(void *arg, int i)
{
    tally *t = arg;
    atomic_fetch_add(&t->hits[i], 1);
    t->plain[i] += i + 1;
}

/* Not an assertion, so that threads and children may ask too. */
static inline bool tally_is(const tally *t, int n, int times)
{
    for (int i = 0; i < MAX_N; i++) {
        int want = i < n ? times : 0;
        if (atomic_load(&t->hits[i]) != want || t->plain[i] != want * (i + 1)) return false;
    }
    return true;
}

static inline attn_ctx *make_ctx(int threads)
{
    attn_config config = ATTN_CONFIG(.threads = threads);
    attn_ctx *ctx = NULL;
    if (attn_ctx_create(&ctx, &config, NULL) != ATTN_OK) return NULL;
    return ctx;
}

static inline bool run_once(const attn_ctx *ctx, int n)
{
    tally *t = calloc(1, sizeof *t);
    if (!t) return false;
    attn__parallel(ctx, n, tally_body, t);
    bool fine = tally_is(t, n, 1);
    free(t);
    return fine;
}

/* Bodies that wait for each other: only as many threads can finish this. */
static inline void meet_body(void *arg, int i)
{
    (void)i;
    pthread_barrier_wait(arg);
}

static inline bool meet(const attn_ctx *ctx, int threads)
{
    pthread_barrier_t barrier;
    if (pthread_barrier_init(&barrier, NULL, (unsigned)threads) != 0) return false;
    attn__parallel(ctx, threads, meet_body, &barrier);
    pthread_barrier_destroy(&barrier);
    return true;
}

#endif
