/* SPDX-License-Identifier: MIT
 * Lists of rows for the kernels that read them where they lie (attn__rows): made by few.c,
 * source.c and cache_look.c alike. A part of the engine. */
#ifndef ATTN__ENGINE_ROWS_H
#define ATTN__ENGINE_ROWS_H

#include <string.h>

#include "kernel/kernel.h"

/* Two addresses: compilers see no vector in a loop over one. */
typedef uintptr_t attn__rows_pair __attribute__((vector_size(2 * sizeof(uintptr_t))));

/* row[i] = at + i step, i < n. */
static inline void attn__rows_list(const void **row, const char *at, int64_t step, int64_t n)
{
    const uintptr_t first = (uintptr_t)at, each = (uintptr_t)step;
    attn__rows_pair two = {first, first + each};
    int64_t i = 0;
#pragma GCC unroll 4
    for (; i + 2 <= n; i += 2, two += 2 * each) memcpy(row + i, &two, sizeof two);
    if (i < n) memcpy(row + i, &two, sizeof *row);
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
