/* SPDX-License-Identifier: MIT
 * A cache as named tensors:
 *   cache        i64 [19]               the spec, as cache_head says
 *   length       i64 [sequences]        start the same, RING: oldest position behind the sinks
 *   held         u64 [sequences][.]     bit i % 64 of word i / 64: place i holds its key
 *   table        i64 [sequences][.]     PAGED: page of positions i page .. (i + 1) page, or -1
 *   k, v         [.][G][.][D or E]      rows, page after page; u8 and half as wide for i4
 *   k_scale ..   f32 [.][G][.]          of coded rows; k_columns .. f32 [G][width]
 * Where a dot stands only what is in use is shown, and more is zero (or -1) when it is read. */
#include <limits.h>
#include <string.h>

#include "engine/cache_store.h"

/* ---- the head --------------------------------------------------------------------------- */

enum { ENTRY_VERSION = 1 };

void attn__cache_head_write(const attn_cache_spec *s, int64_t head[ATTN__CACHE_HEAD])
{
    const int64_t numbers[ATTN__CACHE_HEAD] = {ENTRY_VERSION,
                                               s->kind,
                                               s->sequences,
                                               s->heads,
                                               s->key_width,
                                               s->value_width,
                                               s->capacity,
                                               s->sinks,
                                               s->page,
                                               s->pages,
                                               s->longest,
                                               s->latent,
                                               s->value_from,
                                               s->key.type,
                                               s->key.asymmetric,
                                               attn__present(&s->key.columns),
                                               s->value.type,
                                               s->value.asymmetric,
                                               attn__present(&s->value.columns)};
    memcpy(head, numbers, sizeof numbers);
}

/* By_column comes back as a tensor without data, to be filled in. */
static attn_cache_format entry_format(const attn_cache_spec *s, const int64_t *head,
                                      int64_t width)
{
    attn_cache_format f = {.type = (attn_cache_type)head[0], .asymmetric = head[1] != 0};
    if (head[2]) f.columns = ATTN_TENSOR(NULL, F32, s->heads, width);
    if (head[2] && f.asymmetric) f.offsets = f.columns;
    return f;
}

static attn_status entry_head_check(const attn_tensor *t, attn_error *error)
{
    ATTN_TRY(attn__tensor_check(t, "cache", error));
    if (t->dtype != ATTN_DTYPE_I64)
        return attn__fail_count(error, ATTN_E_DTYPE, "cache", "must hold i64", ATTN_DTYPE_I64,
                                t->dtype);
    if (t->rank != 1 || t->shape[0] != ATTN__CACHE_HEAD)
        return attn__fail_count(error, ATTN_E_SHAPE, "cache", "must be one row of numbers",
                                ATTN__CACHE_HEAD, t->rank == 1 ? t->shape[0] : -1);
    if (!t->data) return attn__fail(error, ATTN_E_NULL, "cache", "has elements but no data");
    return ATTN_OK;
}

attn_status attn__cache_head_read(attn_cache_spec *s, const attn_tensor *t, attn_error *error)
{
    int64_t h[ATTN__CACHE_HEAD];
    static const int small[] = {1, 11, 13, 14, 15, 16, 17, 18}; /* enums and flags */
    ATTN_TRY(entry_head_check(t, error));
    for (int i = 0; i < ATTN__CACHE_HEAD; i++)
        h[i] = attn__get_int(t->dtype, t->data, i * t->stride[0]);
    if (h[0] != ENTRY_VERSION)
        return attn__fail_count(error, ATTN_E_VERSION, "cache", "is of another version",
                                ENTRY_VERSION, h[0]);
    for (size_t i = 0; i < sizeof small / sizeof small[0]; i++)
        if (h[small[i]] < 0 || h[small[i]] > ATTN_CACHE_I4)
            return attn__fail_count(error, ATTN_E_ENUM, "cache", "a kind, type or flag",
                                    ATTN_CACHE_I4, h[small[i]]);
    *s = ATTN_CACHE(.kind = (attn_cache_kind)h[1], .sequences = h[2], .heads = h[3],
                    .key_width = h[4], .value_width = h[5], .capacity = h[6], .sinks = h[7],
                    .page = h[8], .pages = h[9], .longest = h[10], .latent = h[11] != 0,
                    .value_from = h[12]);
    s->key = entry_format(s, h + 13, s->key_width);
    s->value = entry_format(s, h + 16, s->value_width);
    return ATTN_OK;
}

/* ---- pieces ----------------------------------------------------------------------------- */

static attn__cache_use entry_used(const attn_cache *c)
{
    attn__cache_use use = {0, attn__cache_paged(c) ? 0 : c->pages};
    for (int64_t b = 0; b < c->spec.sequences; b++)
        use.places = attn__max(use.places, c->length[b]);
    if (!attn__cache_paged(c)) use.places = attn__min(use.places, c->spec.capacity);
    for (int64_t i = 0; attn__cache_paged(c) && i < c->pages; i++)
        if (c->refs[i]) use.pages = i + 1;
    return use;
}

static attn_tensor entry_cut(attn_tensor t, int dim, int64_t n)
{
    return attn_tensor_slice(t, dim, 0, attn__min(n, t.shape[dim]));
}

