/* SPDX-License-Identifier: MIT
 * attn verify: decoding over a paged cache, a token at a time, has the bits of one call over the
 * keys and values that the cache gives back, in every type that it keeps. */
#include "verify.h"

#include <math.h>
#include <string.h>

typedef struct verify_cached {
    attn_ctx *ctx;
    attn_cache *cache;
    attn_tensor q, k, v;        /* B H T D, B G S D, B G S E: of the problem */
    attn_tensor held_k, held_v; /* what the cache says of k and v */
    attn_tensor whole, step,
        row; /* B H T E, B H 1 E, and the row of whole that step should be */
} verify_cached;

static bool cached_append(const verify_cached *c, int64_t from, int64_t to)
{
    const attn_cache_new rows = ATTN_CACHE_NEW(.k = attn_tensor_slice(c->k, 2, from, to),
                                               .v = attn_tensor_slice(c->v, 2, from, to));
    return attn_cache_append(c->cache, &rows, NULL) == ATTN_OK;
}

/* Entry b of t, without its batch. */
static attn_tensor cached_entry(attn_tensor t, int64_t b)
{
    t = attn_tensor_slice(t, 0, b, b + 1);
    t.rank--;
    memmove(t.shape, t.shape + 1, (size_t)t.rank * sizeof *t.shape);
    memmove(t.stride, t.stride + 1, (size_t)t.rank * sizeof *t.stride);
    return t;
}

static bool cached_read(const verify_cached *c)
{
    bool ok = true;
    for (int64_t b = 0; b < c->k.shape[0]; b++)
        ok = ok &&
             attn_cache_read(c->cache, b, 0, c->k.shape[2], cached_entry(c->held_k, b),
                             cached_entry(c->held_v, b), NULL) == ATTN_OK &&
             attn_cache_truncate(c->cache, b, c->k.shape[2] - c->q.shape[2], NULL) == ATTN_OK;
    return ok;
}

/* All at once, read back; rolled back, and again a token at a time. */
static bool cached_holds(const verify_cached *c)
{
    const attn_spec spec = ATTN_SPEC(.causal = true, .align = ATTN_ALIGN_BOTTOM_RIGHT);
    const int64_t T = c->q.shape[2], S = c->k.shape[2];
    const attn_args all = ATTN_ARGS(.q = c->q, .k = c->held_k, .v = c->held_v, .out = c->whole);
    if (!cached_append(c, 0, S) || !cached_read(c)) return false;
    if (attn_forward(c->ctx, &spec, &all, NULL) != ATTN_OK) return false;
    for (int64_t i = 0; i < T; i++) {
        const attn_args one = ATTN_ARGS(.q = attn_tensor_slice(c->q, 2, i, i + 1),
                                        .cache = c->cache, .out = c->step);
        if (!cached_append(c, S - T + i, S - T + i + 1)) return false;
        if (attn_forward(c->ctx, &spec, &one, NULL) != ATTN_OK) return false;
        attn_tensor_copy(c->row, attn_tensor_slice(c->whole, 2, i, i + 1), NULL);
        if (!verify_same_bits(c->step, c->row)) return false;
    }
    return true;
}

static attn_tensor cached_like(attn_tensor t, int64_t n, int64_t width)
{
    return cli_array_new(ATTN_DTYPE_F32, 4,
                         (const int64_t[]){t.shape[0], t.shape[1], n, width});
}

static bool cached_type(verify_cached *c, attn_cache_type type)
{
    const attn_cache_spec spec =
        ATTN_CACHE(.kind = ATTN_CACHE_PAGED, .sequences = c->k.shape[0], .heads = c->k.shape[1],
                   .key_width = c->k.shape[3], .value_width = c->v.shape[3], .page = 3,
                   .pages = c->k.shape[0] * (c->k.shape[2] / 3 + 1), .key = {.type = type},
                   .value = {.type = type});
    bool ok = attn_cache_create(&c->cache, c->ctx, &spec, NULL) == ATTN_OK && cached_holds(c);
    attn_cache_destroy(c->cache);
    return ok;
}

double verify_cache(const verify_problem *p, attn_ctx *ctx)
{
    static const attn_cache_type types[] = {ATTN_CACHE_F32, ATTN_CACHE_BF16, ATTN_CACHE_F16,
                                            ATTN_CACHE_I8, ATTN_CACHE_I4};
    verify_cached c = {.ctx = ctx,
                       .q = p->slots[attn_mech_slot(p->mech, "q")],
                       .k = p->slots[attn_mech_slot(p->mech, "k")],
                       .v = p->slots[attn_mech_slot(p->mech, "v")]};
    const int64_t T = c.q.shape[2], S = c.k.shape[2], D = c.k.shape[3], E = c.v.shape[3];
    attn_tensor *const mine[] = {&c.held_k, &c.held_v, &c.whole, &c.step, &c.row};
    c.held_k = cached_like(c.k, S, D), c.held_v = cached_like(c.v, S, E);
    c.whole = cached_like(c.q, T, E);
    c.step = cached_like(c.q, 1, E), c.row = cached_like(c.q, 1, E);
    bool ok = T <= S;
    for (int i = 0; i < 5; i++) ok = ok && mine[i]->data;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        ok = ok && cached_type(&c, types[i]);
    for (int i = 0; i < 5; i++) cli_array_free(mine[i]);
    return ok ? 0 : HUGE_VAL;
}
