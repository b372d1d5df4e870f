/* SPDX-License-Identifier: MIT
 * Keys and values that lie in a cache or in pages of a pool, a chunk of a head at a time: where
 * each row is, and the rows as reals. Rows that lie equally spaced as reals are read in place,
 * others are widened into scratch, coded ones as fma(q, scale, zero); so what follows sees the
 * numbers that attn_cache_read gives, or those of the gathered pools. */
#include "engine/source.h"
#include "engine/rotate.h"
#include "engine/rows.h"

/* ---- where the rows are ------------------------------------------------------------------ */

static bool source_rows_cache(const attn__run *r, char *scratch, const attn__seq *seq,
                              int64_t g, int64_t j0, int64_t n, attn__rows *k, attn__rows *v)
{
    attn__cache_look *look = (attn__cache_look *)(void *)(scratch + r->plan->at.look);
    return attn__cache_rows(r->p->at.cache, seq->held, g, j0, n, look, k, v);
}

/* Addresses of the rows, a page at a time. */
static void source_pool(const attn__run *r, const attn__seq *seq, int64_t g, int64_t j0,
                        int64_t n, const attn_tensor *pool, const void **row)
{
    const int64_t page = r->p->page;
    const int64_t step = pool->stride[2] * (int64_t)attn_dtype_size(pool->dtype);
    for (int64_t i = 0, m; i < n; i += m) {
        const int64_t at = (j0 + i) / page, slot = j0 + i - at * page;
        const int64_t id = attn__int_at(&r->p->at.page_table, seq->b, at);
        const char *first = attn__at(pool, id, g, slot, 0);
        m = attn__min(n - i, page - slot);
        attn__rows_list(row + i, first, step, m);
    }
}

/* Rows whose elements lie apart are gathered into memory, as reals. */
static attn__rows source_rows_pool(const attn__run *r, const attn__seq *seq, int64_t g,
                                   int64_t j0, int64_t n, const attn_tensor *pool, char *memory,
                                   const void **row)
{
    const attn__kernels *kernels = r->plan->kernels;
    const int64_t width = pool->shape[3], real = width * (int64_t)attn__real_size(kernels);
    const bool apart = pool->stride[3] != 1 && width > 1;
    source_pool(r, seq, g, j0, n, pool, row);
    for (int64_t i = 0; apart && i < n; i++, memory += real) {
        attn__stage_row(kernels, pool->dtype, row[i], pool->stride[3], width, memory);
        row[i] = memory;
    }
    return (attn__rows){.kind = attn__row_kind_of(apart ? kernels->dtype : pool->dtype),
                        .row = row};
}

static bool source_rows_pages(const attn__run *r, char *scratch, const attn__seq *seq,
                              int64_t g, int64_t j0, int64_t n, attn__rows *k, attn__rows *v)
{
    const attn__layout *at = &r->plan->at;
    attn__cache_look *look = (attn__cache_look *)(void *)(scratch + at->look);
    *k = source_rows_pool(r, seq, g, j0, n, &r->p->at.k, scratch + at->k, look->row);
    *v = source_rows_pool(r, seq, g, j0, n, &r->p->at.v, scratch + at->v, look->row + n);
    return true;
}

bool attn__source_rows(const attn__run *r, char *scratch, const attn__seq *seq, int64_t g,
                       int64_t j0, int64_t n, attn__rows *k, attn__rows *v)
{
    return (r->p->source == ATTN__SOURCE_CACHE ? source_rows_cache : source_rows_pages)(
        r, scratch, seq, g, j0, n, k, v);
}

void attn__source_behind(const attn__run *r, char *scratch, const attn__seq *seq, int64_t g,
                         int64_t j0, int64_t n, int64_t behind)
{
    attn__cache_look *look = (attn__cache_look *)(void *)(scratch + r->plan->at.look);
    const void **row = look->row + 2 * n;
    if (r->p->source == ATTN__SOURCE_CACHE)
        attn__cache_keys(r->p->at.cache, seq->held, g, j0 + n, behind, row);
    else
        source_pool(r, seq, g, j0 + n, behind, &r->p->at.k, row);
}

