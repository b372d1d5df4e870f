/* SPDX-License-Identifier: MIT
 * A context: who allocates, how many threads, which instruction sets. Every call accepts NULL
 * instead of one: malloc, the calling thread alone, the best instruction set of this machine.
 * A context is safe to share between threads; while one call uses its workers, others run on
 * their own calling thread. Results never depend on any of this. Threads that share one on a
 * CPU with SVE must run at one vector length, which they do unless a program changes it. */
#ifndef ATTN_CTX_H
#define ATTN_CTX_H

#include "attn/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One function for all memory. ptr NULL: allocate new_size bytes, aligned to align (a power of
 * two). new_size 0: free ptr. Never called with both non-trivial. NULL means failure. */
typedef void *(*attn_alloc_fn)(void *user, void *ptr, size_t old_size, size_t new_size,
                               size_t align);

/* Runs body(arg, 0) ... body(arg, n - 1), each exactly once, in any order, on any threads,
 * and returns when all have returned. */
typedef void (*attn_parallel_fn)(void *user, int n, void (*body)(void *arg, int i), void *arg);

enum {
#define ISA(name, bit, needs) ATTN_ISA_##name = 1 << bit,
#include "attn/isa.def"
#undef ISA
};

typedef struct attn_config {
    size_t size;         /* sizeof(attn_config); ATTN_CONFIG() fills it */
    int threads;         /* 0: every CPU this process may use */
    uint32_t isa_mask;   /* ATTN_ISA_* bits that may be used; 0: all */
    attn_alloc_fn alloc; /* NULL: malloc and free */
    void *alloc_user;
    attn_parallel_fn parallel_for; /* NULL: own pool of threads; else it runs every region */
    void *parallel_user;
} attn_config;

#ifndef __cplusplus
#    define ATTN_CONFIG(...) ((attn_config){.size = sizeof(attn_config), __VA_ARGS__})
#endif

typedef struct attn_ctx attn_ctx;

/* The environment variable ATTN_ISA (a name of isa.def) caps the instruction set too, also for
 * calls without a context: tables after it in the list are not used. A thread that cannot be
 * started is done without. */
ATTN_API attn_status attn_ctx_create(attn_ctx **ctx, const attn_config *config,
                                     attn_error *error);
ATTN_API void attn_ctx_destroy(attn_ctx *ctx); /* NULL is legal */
ATTN_API int attn_ctx_threads(const attn_ctx *ctx);

/* The names of isa.def in order, NULL past the end. (attn_isa_usable is in attn/attention.h.)
 */
ATTN_API const char *attn_isa_name(int i);
ATTN_API uint32_t attn_isa_bit(int i); /* its ATTN_ISA_*; 0 past the end */

/* CPUs this process may run on: affinity and cgroup quota considered. At least 1. */
ATTN_API int attn_cpu_count(void);
/* The CPU features that matter here, "avx2 fma f16c avx512f ...", at most n bytes with the 0.
 */
ATTN_API size_t attn_cpu_text(char *text, size_t n);

#ifdef __cplusplus
}
#endif
#endif
