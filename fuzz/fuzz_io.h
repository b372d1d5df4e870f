/* SPDX-License-Identifier: MIT
 * What the fuzz targets of file formats share: bytes are refused, or give tensors of which
 * every element can be read; and those, saved in the same format, come back the same. */
#ifndef FUZZ_IO_H
#define FUZZ_IO_H

#define _GNU_SOURCE
#include "attn/io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* A broken promise: the fuzzer keeps the input that caused an abort. */
static inline void fuzz_require(bool kept, const char *promise)
{
    if (kept) return;
    fprintf(stderr, "broken: %s\n", promise);
    abort();
}

static inline int64_t fuzz_offset(const attn_tensor *t, int64_t i)
{
    int64_t at = 0;
    for (int d = t->rank - 1; d >= 0; d--) {
        at += i % t->shape[d] * t->stride[d];
        i /= t->shape[d];
    }
    return at;
}

static inline const uint8_t *fuzz_element(const attn_tensor *t, int64_t i)
{
    return (const uint8_t *)t->data + fuzz_offset(t, i) * (int64_t)attn_dtype_size(t->dtype);
}

static inline bool fuzz_same(const attn_tensor *a, const attn_tensor *b)
{
    bool same = a->dtype == b->dtype && a->rank == b->rank;
    for (int d = 0; same && d < a->rank; d++) same = a->shape[d] == b->shape[d];
    for (int64_t i = 0, n = attn_tensor_count(*a); same && i < n; i++)
        same = !memcmp(fuzz_element(a, i), fuzz_element(b, i), attn_dtype_size(a->dtype));
    return same;
}

static inline void fuzz_compare(const attn_archive *a, const attn_archive *b)
{
    fuzz_require(attn_archive_count(a) == attn_archive_count(b), "as many tensors come back");
    for (int64_t i = 0; i < attn_archive_count(a); i++) {
        const char *name = attn_archive_name(a, i);
        int64_t k = attn_archive_find(b, name);
        fuzz_require(attn_archive_find(a, name) == i && k >= 0, "a name is found");
        attn_tensor x = attn_archive_tensor(a, i), y = attn_archive_tensor(b, k);
        fuzz_require((uintptr_t)x.data % attn_dtype_size(x.dtype) == 0, "data is aligned");
        fuzz_require(fuzz_same(&x, &y), "a tensor comes back");
    }
}

/* Saves a into a file in memory; its bytes, for free(). */
static inline uint8_t *fuzz_save(const attn_archive *a, attn_format format, size_t *n)
{
    int64_t count = attn_archive_count(a);
    const char **names = calloc((size_t)count + 1, sizeof *names);
    attn_tensor *tensors = calloc((size_t)count + 1, sizeof *tensors);
    attn_save_options options = {.size = sizeof options, .format = format};
    char path[64];
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    fuzz_require(names && tensors && fd >= 0, "the machine has memory");
    for (int64_t i = 0; i < count; i++) {
        names[i] = attn_archive_name(a, i);
        tensors[i] = attn_archive_tensor(a, i);
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    attn_status status = attn_archive_save(NULL, path, count, names, tensors, &options, NULL);
    fuzz_require(status == ATTN_OK, "what was read can be written");
    *n = (size_t)lseek(fd, 0, SEEK_END);
    uint8_t *bytes = malloc(*n + 1);
    fuzz_require(bytes && pread(fd, bytes, *n, 0) == (ssize_t)*n, "the file can be read");
    close(fd);
    free(tensors);
    free(names);
    return bytes;
}

static inline int fuzz_archive(const uint8_t *bytes, size_t n, attn_format format)
{
    attn_error e = {0};
    attn_archive *a = NULL, *b = NULL;
    attn_status status = attn_archive_parse(&a, NULL, bytes, n, format, &e);
    fuzz_require(e.status == status && (status == ATTN_OK) == (a != NULL), "one answer");
    if (!a) return 0;
    size_t n_saved;
    uint8_t *saved = fuzz_save(a, format, &n_saved);
    status = attn_archive_parse(&b, NULL, saved, n_saved, format, NULL);
    fuzz_require(status == ATTN_OK, "what was written can be read");
    fuzz_compare(a, b);
    attn_archive_destroy(b);
    attn_archive_destroy(a);
    free(saved);
    return 0;
}

#endif