/* ---- the rows as reals ------------------------------------------------------------------- */

/* Whether rows lie as a tensor of reals would; *stride in reals. */
static bool source_even(const attn__kernels *k, const attn__rows *rows, int64_t n,
                        int64_t *stride)
{
    const intptr_t real = (intptr_t)attn__real_size(k), first = (intptr_t)rows->row[0];
    const intptr_t step = n > 1 ? (intptr_t)rows->row[1] - first : 0;
    if (rows->kind != attn__row_kind_of(k->dtype) || first % real || step % real) return false;
    for (int64_t i = 1; i < n; i++)
        if ((intptr_t)rows->row[i] - first != i * step) return false;
    *stride = step / real;
    return true;
}

static const void *source_reals(const attn__kernels *k, const attn__rows *rows, int64_t n,
                                int64_t width, bool copy, char *memory, int64_t *stride)
{
    *stride = width;
    if (width == 0) return memory; /* no numbers in a row: any address serves */
    if (!copy && source_even(k, rows, n, stride)) return rows->row[0];
    *stride = width;
    if (rows->row[0] != memory) k->widen_rows[rows->kind](rows, n, width, memory);
    return memory;
}

const void *attn__source_reals(const attn__run *r, const attn__rows *rows, int64_t first,
                               int64_t n, int64_t width, char *memory, int64_t *stride)
{
    const attn__rows some = attn__rows_from(rows, first);
    return source_reals(r->plan->kernels, &some, n, width, false, memory, stride);
}

attn__staged attn__source_stage(const attn__run *r, char *scratch, const attn__seq *seq,
                                int64_t g, int64_t j0, int64_t n)
{
    const attn__kernels *kernels = r->plan->kernels;
    const attn__layout *at = &r->plan->at;
    const attn__problem *p = r->p;
    const attn__cache_look *look = (const attn__cache_look *)(void *)(scratch + at->look);
    attn__rows k, v;
    attn__staged staged = {0};
    if (!attn__source_rows(r, scratch, seq, g, j0, n, &k, &v)) staged.held = look->held;
    staged.k =
        source_reals(kernels, &k, n, p->D, p->turns_keys, scratch + at->k, &staged.k_stride);
    staged.v = source_reals(kernels, &v, n, p->E, false, scratch + at->v, &staged.v_stride);
    char *row = scratch + at->k;
    for (int64_t j = 0; p->turns_keys && j < n;
         j++, row += p->D * (int64_t)attn__real_size(kernels))
        attn__rotate_row(r, attn__rotate_k_position(r, seq, j0 + j), row);
    return staged;
}

/* ---- which chunks there are -------------------------------------------------------------- */

int64_t attn__source_next(const attn__problem *p, const attn__seq *seq, int64_t chunk)
{
    if (p->source != ATTN__SOURCE_CACHE || chunk * ATTN__CHUNK >= seq->S) return chunk;
    const int64_t next = attn__cache_next(p->at.cache, seq->held, chunk * ATTN__CHUNK);
    return next < seq->S ? next / ATTN__CHUNK : attn__ceil_div(seq->S, ATTN__CHUNK);
}

/* A ring holds its sinks and its window, pages lie in so many chunks each. */
int64_t attn__source_span(const attn__problem *p)
{
    const attn_cache_spec *held = &p->held;
    const int64_t all = attn__ceil_div(p->S, ATTN__CHUNK);
    int64_t chunks = all;
    if (p->source != ATTN__SOURCE_CACHE) return p->S;
    if (held->kind == ATTN_CACHE_RING) chunks = held->capacity / ATTN__CHUNK + 4;
    if (held->kind == ATTN_CACHE_PAGED &&
        !attn__mul(held->pages, held->page / ATTN__CHUNK + 2, &chunks))
        chunks = all;
    return chunks < all ? chunks * ATTN__CHUNK : p->S;
}
