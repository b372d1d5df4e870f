/* SPDX-License-Identifier: MIT
 * An archive: named tensors in memory of their own, and the public calls around it. A reader
 * adds entries whose data still lies where the file put it; finish then checks the names and
 * gives every tensor the alignment and byte order the rest of the library expects. Tensors stay
 * in the bytes of the file when they can. */
#include "io/io.h"

#include <string.h>

/* ---- for the readers -------------------------------------------------------------------- */

/* Strides of a dense order; an empty dimension counts as 1 so that every stride exists. */
static bool archive_strides(attn_tensor *t, bool fortran, int64_t *count)
{
    int64_t step = 1;
    for (int i = 0; i < t->rank; i++) {
        int d = fortran ? i : t->rank - 1 - i;
        t->stride[d] = step;
        if (!attn__mul(step, attn__max(t->shape[d], 1), &step)) return false;
    }
    for (int d = 0; d < t->rank; d++)
        if (t->shape[d] == 0) step = 0;
    *count = step;
    return true;
}

attn_status attn__layout(attn_dtype dtype, int rank, const int64_t *shape, bool fortran,
                         const char *where, attn__entry *entry, attn_error *error)
{
    if (rank > ATTN_MAX_RANK)
        return attn__fail_count(error, ATTN_E_RANK, where, "too many dimensions", ATTN_MAX_RANK,
                                rank);
    attn_tensor t = {.dtype = dtype, .rank = rank};
    for (int d = 0; d < rank; d++) {
        t.shape[d] = shape[d];
        if (shape[d] < 0 || shape[d] > ATTN__FAR)
            return attn__fail_count(error, ATTN_E_DIM, where,
                                    "a dimension is negative or too large", ATTN__FAR,
                                    shape[d]);
    }
    int64_t count, bytes;
    if (!archive_strides(&t, fortran, &count) ||
        !attn__mul(count, (int64_t)attn_dtype_size(dtype), &bytes) ||
        (uint64_t)bytes > SIZE_MAX)
        return attn__fail(error, ATTN_E_OVERFLOW, where, "the size does not fit in 64 bits");
    entry->tensor = t;
    entry->size = (size_t)bytes;
    return ATTN_OK;
}

attn_status attn__archive_add(attn_archive *archive, const attn__entry *entry,
                              attn_error *error)
{
    if (archive->n == ATTN__MAX_TENSORS)
        return attn__fail(error, ATTN_E_LIMIT, "archive", "too many tensors");
    if (archive->n == archive->room) {
        int64_t room = attn__max(8, 2 * archive->room);
        attn__entry *more = attn__arena_new(&archive->arena, (size_t)room * sizeof *more);
        if (!more) return attn__fail(error, ATTN_E_MEMORY, "archive", "table of tensors");
        if (archive->n) memcpy(more, archive->entries, (size_t)archive->n * sizeof *more);
        archive->entries = more;
        archive->room = room;
    }
    archive->entries[archive->n++] = *entry;
    return ATTN_OK;
}

static bool archive_less(const void *user, int64_t a, int64_t b)
{
    const attn__entry *entries = user;
    return strcmp(entries[a].name, entries[b].name) < 0;
}

static attn_status archive_index(attn_archive *archive, attn_error *error)
{
    int64_t n = archive->n,
            *order = attn__arena_new(&archive->arena, (size_t)n * sizeof *order);
    if (!order) return attn__fail(error, ATTN_E_MEMORY, "archive", "index of names");
    for (int64_t i = 0; i < n; i++) order[i] = i;
    attn__sort(order, n, archive_less, archive->entries);
    archive->by_name = order;
    for (int64_t i = 1; i < n; i++) {
        const char *name = archive->entries[order[i]].name;
        if (strcmp(archive->entries[order[i - 1]].name, name) == 0)
            return attn__fail_name(error, ATTN_E_DUP, "archive", "a name stands twice", name);
    }
    return ATTN_OK;
}

static attn_status archive_settle(attn_archive *archive, attn__entry *e, attn_error *error)
{
    size_t item = attn_dtype_size(e->tensor.dtype);
    if (e->size == 0) {
        e->tensor.data = archive->entries; /* never read; aligned and not NULL */
        return ATTN_OK;
    }
    if ((uintptr_t)e->tensor.data % item != 0) {
        void *copy = attn__arena_new(&archive->arena, e->size);
        if (!copy) return attn__fail_name(error, ATTN_E_MEMORY, "archive", "tensor", e->name);
        memcpy(copy, e->tensor.data, e->size);
        e->tensor.data = copy;
    }
    if (e->swap && item > 1) attn__swap(e->tensor.data, e->size / item, item);
    const uint8_t *bytes = e->tensor.data;
    for (size_t i = 0; e->tensor.dtype == ATTN_DTYPE_BOOL && i < e->size; i++)
        if (bytes[i] > 1)
            return attn__fail_name(error, ATTN_E_FORMAT, "archive", "a bool is neither 0 nor 1",
                                   e->name);
    return ATTN_OK;
}

