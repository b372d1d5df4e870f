/* SPDX-License-Identifier: MIT
 * Memory that is needed soon: rows that a kernel, or the engine between two kernels, asks for while
 * it works on others. A part of kernel.h. */
#ifndef ATTN__KERNEL_SOON_H
#define ATTN__KERNEL_SOON_H

#include "base/base.h"

enum { ATTN__LINE = 64 }; /* bytes of a line of every cache */

typedef struct attn__soon {
    const char *row;         /* rows of bytes each, step apart, */
    const void *const *list; /* or, unless this is NULL, anywhere */
    int64_t step, bytes, rows;
    bool write;
    bool far; /* too much for the first cache: the second one is to hold it */
} attn__soon;

static inline __attribute__((always_inline)) void
attn__soon_line(const char *line, const bool write, const bool far)
{
    if (write)
        __builtin_prefetch(line, 1);
    else if (far)
        __builtin_prefetch(line, 0, 2);
    else
        __builtin_prefetch(line);
}

/* Four lines at a time: asking stands between instructions that products could issue. */
static inline __attribute__((always_inline)) void
attn__soon_row(const char *row, int64_t bytes, const bool write, const bool far)
{
    enum { FOUR = 4 * ATTN__LINE };
    for (; bytes >= FOUR; bytes -= FOUR, row += FOUR)
        for (int x = 0; x < 4; x++) attn__soon_line(row + x * ATTN__LINE, write, far);
    for (; bytes > 0; bytes -= ATTN__LINE, row += ATTN__LINE) attn__soon_line(row, write, far);
}

static inline __attribute__((always_inline)) void attn__soon_rows(const attn__soon *soon,
                                                                  int64_t i, int64_t end,
                                                                  const bool write,
                                                                  const bool far)
{
    if (soon->list) {
        for (; i < end; i++) attn__soon_row(soon->list[i], soon->bytes, write, far);
        return;
    }
    for (const char *row = soon->row + i * soon->step; i < end; i++, row += soon->step)
        attn__soon_row(row, soon->bytes, write, far);
}

/* Rows i .. end. A function that only asks does nothing in the eyes of a compiler, which would
 * leave out the call but for the empty instruction. */
static __attribute__((noinline, unused)) void attn__soon_ask(const attn__soon *soon, int64_t i,
                                                             int64_t end)
{
    if (end > soon->rows) end = soon->rows;
    if (i >= end) return;
    __asm__ volatile("");
    if (soon->write)
        attn__soon_rows(soon, i, end, true, false);
    else if (soon->far)
        attn__soon_rows(soon, i, end, false, true);
    else
        attn__soon_rows(soon, i, end, false, false);
}

#endif
