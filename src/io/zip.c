/* SPDX-License-Identifier: MIT
 * The directory of a zip file, strict. Members must stand one behind another from the first
 * byte to the central directory, in its order, so no two overlap and nothing hides between
 * them; what a member says of itself must equal what the directory says of it. zip64 and data
 * descriptors are understood, encryption, comments at the end and several disks are refused. */
#include "io/io.h"

#include <string.h>

static const char where_end[] = "zip end record", where_directory[] = "zip directory",
                  where_member[] = "zip member";

enum { SATURATED16 = 0xFFFF };
#define SATURATED32 0xFFFFFFFFu

static attn_status zip_bad(const char *where, const char *what, attn_error *error)
{
    return attn__fail(error, ATTN_E_FORMAT, where, what);
}

/* ---- the end of the file ----------------------------------------------------------------- */

/* Says why there is no end record in the last bytes. */
static attn_status zip_fail_end(const uint8_t *bytes, size_t n, attn_error *error)
{
    size_t most = n < SATURATED16 + ATTN__ZIP_END_SIZE ? n : SATURATED16 + ATTN__ZIP_END_SIZE;
    for (size_t back = ATTN__ZIP_END_SIZE; back <= most; back++)
        if (attn__load32(bytes + n - back) == ATTN__ZIP_END)
            return attn__fail(error, ATTN_E_TRAIL, where_end, "a comment or bytes follow it");
    if (n >= 4 && attn__load32(bytes) != ATTN__ZIP_LOCAL)
        return zip_bad(where_end, "is missing, and the file does not start as zip", error);
    return attn__fail(error, ATTN_E_TRUNC, where_end, "is missing: the file was cut");
}

typedef struct zip_record {
    uint64_t count, size, directory;
    uint64_t at; /* where the first of the end records stands: there the directory must end */
} zip_record;

/* Whether the narrow field of the end record says "see zip64", or agrees with it. */
static bool zip_agrees(uint64_t narrow, uint64_t saturated, uint64_t wide)
{
    return narrow == saturated || narrow == wide;
}

/* Replaces record by the zip64 one, when a locator for one stands before the end record. */
static attn_status zip_end64(const uint8_t *bytes, zip_record *record, attn_error *error)
{
    if (record->at < ATTN__ZIP_LOCATOR_SIZE + ATTN__ZIP_END64_SIZE) return ATTN_OK;
    const uint8_t *locator = bytes + record->at - ATTN__ZIP_LOCATOR_SIZE;
    if (attn__load32(locator) != ATTN__ZIP_LOCATOR) return ATTN_OK;
    const uint8_t *p = locator - ATTN__ZIP_END64_SIZE;
    zip_record wide = {attn__load64(p + 32), attn__load64(p + 40), attn__load64(p + 48),
                       (uint64_t)(p - bytes)};
    if (attn__load32(locator + 4) != 0 || attn__load32(locator + 16) > 1 ||
        attn__load64(locator + 8) != wide.at || attn__load32(p) != ATTN__ZIP_END64 ||
        attn__load64(p + 4) != ATTN__ZIP_END64_SIZE - 12 || attn__load64(p + 16) != 0)
        return zip_bad(where_end, "the zip64 record is not where or what it should be", error);
    if (attn__load64(p + 24) != wide.count ||
        !zip_agrees(record->count, SATURATED16, wide.count) ||
        !zip_agrees(record->size, SATURATED32, wide.size) ||
        !zip_agrees(record->directory, SATURATED32, wide.directory))
        return zip_bad(where_end, "its two forms disagree", error);
    *record = wide;
    return ATTN_OK;
}

static attn_status zip_end(const uint8_t *bytes, size_t n, zip_record *record,
                           attn_error *error)
{
    const uint8_t *p = n < ATTN__ZIP_END_SIZE ? bytes : bytes + n - ATTN__ZIP_END_SIZE;
    if (n < ATTN__ZIP_END_SIZE || attn__load32(p) != ATTN__ZIP_END)
        return zip_fail_end(bytes, n, error);
    if (attn__load16(p + 20) != 0)
        return attn__fail(error, ATTN_E_TRUNC, where_end,
                          "announces a comment that is missing");
    if (attn__load32(p + 4) != 0 || attn__load16(p + 8) != attn__load16(p + 10))
        return attn__fail(error, ATTN_E_UNSUPPORTED, where_end, "tells of several disks");
    *record = (zip_record){attn__load16(p + 10), attn__load32(p + 12), attn__load32(p + 16),
                           (uint64_t)(p - bytes)};
    return zip_end64(bytes, record, error);
}