static attn__cache_entry entry_whole(const char *name, attn_tensor t)
{
    return (attn__cache_entry){name, t, t, -1};
}

/* A piece of which only n of dimension dim are in use. */
static attn__cache_entry entry_part(const char *name, attn_tensor t, int dim, int64_t n)
{
    return (attn__cache_entry){name, entry_cut(t, dim, n), t, dim};
}

static attn__cache_entry entry_none(const char *name)
{
    return (attn__cache_entry){.name = name};
}

/* An array over pages, heads and slots, width of it each. */
static attn__cache_entry entry_rows(const attn_cache *c, attn__cache_use use, const char *name,
                                    void *data, attn_dtype dtype, int rank, int64_t width)
{
    const int64_t shape[] = {c->pages, c->spec.heads, c->span, width};
    attn_tensor t = attn_tensor_make(data, dtype, rank, shape);
    if (!data) return entry_none(name);
    if (attn__cache_paged(c)) {
        t.stride[0] = c->span * (rank > 3 ? width : 1);
        t.stride[1] = c->pages * t.stride[0];
    }
    return attn__cache_paged(c) ? entry_part(name, t, 0, use.pages)
                                : entry_part(name, t, 2, use.places);
}

static attn__cache_entry entry_data(const attn_cache *c, attn__cache_use use, const char *name,
                                    const attn__cache_side *s)
{
    const attn_dtype dtype = !s->coded      ? s->dtype
                             : s->bits == 8 ? ATTN_DTYPE_I8
                                            : ATTN_DTYPE_U8;
    const int64_t width = s->bits == 4 ? s->row : s->width;
    if (c->spec.latent && s == &c->side[1]) return entry_none(name);
    return entry_rows(c, use, name, s->data, dtype, 4, width);
}

static attn__cache_entry entry_columns(const attn_cache *c, const char *name,
                                       const attn__cache_side *s, float *data)
{
    if (!data) return entry_none(name);
    return entry_whole(name, ATTN_TENSOR(data, F32, c->spec.heads, s->width));
}

/* k, k_scale, k_zero, k_columns, k_offsets; the same for v. */
static attn__cache_entry entry_side(const attn_cache *c, attn__cache_use use, int side, int i)
{
    static const char *const names[2][5] = {
        {"k", "k_scale", "k_zero", "k_columns", "k_offsets"},
        {"v", "v_scale", "v_zero", "v_columns", "v_offsets"}};
    const attn__cache_side *s = &c->side[side];
    float *const lists[] = {s->scale, s->zero, s->columns, s->offsets};
    if (i == 0) return entry_data(c, use, names[side][0], s);
    if (i <= 2) return entry_rows(c, use, names[side][i], lists[i - 1], ATTN_DTYPE_F32, 3, 1);
    return entry_columns(c, names[side][i], s, lists[i - 1]);
}

static attn__cache_entry entry_head(const attn_cache *c, attn__cache_use use)
{
    int64_t *head = (int64_t *)(intptr_t)c->head; /* views are not const */
    (void)use;
    return entry_whole("cache", ATTN_TENSOR(head, I64, ATTN__CACHE_HEAD));
}

static attn__cache_entry entry_length(const attn_cache *c, attn__cache_use use)
{
    (void)use;
    return entry_whole("length", ATTN_TENSOR(c->length, I64, c->spec.sequences));
}

static attn__cache_entry entry_start(const attn_cache *c, attn__cache_use use)
{
    (void)use;
    if (c->spec.kind != ATTN_CACHE_RING) return entry_none("start");
    return entry_whole("start", ATTN_TENSOR(c->start, I64, c->spec.sequences));
}

static attn__cache_entry entry_held(const attn_cache *c, attn__cache_use use)
{
    return entry_part("held", ATTN_TENSOR(c->held, U64, c->spec.sequences, c->words), 1,
                      attn__ceil_div(use.places, 64));
}

static attn__cache_entry entry_table(const attn_cache *c, attn__cache_use use)
{
    if (!attn__cache_paged(c)) return entry_none("table");
    return entry_part("table", ATTN_TENSOR(c->table, I64, c->spec.sequences, c->columns), 1,
                      attn__ceil_div(use.places, c->span));
}

attn__cache_entry attn__cache_entry_get(const attn_cache *c, attn__cache_use use, int i)
{
    static attn__cache_entry (*const lists[])(const attn_cache *, attn__cache_use) = {
        entry_head, entry_length, entry_start, entry_held, entry_table};
    const int n_lists = sizeof lists / sizeof lists[0];
    if (i < n_lists) return lists[i](c, use);
    return entry_side(c, use, (i - n_lists) / 5, (i - n_lists) % 5);
}

const char *attn_cache_entry(const attn_cache *cache, int64_t i, attn_tensor *view)
{
    if (!attn__cache_alive(cache) || i < 0) return NULL;
    const attn__cache_use use = entry_used(cache);
    for (int at = 0; at < ATTN__CACHE_ENTRIES; at++) {
        const attn__cache_entry entry = attn__cache_entry_get(cache, use, at);
        if (!attn__present(&entry.used) || i-- > 0) continue;
        if (view) *view = entry.used;
        return entry.name;
    }
    return NULL;
}
