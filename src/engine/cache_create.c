/* SPDX-License-Identifier: MIT
 * A cache is one block of memory: this struct, then its lists, then keys and values, each piece
 * at a cache line. It is set to zero here, once, so that no later call meets fresh pages of the
 * system and files made of a cache hold nothing of what lay there before. */
#include <string.h>

#include "engine/cache_store.h"
#include "engine/engine.h"

typedef struct create_kind {
    attn__row_kind row;
    attn_dtype dtype; /* of a row before it is coded */
    int bits;
    bool coded;
} create_kind;

static const create_kind create_kinds[] = {
    [ATTN_CACHE_F32] = {ATTN__ROW_F32, ATTN_DTYPE_F32, 32, false},
    [ATTN_CACHE_F64] = {ATTN__ROW_F64, ATTN_DTYPE_F64, 64, false},
    [ATTN_CACHE_BF16] = {ATTN__ROW_BF16, ATTN_DTYPE_BF16, 16, false},
    [ATTN_CACHE_F16] = {ATTN__ROW_F16, ATTN_DTYPE_F16, 16, false},
    [ATTN_CACHE_I8] = {ATTN__ROW_I8, ATTN_DTYPE_F32, 8, true},
    [ATTN_CACHE_I4] = {ATTN__ROW_I4, ATTN_DTYPE_F32, 4, true},
};

static attn__cache_side create_side(const attn_cache_format *f, int64_t width)
{
    const create_kind *k = &create_kinds[f->type];
    return (attn__cache_side){.kind = k->row,
                              .dtype = k->dtype,
                              .coded = k->coded,
                              .by_column = attn__present(&f->columns),
                              .asymmetric = f->asymmetric,
                              .bits = k->bits,
                              .width = width,
                              .row = attn__ceil_div(width * k->bits, 8)};
}

static attn_cache create_shape(const attn_cache_spec *s)
{
    const bool paged = s->kind == ATTN_CACHE_PAGED;
    const int64_t places = paged ? s->longest : s->capacity;
    attn_cache c = {.magic = ATTN__CACHE_MAGIC, .spec = *s};
    c.span = paged ? s->page : attn__max(s->capacity, 1);
    c.pages = paged ? s->pages : s->sequences;
    c.columns = paged ? attn__ceil_div(places, c.span) : 1;
    c.words = attn__ceil_div(places, 64) + 1;
    c.side[0] = create_side(&s->key, s->key_width);
    c.side[1] = create_side(&s->value, s->latent ? 0 : s->value_width);
    return c;
}

/* Where its pieces begin; offsets stand for pointers until the block is there. */
typedef struct create_layout {
    int64_t head, length, start, held, table, refs, spare, wanted, taken, row, theta, turn;
    struct {
        int64_t data, scale, zero, columns, offsets;
    } side[2];
    int64_t bytes;
} create_layout;

static bool create_side_parts(const attn_cache *c, int i, create_layout *at)
{
    const attn__cache_side *s = &c->side[i];
    const int64_t heads = c->spec.heads;
    int64_t rows, bytes, each;
    if (!attn__mul(c->pages, heads, &rows) || !attn__mul(rows, c->span, &rows) ||
        !attn__mul(rows, s->row, &bytes) || !attn__mul(heads, s->width, &each))
        return false;
    bytes = attn__max(bytes, s->row); /* what is not held is read as row 0 */
    const int64_t scales = s->coded && !s->by_column ? rows : 0;
    const int64_t columns = s->by_column ? each : 0;
    const attn__plan_part parts[] = {{&at->side[i].data, bytes, 1},
                                     {&at->side[i].scale, scales, 4},
                                     {&at->side[i].zero, s->asymmetric ? scales : 0, 4},
                                     {&at->side[i].columns, columns, 4},
                                     {&at->side[i].offsets, s->asymmetric ? columns : 0, 4}};
    return attn__plan_parts(&at->bytes, parts, sizeof parts / sizeof parts[0]);
}

static bool create_parts(const attn_cache *c, create_layout *at)
{
    const attn_cache_spec *s = &c->spec;
    const int64_t widest = attn__max(s->key_width, s->value_width),
                  pool = attn__cache_paged(c) ? c->pages : 0;
    int64_t words, columns;
    if (!attn__mul(s->sequences, c->words, &words) ||
        !attn__mul(s->sequences, c->columns, &columns))
        return false;
    const attn__plan_part parts[] = {
        {&at->head, 1, sizeof *c},     {&at->length, s->sequences, 8},
        {&at->start, s->sequences, 8}, {&at->held, words, 8},
        {&at->table, columns, 8},      {&at->refs, pool, 8},
        {&at->spare, pool, 8},         {&at->wanted, pool, 8},
        {&at->taken, s->sequences, 1}, {&at->row, widest, 4},
        {&at->theta, s->key_width, 8}, {&at->turn, s->key_width, 8}};
    return attn__plan_parts(&at->bytes, parts, sizeof parts / sizeof parts[0]) &&
           create_side_parts(c, 0, at) && create_side_parts(c, 1, at);
}

static void *create_at(attn_cache *c, int64_t offset)
{
    return (char *)c + offset;
}

/* What its columns say, dense and its own; NULL where there are none. */
static float *create_columns(attn_cache *c, int64_t offset, const attn__cache_side *s,
                             attn_tensor *given)
{
    float *columns = create_at(c, offset);
    if (!attn__present(given)) return NULL;
    const attn_tensor own = ATTN_TENSOR(columns, F32, c->spec.heads, s->width);
    (void)attn_tensor_copy(own, *given, NULL); /* both were checked */
    *given = own;
    return columns;
}