attn_status attn__zip_open(attn__zip *zip, const uint8_t *bytes, size_t n, attn_error *error)
{
    zip_record record = {0};
    ATTN_TRY(zip_end(bytes, n, &record, error));
    if (record.directory > record.at || record.size != record.at - record.directory)
        return attn__fail(error, ATTN_E_OFFSET, where_end, "the directory does not end at it");
    if (record.count > ATTN__MAX_TENSORS)
        return attn__fail(error, ATTN_E_LIMIT, where_end, "too many members");
    if (record.count > record.size / ATTN__ZIP_CENTRAL_SIZE)
        return zip_bad(where_end, "more members than the directory has room for", error);
    *zip = (attn__zip){.bytes = bytes,
                       .count = record.count,
                       .directory = record.directory,
                       .end = record.at,
                       .next_central = record.directory};
    return ATTN_OK;
}

/* ---- one member -------------------------------------------------------------------------- */

/* Gives saturated values (n pointers, in the order zip64 has them) their wide form. */
static attn_status zip_widen(const uint8_t *extra, size_t n_extra, uint64_t *const *values,
                             int n, attn_error *error)
{
    bool seen = false;
    for (size_t i = 0; i < n_extra;) {
        if (n_extra - i < 4 || attn__load16(extra + i + 2) > n_extra - i - 4)
            return zip_bad(where_member, "an extra field runs past its end", error);
        size_t at = i + 4, id = attn__load16(extra + i);
        i = at + attn__load16(extra + i + 2);
        if (id != 1) continue;
        if (seen) return zip_bad(where_member, "a zip64 field repeats", error);
        seen = true;
        for (int k = 0; k < n; k++) {
            if (*values[k] != SATURATED32) continue;
            if (i - at < 8) return zip_bad(where_member, "a zip64 field is too short", error);
            *values[k] = attn__load64(extra + at);
            at += 8;
        }
    }
    return ATTN_OK;
}

static attn_status zip_central(attn__zip *zip, attn__zip_member *m, attn_error *error)
{
    const uint8_t *p = zip->bytes + zip->next_central;
    uint64_t left = zip->end - zip->next_central;
    if (left < ATTN__ZIP_CENTRAL_SIZE || attn__load32(p) != ATTN__ZIP_CENTRAL)
        return zip_bad(where_directory, "an entry does not start as one", error);
    size_t n_extra = attn__load16(p + 30), n_comment = attn__load16(p + 32);
    size_t n_name = attn__load16(p + 28);
    uint64_t size = ATTN__ZIP_CENTRAL_SIZE + n_name + n_extra + n_comment;
    if (size > left) return zip_bad(where_directory, "an entry runs past the end", error);
    m->name = p + ATTN__ZIP_CENTRAL_SIZE;
    m->n_name = n_name;
    m->flags = attn__load16(p + 8);
    m->method = attn__load16(p + 10);
    m->crc = attn__load32(p + 16);
    m->packed = attn__load32(p + 20);
    m->size = attn__load32(p + 24);
    m->local = attn__load32(p + 42);
    uint64_t *const wide[] = {&m->size, &m->packed, &m->local};
    ATTN_TRY(zip_widen(m->name + m->n_name, n_extra, wide, 3, error));
    if (attn__load16(p + 34) != 0)
        return attn__fail(error, ATTN_E_UNSUPPORTED, where_directory, "tells of several disks");
    zip->next_central += size;
    return ATTN_OK;
}

static attn_status zip_check_kind(const attn__zip_member *m, attn_error *error)
{
    /* Besides the two flags that have names here, two are hints for deflate. */
    const unsigned known = ATTN__ZIP_DESCRIBED | ATTN__ZIP_UTF8 | 1u << 1 | 1u << 2;
    if (m->flags & ~known)
        return attn__fail(error, ATTN_E_UNSUPPORTED, where_member,
                          "is encrypted, patched or otherwise special");
    if (m->method != ATTN__ZIP_STORED && m->method != ATTN__ZIP_DEFLATED)
        return attn__fail(error, ATTN_E_UNSUPPORTED, where_member,
                          "is neither stored nor deflated");
    if (m->method == ATTN__ZIP_STORED && m->packed != m->size)
        return zip_bad(where_member, "is stored but has two sizes", error);
    return ATTN_OK;
}

