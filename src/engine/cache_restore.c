/* SPDX-License-Identifier: MIT
 * A cache from its entries (cache_entry.c). Tensors may come from anywhere: all that a list says
 * about another is compared before the cache is handed out. */
#include <stdint.h>
#include <string.h>

#include "engine/cache_store.h"

typedef struct restore_source {
    int64_t n;
    const char *const *names;
    const attn_tensor *tensors;
} restore_source;

/* Absent when there is none of this name. */
static attn_status restore_find(const restore_source *from, const char *name,
                                attn_tensor *found, attn_error *error)
{
    *found = (attn_tensor){0};
    for (int64_t i = 0; i < from->n; i++) {
        if (!from->names[i])
            return attn__fail_count(error, ATTN_E_NULL, "names", "a name is missing", i, i);
        if (strcmp(from->names[i], name) != 0) continue;
        if (attn__present(found))
            return attn__fail(error, ATTN_E_DUP, name, "stands twice among the names");
        *found = from->tensors[i];
    }
    return ATTN_OK;
}

static attn_status restore_need(const restore_source *from, const char *name, attn_tensor *t,
                                attn_error *error)
{
    ATTN_TRY(restore_find(from, name, t, error));
    if (attn__present(t)) return ATTN_OK;
    return attn__fail(error, ATTN_E_NAME, name, "this tensor of a cache is missing");
}

/* What matters here is the room of an entry. */
static attn__cache_entry restore_room(const attn_cache *c, int i)
{
    return attn__cache_entry_get(c, (attn__cache_use){0, 0}, i);
}

/* ---- one tensor ------------------------------------------------------------------------- */

/* Each dimension as large as the room, or, where only a part may be in use, smaller. */
static attn_status restore_shape(const attn__cache_entry *e, const attn_tensor *t,
                                 attn_error *error)
{
    const attn_tensor *room = &e->whole;
    if (t->rank != room->rank)
        return attn__fail_count(error, ATTN_E_RANK, e->name,
                                "has too many or too few dimensions", room->rank, t->rank);
    for (int i = 0; i < t->rank; i++) {
        if (t->shape[i] == room->shape[i]) continue;
        if (i == e->part && t->shape[i] < room->shape[i]) continue;
        return attn__fail_count(error, ATTN_E_SHAPE, e->name,
                                "does not fit the cache it belongs to", room->shape[i],
                                t->shape[i]);
    }
    return ATTN_OK;
}

static attn_status restore_entry(const attn__cache_entry *e, const restore_source *from,
                                 attn_error *error)
{
    attn_tensor t, to = e->whole;
    ATTN_TRY(restore_need(from, e->name, &t, error));
    ATTN_TRY(attn__tensor_check(&t, e->name, error));
    if (t.dtype != to.dtype)
        return attn__fail_count(error, ATTN_E_DTYPE, e->name, "has another element type",
                                to.dtype, t.dtype);
    ATTN_TRY(restore_shape(e, &t, error));
    if (!t.data && attn_tensor_count(t) > 0)
        return attn__fail(error, ATTN_E_NULL, e->name, "has elements but no data");
    for (int i = 0; i < t.rank; i++) to = attn_tensor_slice(to, i, 0, t.shape[i]);
    return attn_tensor_copy(to, t, error);
}

/* ---- what they say together ------------------------------------------------------------- */

static attn_status restore_length(const attn_cache *c, int64_t seq, attn_error *error)
{
    const int64_t length = c->length[seq], start = c->start[seq], sinks = c->spec.sinks;
    if (length < 0 || length > c->spec.longest)
        return attn__fail_count(error, ATTN_E_LENGTH, "length",
                                "is negative or beyond the longest", c->spec.longest, length);
    if (start < sinks || start > attn__max(length, sinks))
        return attn__fail_count(error, ATTN_E_POSITION, "start",
                                "lies behind the sinks and not beyond the length", length,
                                start);
    if (c->spec.kind == ATTN_CACHE_RING && length - start > attn__cache_round(c))
        return attn__fail_count(error, ATTN_E_POSITION, "start",
                                "a ring holds no more than its room", attn__cache_round(c),
                                length - start);
    return ATTN_OK;
}

/* Bits stand at places of positions only. */
static attn_status restore_held(const attn_cache *c, int64_t seq, attn_error *error)
{
    const int64_t length = c->length[seq], sinks = attn__min(c->spec.sinks, length);
    const uint64_t *held = attn__cache_bits(c, seq);
    int64_t set = 0, known = 0;
    for (int64_t i = 0; i < c->words; i++)
        for (uint64_t w = held[i]; w; w &= w - 1) set++;
    for (int64_t i = 0; i < sinks; i++) known += attn_cache_holds(c, seq, i);
    for (int64_t i = attn__max(c->start[seq], sinks); i < length; i++)
        known += attn_cache_holds(c, seq, i);
    if (set == known) return ATTN_OK;
    return attn__fail_count(error, ATTN_E_POSITION, "held", "a bit belongs to no position",
                            known, set);
}