/* When every tensor had to be copied or unpacked, the file itself is no longer needed. */
static void archive_shrink(attn_archive *archive)
{
    if (!archive->bytes) return;
    const uint8_t *low = archive->bytes, *high = low + archive->n_bytes;
    for (int64_t i = 0; i < archive->n; i++) {
        const uint8_t *data = archive->entries[i].tensor.data;
        if (data >= low && data < high) return;
    }
    attn__delete(archive->arena.ctx, archive->bytes, archive->capacity);
    archive->bytes = NULL;
}

attn_status attn__archive_finish(attn_archive *archive, attn_error *error)
{
    ATTN_TRY(archive_index(archive, error));
    for (int64_t i = 0; i < archive->n; i++)
        ATTN_TRY(archive_settle(archive, &archive->entries[i], error));
    archive_shrink(archive);
    return ATTN_OK;
}

/* ---- public ----------------------------------------------------------------------------- */

static attn_archive *archive_create(const attn_ctx *ctx)
{
    attn_archive *archive = attn__new(ctx, sizeof *archive);
    if (archive) *archive = (attn_archive){.arena = {.ctx = ctx}};
    return archive;
}

void attn_archive_destroy(attn_archive *archive)
{
    if (!archive) return;
    const attn_ctx *ctx = archive->arena.ctx;
    attn__delete(ctx, archive->bytes, archive->capacity);
    attn__arena_free(&archive->arena);
    attn__delete(ctx, archive, sizeof *archive);
}

/* Hands the archive over when its bytes could be read, else takes it away. */
static attn_status archive_read(attn_archive **out, attn_archive *archive,
                                const attn__format *format, attn_error *error)
{
    attn_status status = format->read(archive, error);
    if (status == ATTN_OK) status = attn__archive_finish(archive, error);
    if (status == ATTN_OK)
        *out = archive;
    else
        attn_archive_destroy(archive);
    return status;
}

attn_status attn_archive_load(attn_archive **out, attn_ctx *ctx, const char *path,
                              attn_format format, attn_error *error)
{
    const attn__format *f;
    if (!out || !path)
        return attn__fail(error, ATTN_E_NULL, out ? "path" : "archive", "is NULL");
    *out = NULL;
    ATTN_TRY(attn__ctx_check(ctx, error));
    ATTN_TRY(attn__format_find(&f, format, path, error));
    attn_archive *archive = archive_create(ctx);
    if (!archive) return attn__fail(error, ATTN_E_MEMORY, "archive", "archive");
    attn_status status = attn__file_read(ctx, path, &archive->bytes, &archive->n_bytes,
                                         &archive->capacity, error);
    if (status == ATTN_OK) return archive_read(out, archive, f, error);
    attn_archive_destroy(archive);
    return status;
}

attn_status attn_archive_parse(attn_archive **out, attn_ctx *ctx, const void *bytes, size_t n,
                               attn_format format, attn_error *error)
{
    const attn__format *f;
    if (!out || (!bytes && n))
        return attn__fail(error, ATTN_E_NULL, out ? "bytes" : "archive", "is NULL");
    *out = NULL;
    ATTN_TRY(attn__ctx_check(ctx, error));
    ATTN_TRY(attn__format_find(&f, format, NULL, error));
    attn_archive *archive = archive_create(ctx);
    if (!archive) return attn__fail(error, ATTN_E_MEMORY, "archive", "archive");
    archive->bytes = attn__new(ctx, n);
    archive->n_bytes = archive->capacity = n;
    if (!archive->bytes) {
        attn_archive_destroy(archive);
        return attn__fail(error, ATTN_E_MEMORY, "bytes", "copy of the file");
    }
    if (n) memcpy(archive->bytes, bytes, n);
    return archive_read(out, archive, f, error);
}

static bool archive_has(const attn_archive *archive, int64_t i)
{
    return archive && i >= 0 && i < archive->n;
}

int64_t attn_archive_count(const attn_archive *archive)
{
    return archive ? archive->n : 0;
}

const char *attn_archive_name(const attn_archive *archive, int64_t i)
{
    return archive_has(archive, i) ? archive->entries[i].name : NULL;
}

attn_tensor attn_archive_tensor(const attn_archive *archive, int64_t i)
{
    return archive_has(archive, i) ? archive->entries[i].tensor : (attn_tensor){0};
}

int64_t attn_archive_find(const attn_archive *archive, const char *name)
{
    if (!archive || !name) return -1;
    int64_t low = 0, high = archive->n;
    while (low < high) {
        int64_t middle = low + (high - low) / 2, i = archive->by_name[middle];
        int order = strcmp(name, archive->entries[i].name);
        if (order == 0) return i;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return -1;
}
