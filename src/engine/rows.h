/* SPDX-License-Identifier: MIT
 * Lists of rows for the kernels that read them where they lie (attn__rows): made by few.c,
 * source.c and cache_look.c alike. A part of the engine. */
#ifndef ATTN__ENGINE_ROWS_H
#define ATTN__ENGINE_ROWS_H

#include "kernel/kernel.h"

enum { ATTN__ROWS_AT_ONCE = 8 }; /* addresses, which compilers make vectors of */

/* row[i] = at + i step, i < n. */
static inline void attn__rows_list(const void **row, const char *at, int64_t step, int64_t n)
{
    int64_t i = 0;
    for (; i + ATTN__ROWS_AT_ONCE <= n;
         i += ATTN__ROWS_AT_ONCE, at += ATTN__ROWS_AT_ONCE * step)
        for (int x = 0; x < ATTN__ROWS_AT_ONCE; x++) row[i + x] = at + x * step;
    for (; i < n; i++, at += step) row[i] = at;
}

/* The same rows without the first ones. */
static inline attn__rows attn__rows_from(const attn__rows *all, int64_t first)
{
    attn__rows rows = *all;
    rows.row += first;
    if (rows.ahead) rows.ahead += first;
    if (rows.scale) rows.scale += first;
    if (rows.scale && rows.zero) rows.zero += first;
    return rows;
}

#endif
