/* SPDX-License-Identifier: MIT
 * Reads npz: a zip file whose members are npy files named <tensor>.npy. Stored members are used
 * where they lie; deflated ones are unpacked to exactly the announced size, which deflate's own
 * ratio and a bound on the sum keep in proportion to the file. Names are labels, never paths.
 */
#include "io/io.h"

#include <string.h>

static const char where_member[] = "zip member";

/* Deflate cannot do better than 258 bytes from 2 bits. */
enum { DEFLATE_RATIO = 1032, DEFLATE_SLACK = 64, FILE_RATIO = 64 };
#define UNPACKED_FREE ((uint64_t)1 << 30)

typedef struct npz_reader {
    attn_archive *archive;
    attn__zip zip;
    attn__crc crc;
    uint64_t unpacked; /* bytes of all deflated members so far */
    attn_error *error;
} npz_reader;

static attn_status npz_name(npz_reader *r, const attn__zip_member *m, const char **name)
{
    if (m->n_name < 4 || memcmp(m->name + m->n_name - 4, ".npy", 4) != 0)
        return attn__fail(r->error, ATTN_E_NAME, where_member, "its name does not end in .npy");
    ATTN_TRY(attn__name_check(where_member, m->name, m->n_name - 4, r->error));
    *name = attn__arena_text(&r->archive->arena, m->name, m->n_name - 4);
    if (!*name) return attn__fail(r->error, ATTN_E_MEMORY, where_member, "name");
    return attn__npz_check_name(*name, r->error);
}

static attn_status npz_inflate(npz_reader *r, const attn__zip_member *m, uint8_t **bytes)
{
    /* Neither product can overflow: both factors come from a file in memory, and packed was
     * compared with its size. */
    uint64_t most = UNPACKED_FREE + FILE_RATIO * (uint64_t)r->archive->n_bytes;
    if (most > SIZE_MAX / 2) most = SIZE_MAX / 2;
    if (m->size > m->packed * DEFLATE_RATIO + DEFLATE_SLACK || m->size > most - r->unpacked)
        return attn__fail(r->error, ATTN_E_LIMIT, where_member,
                          "unpacks to far more than it is: a zip bomb");
    r->unpacked += m->size;
    *bytes = attn__arena_new(&r->archive->arena, (size_t)m->size);
    if (!*bytes) return attn__fail(r->error, ATTN_E_MEMORY, where_member, "unpacked data");
    return attn__inflate(r->archive->bytes + m->data, (size_t)m->packed, *bytes,
                         (size_t)m->size, r->error);
}

static attn_status npz_unpack(npz_reader *r, const attn__zip_member *m, uint8_t **bytes)
{
    *bytes = r->archive->bytes + m->data;
    if (m->method == ATTN__ZIP_DEFLATED) ATTN_TRY(npz_inflate(r, m, bytes));
    if (attn__crc_run(&r->crc, 0, *bytes, (size_t)m->size) != m->crc)
        return attn__fail(r->error, ATTN_E_FORMAT, where_member, "its checksum is wrong");
    return ATTN_OK;
}

/* What can be said of a member whose name has not been checked yet. */
static const char *npz_label(const attn__zip_member *m, char label[64])
{
    size_t n = m->n_name < 63 ? m->n_name : 63;
    if (n) memcpy(label, m->name, n);
    label[n] = 0;
    return label;
}

static attn_status npz_member(npz_reader *r)
{
    attn__zip_member m = {0};
    const char *name = "";
    uint8_t *bytes = NULL;
    char label[64];
    attn_status status = attn__zip_next(&r->zip, &m, r->error);
    ATTN_TRY(attn__named(r->error, status, npz_label(&m, label)));
    ATTN_TRY(npz_name(r, &m, &name));
    ATTN_TRY(attn__named(r->error, npz_unpack(r, &m, &bytes), name));
    return attn__npy_parse(r->archive, name, bytes, (size_t)m.size, r->error);
}

attn_status attn__npz_read(attn_archive *archive, attn_error *error)
{
    npz_reader r = {.archive = archive, .error = error};
    ATTN_TRY(attn__zip_open(&r.zip, archive->bytes, archive->n_bytes, error));
    attn__crc_init(&r.crc);
    for (uint64_t i = 0; i < r.zip.count; i++) ATTN_TRY(npz_member(&r));
    return attn__zip_close(&r.zip, error);
}