static void create_side_point(attn_cache *c, int i, const create_layout *at)
{
    attn__cache_side *s = &c->side[i];
    attn_cache_format *f = i == 0 ? &c->spec.key : &c->spec.value;
    const bool scales = s->coded && !s->by_column;
    s->data = create_at(c, at->side[i].data);
    s->scale = scales ? create_at(c, at->side[i].scale) : NULL;
    s->zero = scales && s->asymmetric ? create_at(c, at->side[i].zero) : NULL;
    s->columns = create_columns(c, at->side[i].columns, s, &f->columns);
    s->offsets = create_columns(c, at->side[i].offsets, s, &f->offsets);
}

static void create_point(attn_cache *c, const create_layout *at)
{
    c->length = create_at(c, at->length);
    c->start = create_at(c, at->start);
    c->held = create_at(c, at->held);
    c->table = create_at(c, at->table);
    c->refs = create_at(c, at->refs);
    c->spare = create_at(c, at->spare);
    c->wanted = create_at(c, at->wanted);
    c->taken = create_at(c, at->taken);
    c->row = create_at(c, at->row);
    c->theta = create_at(c, at->theta);
    c->turn = create_at(c, at->turn);
    create_side_point(c, 0, at);
    create_side_point(c, 1, at);
}

static void create_empty(attn_cache *c)
{
    const bool paged = attn__cache_paged(c);
    for (int64_t b = 0; b < c->spec.sequences; b++) {
        c->start[b] = c->spec.sinks;
        for (int64_t i = 0; i < c->columns; i++) attn__cache_pages(c, b)[i] = paged ? -1 : b;
    }
    if (!paged) return;
    for (int64_t i = 0; i < c->pages; i++) c->spare[i] = c->pages - 1 - i;
    c->n_spare = c->pages;
}

attn_status attn__cache_create(attn_cache **out, attn_ctx *ctx, const attn_cache_spec *spec,
                               size_t limit, attn_error *error)
{
    attn_cache_spec s;
    create_layout at = {.bytes = 0};
    if (!out) return attn__fail(error, ATTN_E_NULL, "cache", "no place for the result");
    *out = NULL;
    ATTN_TRY(attn__ctx_check(ctx, error));
    ATTN_TRY(attn__cache_spec_check(&s, spec, error));
    attn_cache shape = create_shape(&s);
    uint32_t allowed;
    ATTN_TRY(attn__isa_allowed(ctx, &allowed, error));
    shape.kernels = attn__kernels_pick(ATTN_DTYPE_F32, allowed);
    if (!shape.kernels)
        return attn__fail(error, ATTN_E_ISA, "ctx", "no kernels for these instruction sets");
    if (!create_parts(&shape, &at))
        return attn__fail(error, ATTN_E_OVERFLOW, "cache", "its size does not fit in 64 bits");
    if ((uint64_t)at.bytes > limit)
        return attn__fail_count(error, ATTN_E_LIMIT, "cache", "needs more memory than allowed",
                                (int64_t)limit, at.bytes);
    attn_cache *c = attn__new(ctx, (size_t)at.bytes);
    if (!c) return attn__fail(error, ATTN_E_MEMORY, "cache", "out of memory");
    memset(c, 0, (size_t)at.bytes);
    *c = shape;
    c->ctx = ctx;
    c->bytes = at.bytes;
    create_point(c, &at);
    create_empty(c);
    attn__cache_head_write(&c->spec, c->head);
    *out = c;
    return ATTN_OK;
}

attn_status attn_cache_create(attn_cache **cache, attn_ctx *ctx, const attn_cache_spec *spec,
                              attn_error *error)
{
    return attn__cache_create(cache, ctx, spec, PTRDIFF_MAX, error);
}

void attn_cache_destroy(attn_cache *c)
{
    if (!attn__cache_alive(c)) return;
    /* A later use finds no magic, as with a context. */
    *(volatile uint32_t *)&c->magic = 0;
    attn__delete(c->ctx, c, (size_t)c->bytes);
}

bool attn__cache_alive(const attn_cache *c)
{
    return c && c->magic == ATTN__CACHE_MAGIC;
}

/* ---- what it is ------------------------------------------------------------------------- */

const attn_cache_spec *attn__cache_spec(const attn_cache *c)
{
    return &c->spec;
}

bool attn__cache_overlaps(const attn_cache *c, const attn_tensor *t)
{
    const attn_tensor block =
        attn_tensor_make((void *)(uintptr_t)c, ATTN_DTYPE_U8, 1, &c->bytes);
    return attn__present(t) && attn__tensor_overlap(t, &block);
}

static size_t create_key_bytes(const attn__cache_side *s)
{
    return (size_t)s->row + (s->scale ? sizeof(float) : 0) + (s->zero ? sizeof(float) : 0);
}

void attn_cache_describe(const attn_cache *c, attn_cache_info *info)
{
    if (!info) return;
    *info = (attn_cache_info){.bytes = 0};
    if (!attn__cache_alive(c)) return;
    info->spec = c->spec;
    info->bytes = (size_t)c->bytes;
    info->key_bytes = create_key_bytes(&c->side[0]);
    info->value_bytes = create_key_bytes(&c->side[1]);
    info->pages_free = c->n_spare;
    for (int64_t i = 0; attn__cache_paged(c) && i < c->pages; i++)
        info->pages_shared += c->refs[i] > 1;
    for (int64_t i = 0, n = c->spec.sequences * c->words; i < n; i++)
        for (uint64_t w = c->held[i]; w; w &= w - 1) info->held++;
}
