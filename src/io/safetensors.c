/* SPDX-License-Identifier: MIT
 * Reads safetensors: 8 bytes with the length of the header, a JSON object
 *     {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}
 * and the data, which the tensors must fill exactly: from 0 to the end of the file, without
 * holes and without overlap. "__metadata__" maps strings to strings and is passed over. */
#include "io/io.h"

#include <string.h>

static const char where[] = "safetensors header";

typedef struct st_reader {
    attn_archive *archive;
    attn__json json;
    uint8_t *data;
    int64_t n_data;
    attn_error *error;
} st_reader;

/* What one tensor says of itself. */
typedef struct st_info {
    attn_dtype dtype;
    int rank, n_offsets;
    int64_t shape[ATTN_MAX_RANK], offsets[2];
} st_info;

/* ---- tokens ------------------------------------------------------------------------------ */

static attn_status st_fail(const st_reader *r, attn_status status, const char *what)
{
    return attn__fail(r->error, status, where, what);
}

/* The next token must be of this kind; what says so when it is another. */
static attn_status st_expect(st_reader *r, attn__json_kind kind, attn_status status,
                             const char *what)
{
    attn__json_kind got = attn__json_next(&r->json);
    if (got == ATTN__JSON_BAD) return st_fail(r, ATTN_E_JSON, r->json.what);
    return got == kind ? ATTN_OK : st_fail(r, status, what);
}

/* Moves to the next key of the open object; *more is false at its end. */
static attn_status st_next_key(st_reader *r, bool *more)
{
    attn__json_kind got = attn__json_next(&r->json);
    *more = got == ATTN__JSON_KEY;
    return got == ATTN__JSON_BAD ? st_fail(r, ATTN_E_JSON, r->json.what) : ATTN_OK;
}

/* The last key or string as a name in the arena. */
static attn_status st_name(st_reader *r, const char **name)
{
    size_t room = r->json.length + 1;
    char *text = attn__arena_new(&r->archive->arena, room);
    if (!text) return st_fail(r, ATTN_E_MEMORY, "name");
    size_t n = attn__json_decode(&r->json, text, room);
    text[n] = 0;
    *name = text;
    return attn__named(r->error, attn__name_check(where, (uint8_t *)text, n, r->error), text);
}

/* ---- the three fields -------------------------------------------------------------------- */

static attn_status st_dtype(st_reader *r, st_info *info)
{
    static const struct {
        const char *text;
        attn_dtype dtype;
        const char *what; /* why it does not serve */
    } types[] = {
        {"F32", ATTN_DTYPE_F32, ""},
        {"BF16", ATTN_DTYPE_BF16, ""},
        {"F16", ATTN_DTYPE_F16, ""},
        {"F64", ATTN_DTYPE_F64, ""},
        {"I64", ATTN_DTYPE_I64, ""},
        {"I32", ATTN_DTYPE_I32, ""},
        {"I16", ATTN_DTYPE_I16, ""},
        {"I8", ATTN_DTYPE_I8, ""},
        {"U64", ATTN_DTYPE_U64, ""},
        {"U32", ATTN_DTYPE_U32, ""},
        {"U16", ATTN_DTYPE_U16, ""},
        {"U8", ATTN_DTYPE_U8, ""},
        {"BOOL", ATTN_DTYPE_BOOL, ""},
        {"C64", ATTN_DTYPE_NONE, "complex numbers (C64) are not supported"},
        {"F8_E4M3", ATTN_DTYPE_NONE, "the element type F8_E4M3 is not supported"},
        {"F8_E5M2", ATTN_DTYPE_NONE, "the element type F8_E5M2 is not supported"},
        {"F8_E8M0", ATTN_DTYPE_NONE, "the element type F8_E8M0 is not supported"},
        {"F6_E2M3", ATTN_DTYPE_NONE, "the element type F6_E2M3 is not supported"},
        {"F6_E3M2", ATTN_DTYPE_NONE, "the element type F6_E3M2 is not supported"},
        {"F4", ATTN_DTYPE_NONE, "the element type F4 is not supported"},
    };
    char text[16];
    ATTN_TRY(st_expect(r, ATTN__JSON_STRING, ATTN_E_JSON, "dtype is not a string"));
    size_t n = attn__json_decode(&r->json, text, sizeof text);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strlen(types[i].text) != n || memcmp(types[i].text, text, n) != 0) continue;
        info->dtype = types[i].dtype;
        return info->dtype ? ATTN_OK : st_fail(r, ATTN_E_DTYPE, types[i].what);
    }
    return st_fail(r, ATTN_E_DTYPE, "the element type is unknown");
}

