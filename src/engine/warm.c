/* SPDX-License-Identifier: MIT
 * Memory that is needed soon: the queries, keys and values of the task after this one, the rows
 * that this one writes. Asked for all at once, they would stall the products as long as loading
 * them does; so the products ask for a few rows before each of their tiles, where loading runs
 * beside the multiply-adds. Short sequences live on this: with 128 keys a task is over before
 * the hardware has seen a pattern. */
#include "engine/engine.h"

static void warm_put(attn__warm *warm, attn__soon part)
{
    part.far = warm->far;
    if (warm->n < ATTN__WARM_PARTS) warm->part[warm->n++] = part;
}

void attn__warm_add(attn__warm *warm, const attn_tensor *t, int64_t b, int64_t h, int64_t row,
                    int64_t rows)
{
    const int64_t size = (int64_t)attn_dtype_size(t->dtype);
    if (!t->data || t->stride[3] != 1) return;
    warm_put(warm, (attn__soon){.row = attn__at(t, b, h, row, 0),
                                .step = t->stride[2] * size,
                                .bytes = t->shape[3] * size,
                                .rows = rows});
}

void attn__warm_out(attn__warm *warm, const attn_tensor *t, int64_t b, int64_t h, int64_t row,
                    int64_t rows)
{
    const int n = warm->n;
    attn__warm_add(warm, t, b, h, row, rows);
    if (warm->n > n) warm->part[n].write = true;
}

void attn__warm_block(attn__warm *warm, const attn_tensor *t, int64_t b, int64_t h, int64_t row,
                      int64_t rows, int64_t j, int64_t n)
{
    const int64_t size = (int64_t)attn_dtype_size(t->dtype);
    if (!t->data || t->stride[3] != 1 || n <= 0) return;
    warm_put(warm, (attn__soon){.row = attn__at(t, b, h, row, j),
                                .step = t->stride[2] * size,
                                .bytes = n * size,
                                .rows = t->stride[2] ? rows : 1});
}

void attn__warm_rows(attn__warm *warm, const void *const *list, int64_t bytes, int64_t n)
{
    if (n <= 0) return;
    warm_put(warm, (attn__soon){.list = list, .bytes = bytes, .rows = n});
}

void attn__warm_memory(attn__warm *warm, const char *memory, int64_t bytes)
{
    enum { PIECE = 4 * ATTN__LINE };
    warm_put(warm,
             (attn__soon){.row = memory, .step = PIECE, .bytes = PIECE, .rows = bytes / PIECE});
}

static void warm_step(attn__soon *part, int64_t rows)
{
    if (part->list)
        part->list += rows;
    else
        part->row += rows * part->step;
    part->rows -= rows;
}

void attn__warm_some(attn__warm *warm, int64_t rows)
{
    while (warm->n > 0 && rows > 0) {
        attn__soon *part = &warm->part[warm->n - 1];
        const int64_t n = attn__min(rows, part->rows);
        attn__soon_ask(part, 0, n);
        warm_step(part, n);
        rows -= n;
        if (part->rows == 0) warm->n--;
    }
}

const attn__soon *attn__warm_take(attn__warm *warm, int64_t n, attn__soon *soon)
{
    if (!warm || warm->n == 0) return NULL;
    attn__soon *part = &warm->part[warm->n - 1];
    *soon = *part;
    soon->rows = attn__min(n, part->rows);
    warm_step(part, soon->rows);
    if (part->rows == 0) warm->n--;
    return soon;
}
