/* SPDX-License-Identifier: MIT
 * Writes npz: for each tensor a zip member <name>.npy, stored, or deflated by the caller's
 * compressor where that is smaller. Sizes and checksums are learned by writing into nowhere
 * first, so the output is never read or sought and may be a pipe. zip64 fields appear only
 * where the plain ones are too narrow. Dates are fixed: the same tensors give the same bytes.
 */
#include "io/io.h"

#include <string.h>

/* Names are labels here, but one day somebody unpacks the file. */
static bool npz_is_tame(const char *name)
{
    if (name[0] == '/') return false;
    for (const char *part = name; part; part = strchr(part, '/')) {
        part += part != name;
        if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == 0)) return false;
    }
    return true;
}

attn_status attn__npz_check_name(const char *name, attn_error *error)
{
    if (npz_is_tame(name)) return ATTN_OK;
    return attn__fail_name(error, ATTN_E_NAME, "zip member",
                           "its name climbs out of a directory", name);
}

typedef struct npz_member {
    const char *name;
    const attn_tensor *tensor;
    uint32_t crc;
    unsigned method;
    uint64_t packed, size, offset;
} npz_member;

typedef struct npz_writer {
    attn__sink *sink;
    const attn__job *job;
    npz_member *members;
    attn__crc crc;
} npz_writer;

#define NARROW 0xFFFFFFFFu
enum { DOS_1980 = 1 << 5 | 1, NEED_PLAIN = 20, NEED_ZIP64 = 45 };

/* ---- records ----------------------------------------------------------------------------- */

static bool npz_is_wide(const npz_member *m)
{
    return m->packed >= NARROW || m->size >= NARROW || m->offset >= NARROW;
}

static unsigned npz_flags(const npz_member *m)
{
    for (const char *c = m->name; *c; c++)
        if (*c & 0x80) return ATTN__ZIP_UTF8;
    return 0;
}

/* The part that local and central headers share: from the version to the length of extra. */
static void npz_common(uint8_t *p, const npz_member *m, size_t n_extra)
{
    bool wide = npz_is_wide(m);
    attn__store16(p, wide ? NEED_ZIP64 : NEED_PLAIN);
    attn__store16(p + 2, npz_flags(m));
    attn__store16(p + 4, m->method);
    attn__store16(p + 6, 0);
    attn__store16(p + 8, DOS_1980);
    attn__store32(p + 10, m->crc);
    attn__store32(p + 14, wide ? NARROW : m->packed);
    attn__store32(p + 18, wide ? NARROW : m->size);
    attn__store16(p + 22, strlen(m->name) + 4);
    attn__store16(p + 24, n_extra);
}

static void npz_name_and_extra(attn__sink *sink, const npz_member *m, size_t n_extra)
{
    uint8_t extra[28] = {0};
    attn__store16(extra, 1);
    attn__store16(extra + 2, n_extra - 4);
    attn__store64(extra + 4, m->size);
    attn__store64(extra + 12, m->packed);
    attn__store64(extra + 20, m->offset);
    attn__sink_text(sink, m->name);
    attn__sink_text(sink, ".npy");
    attn__sink_put(sink, extra, n_extra);
}

static void npz_local(attn__sink *sink, const npz_member *m)
{
    uint8_t p[ATTN__ZIP_LOCAL_SIZE];
    size_t n_extra = npz_is_wide(m) ? 20 : 0;
    attn__store32(p, ATTN__ZIP_LOCAL);
    npz_common(p + 4, m, n_extra);
    attn__sink_put(sink, p, sizeof p);
    npz_name_and_extra(sink, m, n_extra);
}

static void npz_central(attn__sink *sink, const npz_member *m)
{
    uint8_t p[ATTN__ZIP_CENTRAL_SIZE] = {0};
    bool wide = npz_is_wide(m);
    size_t n_extra = wide ? 28 : 0;
    attn__store32(p, ATTN__ZIP_CENTRAL);
    attn__store16(p + 4, wide ? NEED_ZIP64 : NEED_PLAIN);
    npz_common(p + 6, m, n_extra);
    attn__store32(p + 42, wide ? NARROW : m->offset);
    attn__sink_put(sink, p, sizeof p);
    npz_name_and_extra(sink, m, n_extra);
}

static void npz_end64(attn__sink *sink, uint64_t count, uint64_t directory)
{
    uint8_t p[ATTN__ZIP_END64_SIZE + ATTN__ZIP_LOCATOR_SIZE] = {0};
    uint8_t *locator = p + ATTN__ZIP_END64_SIZE;
    attn__store32(p, ATTN__ZIP_END64);
    attn__store64(p + 4, ATTN__ZIP_END64_SIZE - 12);
    attn__store16(p + 12, NEED_ZIP64);
    attn__store16(p + 14, NEED_ZIP64);
    attn__store64(p + 24, count);
    attn__store64(p + 32, count);
    attn__store64(p + 40, sink->n - directory);
    attn__store64(p + 48, directory);
    attn__store32(locator, ATTN__ZIP_LOCATOR);
    attn__store64(locator + 8, sink->n);
    attn__store32(locator + 16, 1);
    attn__sink_put(sink, p, sizeof p);
}