/* An array of at most most whole numbers, with the statuses of a bad one and of too many. */
static attn_status st_numbers(st_reader *r, int64_t *out, int *n, int most, attn_status bad,
                              attn_status many)
{
    ATTN_TRY(st_expect(r, ATTN__JSON_ARRAY, ATTN_E_JSON, "an array is missing"));
    for (*n = 0;; ++*n) {
        attn__json_kind got = attn__json_next(&r->json);
        if (got == ATTN__JSON_ARRAY_END) return ATTN_OK;
        if (got == ATTN__JSON_BAD) return st_fail(r, ATTN_E_JSON, r->json.what);
        if (got != ATTN__JSON_INTEGER)
            return st_fail(r, bad, "a size or offset is not a whole number in range");
        if (*n == most) return st_fail(r, many, "an array has too many numbers");
        out[*n] = r->json.integer;
    }
}

static attn_status st_shape(st_reader *r, st_info *info)
{
    return st_numbers(r, info->shape, &info->rank, ATTN_MAX_RANK, ATTN_E_DIM, ATTN_E_RANK);
}

static attn_status st_offsets(st_reader *r, st_info *info)
{
    ATTN_TRY(st_numbers(r, info->offsets, &info->n_offsets, 2, ATTN_E_OFFSET, ATTN_E_OFFSET));
    return info->n_offsets == 2 ? ATTN_OK
                                : st_fail(r, ATTN_E_OFFSET, "data_offsets are not two numbers");
}

static attn_status st_field(st_reader *r, st_info *info, unsigned *seen)
{
    static const struct {
        const char *key;
        attn_status (*value)(st_reader *r, st_info *info);
    } fields[] = {{"dtype", st_dtype}, {"shape", st_shape}, {"data_offsets", st_offsets}};
    char key[16];
    size_t n = attn__json_decode(&r->json, key, sizeof key);
    for (unsigned i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (strlen(fields[i].key) != n || memcmp(fields[i].key, key, n) != 0) continue;
        if (*seen & 1u << i) return st_fail(r, ATTN_E_DUP, "a key stands twice");
        *seen |= 1u << i;
        return fields[i].value(r, info);
    }
    return st_fail(r, ATTN_E_JSON, "a key is none of dtype, shape, data_offsets");
}

/* ---- entries ----------------------------------------------------------------------------- */

static attn_status st_info_read(st_reader *r, st_info *info)
{
    unsigned seen = 0;
    bool more;
    ATTN_TRY(st_expect(r, ATTN__JSON_OBJECT, ATTN_E_JSON, "a tensor is not an object"));
    for (;;) {
        ATTN_TRY(st_next_key(r, &more));
        if (!more) break;
        ATTN_TRY(st_field(r, info, &seen));
    }
    return seen == 7 ? ATTN_OK
                     : st_fail(r, ATTN_E_JSON, "dtype, shape or data_offsets is missing");
}

static attn_status st_tensor(st_reader *r, attn__entry *entry)
{
    st_info info = {0};
    ATTN_TRY(st_info_read(r, &info));
    ATTN_TRY(attn__layout(info.dtype, info.rank, info.shape, false, where, entry, r->error));
    int64_t begin = info.offsets[0], end = info.offsets[1];
    if (begin > end) return st_fail(r, ATTN_E_OFFSET, "the data ends before it begins");
    if (end > r->n_data)
        return attn__fail_count(r->error, ATTN_E_OFFSET, where,
                                "the data runs past the end of the file", r->n_data, end);
    if ((uint64_t)(end - begin) != entry->size)
        return attn__fail_count(r->error, ATTN_E_OFFSET, where,
                                "the data has not the size its shape asks for",
                                (int64_t)entry->size, end - begin);
    entry->tensor.data = r->data + begin;
    entry->swap = ATTN__HOST_BIG;
    return ATTN_OK;
}

