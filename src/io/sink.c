/* SPDX-License-Identifier: MIT
 * Where writers put bytes: a file descriptor, a block of memory, or nowhere. A sink counts, and
 * checksums when asked, so a writer runs once into nowhere to learn a size and a CRC and then
 * again into the file; strided views need no copy that way. An error sticks: writers put
 * without looking, and flush tells. */
#define _POSIX_C_SOURCE 200809L
#include "io/io.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

void attn__sink_init(attn__sink *sink, int fd)
{
    sink->fd = fd;
    sink->memory = NULL;
    sink->crc = NULL;
    sink->sum = 0;
    sink->n = 0;
    sink->error_number = 0;
    sink->used = 0;
}

static void sink_write(attn__sink *sink, const uint8_t *p, size_t n)
{
    while (n && !sink->error_number) {
        ssize_t done = write(sink->fd, p, n < (size_t)1 << 30 ? n : (size_t)1 << 30);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) {
            sink->error_number = done < 0 ? errno : EIO;
            return;
        }
        p += done;
        n -= (size_t)done;
    }
}

bool attn__sink_flush(attn__sink *sink)
{
    if (sink->fd >= 0) sink_write(sink, sink->buffer, sink->used);
    sink->used = 0;
    return sink->error_number == 0;
}

void attn__sink_put(attn__sink *sink, const void *bytes, size_t n)
{
    if (n == 0) return;
    if (sink->crc) sink->sum = attn__crc_run(sink->crc, sink->sum, bytes, n);
    if (sink->memory) memcpy(sink->memory + sink->n, bytes, n);
    sink->n += n;
    if (sink->fd < 0) return;
    if (n > sizeof sink->buffer - sink->used) attn__sink_flush(sink);
    if (n > sizeof sink->buffer) {
        sink_write(sink, bytes, n);
        return;
    }
    memcpy(sink->buffer + sink->used, bytes, n);
    sink->used += n;
}

void attn__sink_text(attn__sink *sink, const char *text)
{
    attn__sink_put(sink, text, strlen(text));
}

void attn__sink_fill(attn__sink *sink, char c, size_t n)
{
    for (; n; n--) attn__sink_put(sink, &c, 1);
}

void attn__sink_number(attn__sink *sink, uint64_t value)
{
    char digits[20];
    attn__sink_put(sink, digits, attn__decimal(digits, value));
}

/* ---- tensors ----------------------------------------------------------------------------- */

/* n elements step elements apart, packed, as bools of 0 and 1 and in file order. */
static void sink_row(attn__sink *sink, attn_dtype dtype, const uint8_t *p, int64_t n,
                     int64_t step)
{
    uint8_t packed[1024];
    size_t item = attn_dtype_size(dtype);
    int64_t most = (int64_t)(sizeof packed / item);
    ptrdiff_t stride = (ptrdiff_t)(step * (int64_t)item);
    for (int64_t i = 0; i < n;) {
        int64_t k = attn__min(most, n - i);
        for (int64_t j = 0; j < k; j++)
            memcpy(packed + (size_t)j * item, p + (i + j) * stride, item);
        if (ATTN__HOST_BIG) attn__swap(packed, (size_t)k, item);
        for (int64_t j = 0; dtype == ATTN_DTYPE_BOOL && j < k; j++) packed[j] = packed[j] != 0;
        attn__sink_put(sink, packed, (size_t)k * item);
        i += k;
    }
}

static bool sink_is_plain(const attn_tensor *t, int d, int64_t run)
{
    return t->shape[d] == 1 || t->stride[d] == run;
}

/* Splits t: dimensions [*outer, rank) are one run of *run elements packed in memory. */
static void sink_split(const attn_tensor *t, int *outer, int64_t *run)
{
    *outer = t->rank;
    *run = 1;
    while (*outer > 0 && sink_is_plain(t, *outer - 1, *run)) *run *= t->shape[--*outer];
}

static void sink_run(attn__sink *sink, attn_dtype dtype, const uint8_t *p, int64_t n,
                     int64_t step)
{
    if (step == 1 && dtype != ATTN_DTYPE_BOOL && !ATTN__HOST_BIG)
        attn__sink_put(sink, p, (size_t)n * attn_dtype_size(dtype));
    else
        sink_row(sink, dtype, p, n, step);
}

/* Moves index to the next place of the first n dims; false after the last. *at follows it. */
static bool sink_next(const attn_tensor *t, int n, int64_t *index, int64_t *at)
{
    for (int d = n - 1; d >= 0; d--) {
        *at += t->stride[d];
        if (++index[d] < t->shape[d]) return true;
        *at -= index[d] * t->stride[d];
        index[d] = 0;
    }
    return false;
}

void attn__sink_tensor(attn__sink *sink, const attn_tensor *t)
{
    for (int d = 0; d < t->rank; d++)
        if (t->shape[d] == 0) return;
    int outer;
    int64_t run, step = 1, at = 0, index[ATTN_MAX_RANK] = {0};
    int64_t item = (int64_t)attn_dtype_size(t->dtype);
    sink_split(t, &outer, &run);
    if (run == 1 && outer > 0) { /* nothing is packed: the last dimension is the run */
        outer--;
        run = t->shape[outer];
        step = t->stride[outer];
    }
    do sink_run(sink, t->dtype, (const uint8_t *)t->data + at * item, run, step);
    while (!sink->error_number && sink_next(t, outer, index, &at));
}
