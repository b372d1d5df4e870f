/* SPDX-License-Identifier: MIT
 * The life of a tape, and its one error: the first is kept until attn_tape_clear or a reset.
 *
 * A handle is a number in the list of variables and the age that the tape had when it was made.
 * The age goes up whenever variables are forgotten, so that their handles fit nothing later. */
#include "tape/graph.h"

enum { TAPE_MAGIC = 0x7461706E };

bool attn__tape_alive(const attn_tape *t)
{
    return t && t->magic == TAPE_MAGIC;
}

bool attn__tape_ready(const attn_tape *t)
{
    return attn__tape_alive(t) && t->error.status == ATTN_OK;
}

attn_status attn__tape_fail(attn_tape *t, const attn_error *error)
{
    if (t->error.status == ATTN_OK) t->error = *error;
    return error->status;
}

/* ---- creation ---------------------------------------------------------------------------- */

static attn_status tape_check_config(const attn_tape_config *config, attn_error *error)
{
    if (config->size != sizeof *config)
        return attn__fail_count(error, ATTN_E_VERSION, "config.size",
                                "size is not that of attn_tape_config", sizeof *config,
                                config->size < INT32_MAX ? (int64_t)config->size : INT32_MAX);
    if (config->dtype != ATTN_DTYPE_F32 && config->dtype != ATTN_DTYPE_F64)
        return attn__fail(error, ATTN_E_DTYPE, "config.dtype", "a tape's reals are f32 or f64");
    return ATTN_OK;
}

static attn_status tape_fill(attn_tape *t, attn_ctx *ctx, const attn_tape_config *config,
                             attn_error *error)
{
    const attn_tape_config plain = {.size = sizeof plain};
    uint32_t allowed;
    *t = (attn_tape){.magic = TAPE_MAGIC, .age = 1, .ctx = ctx, .memory = sizeof *t};
    t->config = config ? *config : plain;
    if (t->config.dtype == ATTN_DTYPE_NONE) t->config.dtype = ATTN_DTYPE_F32;
    ATTN_TRY(attn__ctx_check(ctx, error));
    ATTN_TRY(tape_check_config(&t->config, error));
    ATTN_TRY(attn__isa_allowed(ctx, &allowed, error));
    t->kernels = attn__kernels_pick(t->config.dtype, allowed);
    if (!t->kernels)
        return attn__fail(error, ATTN_E_ISA, "ctx", "no kernels for these instruction sets");
    return ATTN_OK;
}

attn_status attn_tape_create(attn_tape **out, attn_ctx *ctx, const attn_tape_config *config,
                             attn_error *error)
{
    attn_tape t;
    if (!out) return attn__fail(error, ATTN_E_NULL, "tape", "no place for the result");
    *out = NULL;
    ATTN_TRY(tape_fill(&t, ctx, config, error));
    attn_tape *made = attn__new(ctx, sizeof *made);
    if (!made) return attn__fail(error, ATTN_E_MEMORY, "tape", "out of memory");
    *made = t;
    *out = made;
    return ATTN_OK;
}

/* ---- forgetting -------------------------------------------------------------------------- */

void attn__tape_shrink(attn_tape *t, int64_t n_vars, int64_t n_nodes)
{
    while (t->n_nodes > n_nodes) attn__node_free(t, t->nodes[--t->n_nodes]);
    while (t->n_vars > n_vars) {
        attn__variable *v = &t->vars[--t->n_vars];
        attn__block_release(t, &v->grad);
        attn__block_release(t, &v->memory);
    }
    t->age++;
}

void attn_tape_reset(attn_tape *t)
{
    if (!attn__tape_alive(t) || t->walking || t->pauses > 0) return;
    attn__tape_shrink(t, 0, 0);
    attn__tape_delete(t, t->vars, (size_t)t->vars_room * sizeof *t->vars);
    attn__tape_delete(t, t->nodes, (size_t)t->nodes_room * sizeof *t->nodes);
    t->vars = NULL;
    t->nodes = NULL;
    t->vars_room = t->nodes_room = 0;
    attn_tape_clear(t);
}

void attn_tape_destroy(attn_tape *t)
{
    if (!attn__tape_alive(t) || t->walking || t->pauses > 0) return;
    attn_tape_reset(t);
    /* As in ctx.c: a later use of the pointer finds no magic while nobody reuses the memory. */
    *(volatile uint32_t *)&t->magic = 0;
    attn__delete(t->ctx, t, sizeof *t);
}

/* ---- what it says ------------------------------------------------------------------------ */

attn_status attn_tape_status(const attn_tape *t, attn_error *error)
{
    if (!attn__tape_alive(t))
        return attn__fail(error, ATTN_E_HANDLE, "attn_tape_status", "not a live tape");
    if (t->error.status != ATTN_OK && error) *error = t->error;
    return t->error.status;
}

void attn_tape_clear(attn_tape *t)
{
    if (attn__tape_alive(t)) t->error = (attn_error){.status = ATTN_OK};
}

size_t attn_tape_memory(const attn_tape *t)
{
    return attn__tape_alive(t) ? t->memory : 0;
}
