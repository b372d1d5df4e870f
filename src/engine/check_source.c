/* SPDX-License-Identifier: MIT
 * What the check says of keys that lie in a cache (include/attn/cache.h) or in pages of a pool:
 * which tensors stay away, that sequences and pages exist, and that lengths lie in what is
 * there. Contents are looked at in every run, O(pages in use). */
#include "engine/args.h"
#include "engine/source.h"

static attn_status source_rules(const attn__problem *p, attn_error *error)
{
    const attn_args *a = &p->at;
    const bool cache = a->cache, pages = attn__present(&a->page_table);
    const attn__rule rules[] = {
        {!cache || !attn__present(&a->k), ATTN_E_PARAM, "k",
         "a cache brings its own keys: give one of them"},
        {!cache || !attn__present(&a->v), ATTN_E_PARAM, "v",
         "a cache brings its own values: give one of them"},
        {!cache || !pages, ATTN_E_PARAM, "page_table",
         "is for pools in k and v, a cache knows its own pages"},
        {cache || !attn__present(&a->cache_seq), ATTN_E_PARAM, "cache_seq", "needs a cache"},
        {!pages || attn__present(&a->k_len), ATTN_E_NULL, "k_len",
         "is required with page_table: a page may be filled in part"},
        {!(cache || pages) || !attn__present(&a->k_start), ATTN_E_PARAM, "k_start",
         "keys of a cache or a page table begin at 0"},
        {!(cache || pages) || !attn__present(&a->cu_k), ATTN_E_PARAM, "cu_k",
         "keys of a cache or a page table are not packed"},
        {!(cache || pages) || p->call == ATTN__FORWARD, ATTN_E_UNSUPPORTED,
         cache ? "cache" : "page_table", "gradients need k and v as tensors of their own"},
    };
    return attn__rules_check(rules, sizeof rules / sizeof rules[0], error);
}

static attn_status source_alive(const attn_cache *cache, attn_error *error)
{
    if (!cache || attn__cache_alive(cache)) return ATTN_OK;
    return attn__fail(error, ATTN_E_HANDLE, "cache", "is not a live cache");
}

attn_status attn__source_check(attn__problem *p, attn_error *error)
{
    ATTN_TRY(source_rules(p, error));
    ATTN_TRY(source_alive(p->at.cache, error));
    if (p->at.cache) {
        p->source = ATTN__SOURCE_CACHE;
        p->held = *attn__cache_spec(p->at.cache);
    } else if (attn__present(&p->at.page_table)) {
        p->source = ATTN__SOURCE_PAGES;
    }
    return ATTN_OK;
}

attn__row_kind attn__source_kind(attn_cache_type type)
{
    static const attn__row_kind kinds[] = {
        [ATTN_CACHE_F32] = ATTN__ROW_F32,   [ATTN_CACHE_F64] = ATTN__ROW_F64,
        [ATTN_CACHE_BF16] = ATTN__ROW_BF16, [ATTN_CACHE_F16] = ATTN__ROW_F16,
        [ATTN_CACHE_I8] = ATTN__ROW_I8,     [ATTN_CACHE_I4] = ATTN__ROW_I4};
    return kinds[type];
}

const attn_cache_format *attn__source_values(const attn__problem *p)
{
    return p->held.latent ? &p->held.key : &p->held.value;
}

/* A row of width elements, with what its code needs of its own. */
static double source_row_bytes(const attn_cache_format *format, int64_t width)
{
    const attn__row_form form = attn__row_form_of(attn__source_kind(format->type));
    const bool scales = form.coded && !attn__present(&format->columns);
    const double row = (double)width * form.bits / 8;
    return row + (scales ? format->asymmetric ? 8 : 4 : 0);
}

void attn__source_bytes(attn__problem *p)
{
    if (p->source != ATTN__SOURCE_CACHE) {
        p->k_bytes = (double)p->D * (double)attn_dtype_size(p->at.k.dtype);
        p->v_bytes = (double)p->E * (double)attn_dtype_size(p->at.v.dtype);
        return;
    }
    p->k_bytes = source_row_bytes(&p->held.key, p->D);
    p->v_bytes = p->held.latent ? 0 : source_row_bytes(&p->held.value, p->E);
}

/* What a plan has been made for. */
static bool source_same(const attn_cache_spec *a, const attn_cache_spec *b)
{
    return a->kind == b->kind && a->heads == b->heads && a->key_width == b->key_width &&
           a->value_width == b->value_width && a->capacity == b->capacity &&
           a->page == b->page && a->pages == b->pages && a->longest == b->longest &&
           a->key.type == b->key.type && a->value.type == b->value.type &&
           a->latent == b->latent;
}

attn_status attn__source_rebind(attn__problem *p, const attn_cache *cache, attn_error *error)
{
    if (p->source != ATTN__SOURCE_CACHE) return ATTN_OK;
    ATTN_TRY(source_alive(cache, error));
    if (!source_same(&p->held, attn__cache_spec(cache)))
        return attn__fail(error, ATTN_E_SHAPE, "cache", "differs from that of the plan");
    p->at.cache = cache;
    return ATTN_OK;
}

/* ---- contents ---------------------------------------------------------------------------- */

static attn_status source_sequence(const attn__problem *p, int64_t b, attn_error *error)
{
    const attn_tensor *seq = &p->at.cache_seq, *len = &p->at.k_len;
    const int64_t most = attn__cache_spec(p->at.cache)->sequences;
    const int64_t at = attn__present(seq) ? attn__int_at(seq, b, 0) : b;
    if (at < 0 || at >= most)
        return attn__fail_count(error, ATTN_E_PAGE, attn__present(seq) ? "cache_seq" : "cache",
                                "has no such sequence", most, at);
    const int64_t length = attn_cache_length(p->at.cache, at);
    if (attn__present(len) && attn__int_at(len, b, 0) > length)
        return attn__fail_count(error, ATTN_E_LENGTH, "k_len", "is beyond the cache", length,
                                attn__int_at(len, b, 0));
    return ATTN_OK;
}

static attn_status source_pages(const attn__problem *p, int64_t b, attn_error *error)
{
    const int64_t P = p->at.k.shape[0], len = attn__int_at(&p->at.k_len, b, 0);
    for (int64_t x = 0; x * p->page < len; x++) {
        const int64_t page = attn__int_at(&p->at.page_table, b, x);
        if (page < 0 || page >= P)
            return attn__fail_count(error, ATTN_E_PAGE, "page_table",
                                    "a page is outside the pools", P, page);
    }
    return ATTN_OK;
}

attn_status attn__source_check_data(const attn__problem *p, attn_error *error)
{
    static attn_status (*const checks[])(const attn__problem *, int64_t, attn_error *) = {
        [ATTN__SOURCE_CACHE] = source_sequence, [ATTN__SOURCE_PAGES] = source_pages};
    if (p->source == ATTN__SOURCE_TENSORS) return ATTN_OK;
    for (int64_t b = 0; b < p->N; b++) ATTN_TRY(checks[p->source](p, b, error));
    return ATTN_OK;
}