/* Sequences share pages, but no page stands twice in one: `wanted` marks those that it has. */
static attn_status restore_pages(attn_cache *c, int64_t seq, int64_t saved, attn_error *error)
{
    const int64_t *table = attn__cache_pages(c, seq);
    for (int64_t i = 0; i < c->columns; i++) {
        const int64_t page = table[i];
        if (page < -1 || page >= saved)
            return attn__fail_count(error, ATTN_E_PAGE, "table", "there is no such page", saved,
                                    page);
        if ((page < 0) != attn__cache_page_empty(c, seq, i))
            return attn__fail_count(error, ATTN_E_PAGE, "table",
                                    "a page stands where a key is held, and only there",
                                    page < 0 ? 0 : -1, page);
        if (page < 0) continue;
        if (c->wanted[page] == seq + 1)
            return attn__fail_count(error, ATTN_E_DUP, "table",
                                    "a page stands twice in one sequence", 1, 2);
        c->wanted[page] = seq + 1;
        c->refs[page]++;
    }
    return ATTN_OK;
}

/* Pages, or rows of a room, that every piece of the keys and values came with. */
static attn_status restore_saved(const attn_cache *c, const restore_source *from,
                                 int64_t *saved, attn_error *error)
{
    *saved = attn__cache_paged(c) ? c->pages : c->span;
    for (int i = 0; i < ATTN__CACHE_ENTRIES; i++) {
        const attn__cache_entry e = restore_room(c, i);
        attn_tensor t;
        if (!attn__present(&e.whole) || e.whole.rank < 3) continue;
        ATTN_TRY(restore_find(from, e.name, &t, error));
        *saved = attn__min(*saved, t.shape[e.part]);
    }
    return ATTN_OK;
}

static attn_status restore_table(attn_cache *c, int64_t saved, attn_error *error)
{
    for (int64_t b = 0; b < c->spec.sequences; b++) ATTN_TRY(restore_pages(c, b, saved, error));
    c->n_spare = 0;
    for (int64_t i = c->pages - 1; i >= 0; i--) {
        c->wanted[i] = 0;
        if (!c->refs[i]) c->spare[c->n_spare++] = i;
    }
    return ATTN_OK;
}

static attn_status restore_rows(const attn_cache *c, int64_t saved, attn_error *error)
{
    for (int64_t b = 0; b < c->spec.sequences; b++) {
        const int64_t rows = attn__min(c->length[b], c->spec.capacity);
        if (rows > saved)
            return attn__fail_count(error, ATTN_E_SHAPE, "k", "there is no row for every key",
                                    rows, saved);
    }
    return ATTN_OK;
}

static attn_status restore_fill(attn_cache *c, const restore_source *from, attn_error *error)
{
    for (int i = 1; i < ATTN__CACHE_ENTRIES; i++) {
        const attn__cache_entry e = restore_room(c, i);
        if (attn__present(&e.whole)) ATTN_TRY(restore_entry(&e, from, error));
    }
    for (int64_t b = 0; b < c->spec.sequences; b++) {
        ATTN_TRY(restore_length(c, b, error));
        ATTN_TRY(restore_held(c, b, error));
    }
    int64_t saved;
    ATTN_TRY(restore_saved(c, from, &saved, error));
    return attn__cache_paged(c) ? restore_table(c, saved, error)
                                : restore_rows(c, saved, error);
}

/* ---- the call --------------------------------------------------------------------------- */

static attn_status restore_columns(attn_cache_format *f, const restore_source *from,
                                   const char *columns, const char *offsets, attn_error *error)
{
    if (attn__present(&f->columns)) ATTN_TRY(restore_need(from, columns, &f->columns, error));
    if (attn__present(&f->offsets)) ATTN_TRY(restore_need(from, offsets, &f->offsets, error));
    return ATTN_OK;
}

attn_status attn_cache_restore(attn_cache **cache, attn_ctx *ctx, size_t limit, int64_t n,
                               const char *const *names, const attn_tensor *tensors,
                               attn_error *error)
{
    const restore_source from = {n, names, tensors};
    attn_cache_spec spec;
    attn_tensor head;
    if (!cache) return attn__fail(error, ATTN_E_NULL, "cache", "no place for the result");
    *cache = NULL;
    if (n < 0) return attn__fail_count(error, ATTN_E_PARAM, "n", "must not be negative", 0, n);
    if (n > 0 && (!names || !tensors))
        return attn__fail(error, ATTN_E_NULL, names ? "tensors" : "names", "is required");
    ATTN_TRY(restore_need(&from, "cache", &head, error));
    ATTN_TRY(attn__cache_head_read(&spec, &head, error));
    ATTN_TRY(restore_columns(&spec.key, &from, "k_columns", "k_offsets", error));
    ATTN_TRY(restore_columns(&spec.value, &from, "v_columns", "v_offsets", error));
    attn_cache *c;
    ATTN_TRY(attn__cache_create(&c, ctx, &spec, limit ? limit : PTRDIFF_MAX, error));
    const attn_status status = restore_fill(c, &from, error);
    if (status == ATTN_OK)
        *cache = c;
    else
        attn_cache_destroy(c);
    return status;
}