static attn_status zip_check_sizes(const uint8_t *p, const attn__zip_member *m,
                                   attn_error *error)
{
    uint64_t crc = attn__load32(p + 14), packed = attn__load32(p + 18),
             size = attn__load32(p + 22);
    uint64_t *const wide[] = {&size, &packed};
    ATTN_TRY(
        zip_widen(p + ATTN__ZIP_LOCAL_SIZE + m->n_name, attn__load16(p + 28), wide, 2, error));
    bool later = (m->flags & ATTN__ZIP_DESCRIBED) && crc == 0 && packed == 0 && size == 0;
    if (!later && (crc != m->crc || packed != m->packed || size != m->size))
        return zip_bad(where_member, "its sizes or checksum differ from the directory", error);
    return ATTN_OK;
}

static attn_status zip_local(attn__zip *zip, attn__zip_member *m, attn_error *error)
{
    if (m->local != zip->next_local)
        return attn__fail_count(
            error, ATTN_E_OFFSET, where_member, "does not stand right behind the one before",
            (int64_t)zip->next_local, (int64_t)(m->local > INT64_MAX ? INT64_MAX : m->local));
    const uint8_t *p = zip->bytes + m->local;
    uint64_t left = zip->directory - m->local;
    if (left < ATTN__ZIP_LOCAL_SIZE || attn__load32(p) != ATTN__ZIP_LOCAL)
        return zip_bad(where_member, "does not start as one", error);
    uint64_t head =
        ATTN__ZIP_LOCAL_SIZE + (uint64_t)attn__load16(p + 26) + attn__load16(p + 28);
    if (head > left || m->packed > left - head)
        return attn__fail(error, ATTN_E_OFFSET, where_member, "runs into the directory");
    if (attn__load16(p + 6) != m->flags || attn__load16(p + 8) != m->method ||
        attn__load16(p + 26) != m->n_name ||
        memcmp(p + ATTN__ZIP_LOCAL_SIZE, m->name, m->n_name) != 0)
        return zip_bad(where_member, "its header differs from the directory", error);
    ATTN_TRY(zip_check_sizes(p, m, error));
    m->data = m->local + head;
    zip->next_local = m->data + m->packed;
    return ATTN_OK;
}

/* The sizes written behind the data, in 32 or 64 bits each. */
static attn_status zip_descriptor(attn__zip *zip, const attn__zip_member *m, attn_error *error)
{
    const uint8_t *p = zip->bytes + zip->next_local;
    uint64_t left = zip->directory - zip->next_local;
    bool starts =
        left >= 16 && attn__load32(p) == ATTN__ZIP_DESCRIPTOR && attn__load32(p + 4) == m->crc;
    if (starts && left >= 24 && attn__load64(p + 8) == m->packed &&
        attn__load64(p + 16) == m->size)
        zip->next_local += 24;
    else if (starts && attn__load32(p + 8) == m->packed && attn__load32(p + 12) == m->size)
        zip->next_local += 16;
    else
        return zip_bad(where_member, "its data descriptor differs from the directory", error);
    return ATTN_OK;
}

attn_status attn__zip_next(attn__zip *zip, attn__zip_member *member, attn_error *error)
{
    ATTN_TRY(zip_central(zip, member, error));
    ATTN_TRY(zip_check_kind(member, error));
    ATTN_TRY(zip_local(zip, member, error));
    if (member->flags & ATTN__ZIP_DESCRIBED) return zip_descriptor(zip, member, error);
    return ATTN_OK;
}

attn_status attn__zip_close(const attn__zip *zip, attn_error *error)
{
    if (zip->next_central != zip->end)
        return zip_bad(where_directory, "has more entries than announced", error);
    if (zip->next_local != zip->directory)
        return attn__fail(error, ATTN_E_OFFSET, where_directory,
                          "bytes before it belong to no member");
    return ATTN_OK;
}
