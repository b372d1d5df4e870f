/* SPDX-License-Identifier: MIT
 * A small pool of threads, and attn__parallel, the only door to it.
 *
 * A region is one loop: body(arg, 0) ... body(arg, n - 1). Indices are handed out by an atomic
 * counter and the caller takes part, so a region is finished by whoever is awake; a worker that
 * wakes too late finds no ticket and goes back to sleep. Workers sleep on a condition variable;
 * they are started when a region first has work for them, and one that cannot be started is
 * done without.
 *
 * One region at a time: whoever finds the pool busy (another caller, or a body that calls
 * again) runs its loop itself. After fork the child has the memory of the pool but not its
 * threads; it sees that by the process number and also runs its loops itself. */
#define _POSIX_C_SOURCE 200809L

#include "base/base.h"

#include <pthread.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <unistd.h>

enum { POOL_SPINS = 2000 };

struct attn__pool {
    /* On a line of its own: everybody in a region writes it. */
    alignas(64) _Atomic int64_t next;
    alignas(64) pthread_mutex_t turn; /* held by the caller of a region; only ever tried */
    pthread_mutex_t lock;             /* for all that follows */
    pthread_cond_t work, done;
    pid_t owner;
    int n_workers, n_started;
    bool failed, stop; /* failed: the system starts no more threads */
    int tickets;       /* workers that may still join the region */
    atomic_int active; /* workers in the region; also read without the lock, as a hint */
    int n;
    void (*body)(void *arg, int i);
    void *arg;
    pthread_t workers[];
};

static inline void pool_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* ---- inside a region --------------------------------------------------------------------- */

static void pool_drain(struct attn__pool *pool)
{
    void (*body)(void *, int) = pool->body;
    void *arg = pool->arg;
    for (int64_t n = pool->n;;) {
        int64_t i = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (i >= n) return;
        body(arg, (int)i);
    }
}

static void *pool_work(void *user)
{
    struct attn__pool *pool = user;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (!pool->stop && pool->tickets == 0) pthread_cond_wait(&pool->work, &pool->lock);
        if (pool->stop) break;
        pool->tickets--;
        atomic_fetch_add_explicit(&pool->active, 1, memory_order_relaxed);
        pthread_mutex_unlock(&pool->lock);
        pool_drain(pool);
        pthread_mutex_lock(&pool->lock);
        /* Every index is taken: nobody else needs to come. The region is still this one,
         * because its caller waits for us. */
        pool->tickets = 0;
        int before = atomic_fetch_sub_explicit(&pool->active, 1, memory_order_relaxed);
        if (before == 1) pthread_cond_signal(&pool->done);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* ---- the caller's side ------------------------------------------------------------------- */

/* Signals belong to the program's own threads: workers are born with all of them blocked. */
static void pool_start(struct attn__pool *pool, int64_t wanted)
{
    sigset_t all, before;
    sigfillset(&all);
    pool->failed = pthread_sigmask(SIG_SETMASK, &all, &before) != 0;
    if (pool->failed) return;
    while (pool->n_started < wanted && !pool->failed) {
        pthread_t *worker = &pool->workers[pool->n_started];
        pool->failed = pthread_create(worker, NULL, pool_work, pool) != 0;
        if (!pool->failed) pool->n_started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void pool_open(struct attn__pool *pool, int n, void (*body)(void *, int), void *arg)
{
    pthread_mutex_lock(&pool->lock);
    int64_t helpers = attn__min(n - 1, pool->n_workers);
    if (pool->n_started < helpers && !pool->failed) pool_start(pool, helpers);
    pool->n = n;
    pool->body = body;
    pool->arg = arg;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    pool->tickets = (int)attn__min(helpers, pool->n_started);
    for (int i = 0; i < pool->tickets; i++) pthread_cond_signal(&pool->work);
    pthread_mutex_unlock(&pool->lock);
}

/* The last bodies are usually about to return, so look for a moment before sleeping. */
static void pool_join(struct attn__pool *pool)
{
    for (int i = 0; i < POOL_SPINS; i++) {
        if (atomic_load_explicit(&pool->active, memory_order_relaxed) == 0) break;
        pool_pause();
    }
    pthread_mutex_lock(&pool->lock);
    pool->tickets = 0;
    while (atomic_load_explicit(&pool->active, memory_order_relaxed) > 0)
        pthread_cond_wait(&pool->done, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}

static void pool_run_serial(int n, void (*body)(void *arg, int i), void *arg)
{
    for (int i = 0; i < n; i++) body(arg, i);
}

void attn__parallel(const attn_ctx *ctx, int n, void (*body)(void *arg, int i), void *arg)
{
    struct attn__pool *pool = ctx ? ctx->pool : NULL;
    if (n > 0 && ctx && ctx->parallel_for) {
        ctx->parallel_for(ctx->parallel_user, n, body, arg);
        return;
    }
    bool alone = n <= 1 || !pool || pool->owner != getpid();
    if (alone || pthread_mutex_trylock(&pool->turn) != 0) {
        pool_run_serial(n, body, arg);
        return;
    }
    pool_open(pool, n, body, arg);
    pool_drain(pool);
    pool_join(pool);
    pthread_mutex_unlock(&pool->turn);
}

/* ---- life -------------------------------------------------------------------------------- */

static size_t pool_bytes(int n_workers)
{
    return sizeof(struct attn__pool) + (size_t)n_workers * sizeof(pthread_t);
}

static bool pool_init_locks(struct attn__pool *pool)
{
    if (pthread_mutex_init(&pool->turn, NULL) != 0) return false;
    if (pthread_mutex_init(&pool->lock, NULL) != 0) goto no_lock;
    if (pthread_cond_init(&pool->work, NULL) != 0) goto no_work;
    if (pthread_cond_init(&pool->done, NULL) != 0) goto no_done;
    return true;
no_done:
    pthread_cond_destroy(&pool->work);
no_work:
    pthread_mutex_destroy(&pool->lock);
no_lock:
    pthread_mutex_destroy(&pool->turn);
    return false;
}

struct attn__pool *attn__pool_create(const attn_ctx *ctx, int threads)
{
    int n_workers = threads - 1;
    if (n_workers < 1) return NULL;
    struct attn__pool *pool = attn__new(ctx, pool_bytes(n_workers));
    if (!pool) return NULL;
    *pool = (struct attn__pool){.owner = getpid(), .n_workers = n_workers};
    if (pool_init_locks(pool)) return pool;
    attn__delete(ctx, pool, pool_bytes(n_workers));
    return NULL;
}

static void pool_stop(struct attn__pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < pool->n_started; i++) pthread_join(pool->workers[i], NULL);
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    pthread_mutex_destroy(&pool->turn);
}

void attn__pool_destroy(const attn_ctx *ctx, struct attn__pool *pool)
{
    if (!pool) return;
    /* A forked child has no workers to join, and the locks may be held by threads it lacks. */
    if (pool->owner == getpid()) pool_stop(pool);
    attn__delete(ctx, pool, pool_bytes(pool->n_workers));
}
