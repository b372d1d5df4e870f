/* SPDX-License-Identifier: MIT
 * Memory needed soon is asked for while other memory is worked on. warm.c; a part of
 * engine.h. */
#ifndef ATTN__WARM_H
#define ATTN__WARM_H

#include "kernel/kernel.h"

enum { ATTN__WARM_PARTS = 12 };
typedef struct attn__warm {
    int n;
    bool far; /* where what is only read goes: attn__soon */
    attn__soon part[ATTN__WARM_PARTS];
} attn__warm;
void attn__warm_add(attn__warm *warm, const attn_tensor *t, int64_t b, int64_t h, int64_t row,
                    int64_t rows);
void attn__warm_out(attn__warm *warm, const attn_tensor *t, int64_t b, int64_t h, int64_t row,
                    int64_t rows);
/* Columns j .. j + n of rows of an operand B H T S. */
void attn__warm_block(attn__warm *warm, const attn_tensor *t, int64_t b, int64_t h, int64_t row,
                      int64_t rows, int64_t j, int64_t n);
/* n rows anywhere, of which the list stays. */
void attn__warm_rows(attn__warm *warm, const void *const *list, int64_t bytes, int64_t n);
void attn__warm_memory(attn__warm *warm, const char *memory, int64_t bytes);
void attn__warm_some(attn__warm *warm, int64_t rows);
/* Up to n rows that a kernel asks for instead; NULL: there are none. */
const attn__soon *attn__warm_take(attn__warm *warm, int64_t n, attn__soon *soon);

#endif