static void npz_end(attn__sink *sink, uint64_t count, uint64_t directory)
{
    uint8_t p[ATTN__ZIP_END_SIZE] = {0};
    uint64_t size = sink->n - directory;
    bool wide = count >= 0xFFFF || size >= NARROW || directory >= NARROW;
    if (wide) npz_end64(sink, count, directory);
    attn__store32(p, ATTN__ZIP_END);
    attn__store16(p + 8, wide ? 0xFFFF : count);
    attn__store16(p + 10, wide ? 0xFFFF : count);
    attn__store32(p + 12, wide ? NARROW : size);
    attn__store32(p + 16, wide ? NARROW : directory);
    attn__sink_put(sink, p, sizeof p);
}

/* ---- members ----------------------------------------------------------------------------- */

static void npz_put(attn__sink *sink, const attn_tensor *t)
{
    uint8_t header[ATTN__NPY_HEADER_ROOM];
    attn__sink_put(sink, header, attn__npy_header(header, t));
    attn__sink_tensor(sink, t);
}

static void npz_measure(const npz_writer *w, npz_member *m)
{
    attn__sink nowhere;
    attn__sink_init(&nowhere, -1);
    nowhere.crc = &w->crc;
    npz_put(&nowhere, m->tensor);
    m->crc = nowhere.sum;
    m->size = m->packed = nowhere.n;
}

/* Writes m deflated when it becomes smaller; raw and packed hold m->size bytes each. */
static bool npz_write_deflated(const npz_writer *w, npz_member *m, uint8_t *raw,
                               uint8_t *packed)
{
    const attn_save_options *options = w->job->options;
    attn__sink memory;
    attn__sink_init(&memory, -1);
    memory.memory = raw;
    npz_put(&memory, m->tensor);
    size_t size = (size_t)m->size;
    size_t n = options->deflate(options->deflate_user, raw, size, packed, size - 1);
    if (n == 0 || n >= size) return false;
    m->packed = n;
    m->method = ATTN__ZIP_DEFLATED;
    npz_local(w->sink, m);
    attn__sink_put(w->sink, packed, n);
    return true;
}

static attn_status npz_try_deflate(const npz_writer *w, npz_member *m, bool *done,
                                   attn_error *error)
{
    const attn_ctx *ctx = w->job->ctx;
    size_t size = (size_t)m->size;
    uint8_t *raw = attn__new(ctx, size), *packed = raw ? attn__new(ctx, size) : NULL;
    if (packed) *done = npz_write_deflated(w, m, raw, packed);
    attn__delete(ctx, packed, size);
    attn__delete(ctx, raw, size);
    return packed ? ATTN_OK
                  : attn__fail_name(error, ATTN_E_MEMORY, "npz", "room to deflate", m->name);
}

static attn_status npz_write_member(const npz_writer *w, int64_t i, attn_error *error)
{
    npz_member *m = &w->members[i];
    bool done = false;
    *m = (npz_member){
        .name = w->job->names[i], .tensor = &w->job->tensors[i], .offset = w->sink->n};
    npz_measure(w, m);
    if (w->job->options->deflate) ATTN_TRY(npz_try_deflate(w, m, &done, error));
    if (done) return ATTN_OK;
    npz_local(w->sink, m);
    npz_put(w->sink, m->tensor);
    return ATTN_OK;
}

static attn_status npz_write_all(const npz_writer *w, attn_error *error)
{
    int64_t n = w->job->n;
    for (int64_t i = 0; i < n && !w->sink->error_number; i++)
        ATTN_TRY(npz_write_member(w, i, error));
    uint64_t directory = w->sink->n;
    for (int64_t i = 0; i < n && !w->sink->error_number; i++)
        npz_central(w->sink, &w->members[i]);
    npz_end(w->sink, (uint64_t)n, directory);
    return ATTN_OK;
}

static attn_status npz_check(const attn__job *job, int64_t i, attn_error *error)
{
    if (job->tensors[i].dtype == ATTN_DTYPE_BF16)
        return attn__npy_fail_dtype(job->names[i], error);
    return attn__npz_check_name(job->names[i], error);
}

attn_status attn__npz_write(attn__sink *sink, const attn__job *job, attn_error *error)
{
    npz_writer w = {.sink = sink, .job = job};
    size_t size = (size_t)job->n * sizeof *w.members;
    for (int64_t i = 0; i < job->n; i++) ATTN_TRY(npz_check(job, i, error));
    attn__crc_init(&w.crc);
    w.members = attn__new(job->ctx, size);
    if (!w.members) return attn__fail(error, ATTN_E_MEMORY, "npz", "table of members");
    attn_status status = npz_write_all(&w, error);
    attn__delete(job->ctx, w.members, size);
    return status;
}
