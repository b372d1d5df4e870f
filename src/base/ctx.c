/* SPDX-License-Identifier: MIT
 * The context: checked once from a config, constant afterwards, so threads may share it. All
 * memory of the library goes through attn__new and attn__delete here.
 *
 * Which kernels may run is the intersection of three voices: this CPU, the mask of the config,
 * and the environment variable ATTN_ISA, a name of isa.def that caps the list. */
#define _DEFAULT_SOURCE

#include "base/base.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { CTX_MAGIC = 0x6174746E, CTX_ALIGN = 64, CTX_MAX_THREADS = 1024, CTX_HUGE = 1 << 21 };

/* ---- memory ------------------------------------------------------------------------------ */

/* Size 0 asks for a byte, so that NULL always means failure. */
static size_t ctx_served(size_t size)
{
    return size ? size : 1;
}

/* Large blocks, caches of keys and values above all, lie in huge pages where the system has
 * them: docs/caches.md says what that is worth. */
static void *ctx_malloc(size_t size)
{
    void *ptr = NULL;
    const bool large = size >= 2 * CTX_HUGE;
    if (posix_memalign(&ptr, large ? CTX_HUGE : CTX_ALIGN, size) != 0) return NULL;
#ifdef MADV_HUGEPAGE
    if (large) madvise(ptr, size / CTX_HUGE * CTX_HUGE, MADV_HUGEPAGE);
#endif
    return ptr;
}

void *attn__new(const attn_ctx *ctx, size_t size)
{
    size_t served = ctx_served(size);
    if (served > PTRDIFF_MAX) return NULL;
    if (!ctx || !ctx->alloc) return ctx_malloc(served);
    return ctx->alloc(ctx->alloc_user, NULL, 0, served, CTX_ALIGN);
}

void attn__delete(const attn_ctx *ctx, void *ptr, size_t size)
{
    if (!ptr) return;
    if (!ctx || !ctx->alloc)
        free(ptr);
    else
        ctx->alloc(ctx->alloc_user, ptr, ctx_served(size), 0, CTX_ALIGN);
}

/* ---- instruction sets -------------------------------------------------------------------- */

typedef struct ctx_isa {
    const char *name;
    uint32_t bit;
} ctx_isa;

static const ctx_isa ctx_isas[] = {
#define ISA(name, bit, needs) {#name, UINT32_C(1) << bit},
#include "attn/isa.def"
#undef ISA
};

enum { CTX_ISA_COUNT = sizeof ctx_isas / sizeof ctx_isas[0] };

const char *attn_isa_name(int i)
{
    return i >= 0 && i < CTX_ISA_COUNT ? ctx_isas[i].name : NULL;
}

uint32_t attn_isa_bit(int i)
{
    return i >= 0 && i < CTX_ISA_COUNT ? ctx_isas[i].bit : 0;
}

/* What ATTN_ISA leaves over: everything when unset or empty, else the list up to its name. */
static attn_status ctx_isa_cap(uint32_t *mask, attn_error *error)
{
    const char *name = getenv("ATTN_ISA");
    *mask = 0;
    for (size_t i = 0; i < CTX_ISA_COUNT; i++) {
        *mask |= ctx_isas[i].bit;
        if (name && strcmp(name, ctx_isas[i].name) == 0) return ATTN_OK;
    }
    if (!name || !*name) return ATTN_OK;
    return attn__fail_name(error, ATTN_E_ISA, "ATTN_ISA", "no instruction set has this name",
                           name);
}

attn_status attn__isa_allowed(const attn_ctx *ctx, uint32_t *mask, attn_error *error)
{
    if (ctx) {
        *mask = ctx->isa_allowed;
        return ATTN_OK;
    }
    uint32_t cap;
    ATTN_TRY(ctx_isa_cap(&cap, error));
    *mask = cap & attn__cpu_isas();
    return ATTN_OK;
}

/* ---- the context ------------------------------------------------------------------------- */

static attn_status ctx_check_config(const attn_config *config, attn_error *error)
{
    if (config->size != sizeof *config)
        return attn__fail_count(error, ATTN_E_VERSION, "config.size",
                                "size is not that of attn_config", sizeof *config,
                                config->size < INT32_MAX ? (int64_t)config->size : INT32_MAX);
    if (config->threads < 0)
        return attn__fail_count(error, ATTN_E_PARAM, "config.threads", "must not be negative",
                                0, config->threads);
    if (config->threads > CTX_MAX_THREADS)
        return attn__fail_count(error, ATTN_E_LIMIT, "config.threads", "too many threads",
                                CTX_MAX_THREADS, config->threads);
    return ATTN_OK;
}

static attn_status ctx_fill(attn_ctx *ctx, const attn_config *config, attn_error *error)
{
    *ctx = (attn_ctx){.magic = CTX_MAGIC,
                      .threads = config->threads,
                      .alloc = config->alloc,
                      .alloc_user = config->alloc_user,
                      .parallel_for = config->parallel_for,
                      .parallel_user = config->parallel_user};
    if (ctx->threads == 0) ctx->threads = (int)attn__min(attn_cpu_count(), CTX_MAX_THREADS);
    ATTN_TRY(attn__isa_allowed(NULL, &ctx->isa_allowed, error));
    if (config->isa_mask) ctx->isa_allowed &= config->isa_mask;
    if (!ctx->isa_allowed)
        return attn__fail(error, ATTN_E_ISA, "config.isa_mask",
                          "none of these instruction sets can be used here");
    return ATTN_OK;
}

attn_status attn_ctx_create(attn_ctx **out, const attn_config *config, attn_error *error)
{
    const attn_config plain = {.size = sizeof plain};
    attn_ctx ctx;
    if (!out) return attn__fail(error, ATTN_E_NULL, "ctx", "no place for the result");
    *out = NULL;
    if (!config) config = &plain;
    ATTN_TRY(ctx_check_config(config, error));
    ATTN_TRY(ctx_fill(&ctx, config, error));
    attn_ctx *made = attn__new(&ctx, sizeof *made);
    if (!made) goto fail;
    if (ctx.threads > 1 && !ctx.parallel_for) {
        ctx.pool = attn__pool_create(&ctx, ctx.threads);
        if (!ctx.pool) goto fail;
    }
    *made = ctx;
    *out = made;
    return ATTN_OK;
fail:
    attn__delete(&ctx, made, sizeof *made);
    return attn__fail(error, ATTN_E_MEMORY, "ctx", "out of memory");
}

static bool ctx_is_alive(const attn_ctx *ctx)
{
    return ctx->magic == CTX_MAGIC;
}

void attn_ctx_destroy(attn_ctx *ctx)
{
    if (!ctx || !ctx_is_alive(ctx)) return;
    attn_ctx last = *ctx;
    attn__pool_destroy(&last, last.pool);
    /* A later use of the pointer finds no magic, for as long as nobody reuses the memory; the
     * volatile store keeps a compiler from dropping it as dead. */
    *(volatile uint32_t *)&ctx->magic = 0;
    attn__delete(&last, ctx, sizeof *ctx);
}

attn_status attn__ctx_check(const attn_ctx *ctx, attn_error *error)
{
    if (!ctx || ctx_is_alive(ctx)) return ATTN_OK;
    return attn__fail(error, ATTN_E_HANDLE, "ctx", "not a live context");
}

int attn_ctx_threads(const attn_ctx *ctx)
{
    return ctx && ctx_is_alive(ctx) ? ctx->threads : 1;
}
