/* SPDX-License-Identifier: MIT
 * What the tests of the io room share: a folder for files, an allocator that fails on order,
 * tensors with known contents, and files read and written whole. */
#ifndef TEST_IO_H
#define TEST_IO_H

#include "attn/io.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- files ------------------------------------------------------------------------------- */

typedef struct io_folder {
    char path[64];
} io_folder;

static inline int io_setup(void **state)
{
    io_folder *folder = malloc(sizeof *folder);
    if (!folder) return -1;
    *state = folder;
    /* In memory where there is such a place: thousands of files are synced. */
    strcpy(folder->path, "/dev/shm/attn-test-XXXXXX");
    if (mkdtemp(folder->path)) return 0;
    strcpy(folder->path, "/tmp/attn-test-XXXXXX");
    return mkdtemp(folder->path) ? 0 : -1;
}

/* Names in the folder besides "." and ".."; removes them when asked. */
static inline int io_count_files(const io_folder *folder, bool remove)
{
    char path[512];
    int n = 0;
    DIR *d = opendir(folder->path);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        snprintf(path, sizeof path, "%s/%s", folder->path, e->d_name);
        if (remove) unlink(path);
        n++;
    }
    if (d) closedir(d);
    return n;
}

static inline int io_teardown(void **state)
{
    io_folder *folder = *state;
    io_count_files(folder, true);
    int removed = rmdir(folder->path);
    free(folder);
    return removed;
}

static inline const char *io_path(void **state, char path[512], const char *name)
{
    const io_folder *folder = *state;
    snprintf(path, 512, "%s/%s", folder->path, name);
    return path;
}

/* A file of tests/hostile; tests run in the root of the source unless ATTN_SOURCE names it. */
static inline const char *io_hostile(char path[512], const char *name)
{
    const char *root = getenv("ATTN_SOURCE");
    snprintf(path, 512, "%s/tests/hostile/%s", root ? root : ".", name);
    return path;
}

static inline uint8_t *io_slurp(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    *n = (size_t)ftell(f);
    rewind(f);
    uint8_t *bytes = malloc(*n ? *n : 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *n, f), *n);
    fclose(f);
    return bytes;
}

static inline void io_spill(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* ---- memory ------------------------------------------------------------------------------ */

/* Allocation number fail_at (from 0) fails, and with from also every later one. */
typedef struct io_meter {
    long calls, fail_at, live;
    bool from;
} io_meter;

static inline void *io_meter_alloc(void *user, void *ptr, size_t old_size, size_t new_size,
                                   size_t align)
{
    io_meter *m = user;
    (void)old_size;
    if (new_size == 0) {
        m->live -= ptr != NULL;
        free(ptr);
        return NULL;
    }
    long n = m->calls++;
    if (m->fail_at >= 0 && (n == m->fail_at || (m->from && n > m->fail_at))) return NULL;
    void *p = aligned_alloc(align, (new_size + align - 1) / align * align);
    if (p) memset(p, 0xA5, new_size);
    m->live += p != NULL;
    return p;
}

static inline attn_ctx *io_meter_ctx(io_meter *m)
{
    attn_ctx *ctx = NULL;
    *m = (io_meter){.fail_at = -1};
    assert_int_equal(
        attn_ctx_create(
            &ctx, &ATTN_CONFIG(.threads = 1, .alloc = io_meter_alloc, .alloc_user = m), NULL),
        ATTN_OK);
    return ctx;
}

/* ---- tensors ----------------------------------------------------------------------------- */

/* Byte i of a pattern that is legal in every element type, bool included. */
static inline uint8_t io_pattern(attn_dtype dtype, size_t i)
{
    return (uint8_t)(dtype == ATTN_DTYPE_BOOL ? (i * 7 / 3) % 2 : (i * 131 + i / 7) % 251);
}

/* The offset in elements of the i-th element of t in row-major order. */
static inline int64_t io_offset(const attn_tensor *t, int64_t i)
{
    int64_t at = 0;
    for (int d = t->rank - 1; d >= 0; d--) {
        at += i % t->shape[d] * t->stride[d];
        i /= t->shape[d];
    }
    return at;
}

/* Same type, shape and bits, whatever the strides. */
static inline bool io_same(const attn_tensor *a, const attn_tensor *b)
{
    size_t item = attn_dtype_size(a->dtype);
    if (a->dtype != b->dtype || a->rank != b->rank) return false;
    for (int d = 0; d < a->rank; d++)
        if (a->shape[d] != b->shape[d]) return false;
    for (int64_t i = 0, n = attn_tensor_count(*a); i < n; i++) {
        const char *x = a->data, *y = b->data;
        if (memcmp(x + io_offset(a, i) * (int64_t)item, y + io_offset(b, i) * (int64_t)item,
                   item) != 0)
            return false;
    }
    return true;
}

/* Reads every byte of an archive, so that a sanitizer sees a view that reaches too far. */
static inline uint64_t io_touch(const attn_archive *archive)
{
    uint64_t sum = 0;
    for (int64_t i = 0; i < attn_archive_count(archive); i++) {
        attn_tensor t = attn_archive_tensor(archive, i);
        size_t item = attn_dtype_size(t.dtype);
        assert_int_equal((uintptr_t)t.data % item, 0);
        assert_int_equal(attn_archive_find(archive, attn_archive_name(archive, i)), i);
        for (int64_t k = 0, n = attn_tensor_count(t); k < n; k++) {
            const uint8_t *p = (const uint8_t *)t.data + io_offset(&t, k) * (int64_t)item;
            for (size_t b = 0; b < item; b++) sum = sum * 31 + p[b];
        }
    }
    return sum;
}

#endif