/* Strings to strings; only used to know that no key stands twice, in an archive of no data. */
static attn_status st_metadata_read(st_reader *r, attn_archive *keys)
{
    bool more;
    attn__entry entry = {0};
    ATTN_TRY(st_expect(r, ATTN__JSON_OBJECT, ATTN_E_JSON, "__metadata__ is not an object"));
    for (;;) {
        ATTN_TRY(st_next_key(r, &more));
        if (!more) break;
        size_t room = r->json.length + 1;
        char *key = attn__arena_new(&keys->arena, room);
        if (!key) return st_fail(r, ATTN_E_MEMORY, "metadata");
        size_t n = attn__json_decode(&r->json, key, room);
        if (memchr(key, 0, n)) return st_fail(r, ATTN_E_NAME, "a metadata key holds a 0");
        key[n] = 0;
        entry.name = key;
        ATTN_TRY(attn__archive_add(keys, &entry, r->error));
        ATTN_TRY(st_expect(r, ATTN__JSON_STRING, ATTN_E_JSON,
                           "a value of __metadata__ is not a string"));
    }
    return attn__archive_finish(keys, r->error);
}

static attn_status st_metadata(st_reader *r, bool *seen)
{
    if (*seen)
        return attn__fail_name(r->error, ATTN_E_DUP, where, "a key stands twice",
                               "__metadata__");
    *seen = true;
    attn_archive keys = {.arena = {.ctx = r->archive->arena.ctx}};
    attn_status status = st_metadata_read(r, &keys);
    attn__arena_free(&keys.arena);
    return status;
}

static attn_status st_entries(st_reader *r)
{
    bool more, metadata = false;
    ATTN_TRY(st_expect(r, ATTN__JSON_OBJECT, ATTN_E_JSON, "is not an object"));
    for (;;) {
        attn__entry entry = {.name = ""};
        ATTN_TRY(st_next_key(r, &more));
        if (!more) break;
        ATTN_TRY(st_name(r, &entry.name));
        if (strcmp(entry.name, "__metadata__") == 0) {
            ATTN_TRY(st_metadata(r, &metadata));
            continue;
        }
        ATTN_TRY(attn__named(r->error, st_tensor(r, &entry), entry.name));
        ATTN_TRY(attn__archive_add(r->archive, &entry, r->error));
    }
    return st_expect(r, ATTN__JSON_END, ATTN_E_JSON, "text follows the end");
}

/* ---- the whole --------------------------------------------------------------------------- */

static bool st_before(const void *user, int64_t a, int64_t b)
{
    const attn__entry *x = (const attn__entry *)user + a, *y = (const attn__entry *)user + b;
    const uint8_t *p = x->tensor.data, *q = y->tensor.data;
    return p != q ? p < q : x->size < y->size;
}

/* In the order of their data, every tensor begins where the one before ends. */
static attn_status st_check_cover(const st_reader *r)
{
    attn_archive *a = r->archive;
    int64_t *order = attn__arena_new(&a->arena, (size_t)a->n * sizeof *order);
    const uint8_t *at = r->data;
    if (!order) return st_fail(r, ATTN_E_MEMORY, "order of the data");
    for (int64_t i = 0; i < a->n; i++) order[i] = i;
    attn__sort(order, a->n, st_before, a->entries);
    for (int64_t i = 0; i < a->n; i++) {
        const attn__entry *e = &a->entries[order[i]];
        if (e->tensor.data != at)
            return attn__fail_name(r->error, ATTN_E_OFFSET, where,
                                   "the data leaves a hole or overlaps", e->name);
        at += e->size;
    }
    return at == r->data + r->n_data
               ? ATTN_OK
               : st_fail(r, ATTN_E_OFFSET, "bytes at the end belong to no tensor");
}

attn_status attn__safetensors_read(attn_archive *archive, attn_error *error)
{
    st_reader r = {.archive = archive, .error = error};
    size_t n = archive->n_bytes;
    if (n < 8) return st_fail(&r, ATTN_E_FORMAT, "the file is too short to have one");
    uint64_t length = attn__load64(archive->bytes);
    if (length > ATTN__MAX_HEADER)
        return attn__fail_count(error, ATTN_E_LIMIT, where, "is too long", ATTN__MAX_HEADER,
                                length > INT64_MAX ? INT64_MAX : (int64_t)length);
    if (length > n - 8)
        return attn__fail_count(error, ATTN_E_FORMAT, where, "is longer than the file",
                                (int64_t)(n - 8), (int64_t)length);
    const uint8_t *text = archive->bytes + 8;
    if (length == 0 || text[0] != '{') return st_fail(&r, ATTN_E_JSON, "does not start with {");
    r.data = archive->bytes + 8 + length;
    r.n_data = (int64_t)(n - 8 - (size_t)length);
    attn__json_init(&r.json, text, (size_t)length);
    ATTN_TRY(st_entries(&r));
    return st_check_cover(&r);
}
