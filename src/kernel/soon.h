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

/* Never a call: one that only asks does nothing in the eyes of a compiler, and may be left out. */
static inline __attribute__((always_inline)) void attn__soon_ask(const attn__soon *soon,
                                                                 int64_t i)
{
    const char *row = soon->list ? soon->list[i] : soon->row + i * soon->step;
    for (int64_t at = 0; at < soon->bytes; at += ATTN__LINE)
        if (soon->write)
            __builtin_prefetch(row + at, 1);
        else if (soon->far)
            __builtin_prefetch(row + at, 0, 2);
        else
            __builtin_prefetch(row + at);
}

#endif
