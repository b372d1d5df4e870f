/* SPDX-License-Identifier: MIT
 * Whole numbers and bytes that a build function works out by itself - lists of rows, positions,
 * flags - in memory that lives as long as the tape. NULL means that the tape has failed. */
#include "mech/mech.h"

#include <string.h>

void *attn__tape_memory(attn_tape *t, int64_t count, size_t size)
{
    int64_t bytes;
    if (!attn__mul(attn__max(count, 1), (int64_t)size, &bytes)) {
        (void)attn__var_fail(t, ATTN_E_OVERFLOW, "memory", "is too much to count", 0, count);
        return NULL;
    }
    const attn_var zeros = attn_tape_expand(t, attn_tape_scalar(t, 0),
                                            ATTN_DIMS(attn__ceil_div(bytes, sizeof(float))));
    return attn_tape_value(t, attn__tape_contiguous(t, zeros)).data;
}

void *attn__tape_keep(attn_tape *t, const void *what, size_t size)
{
    void *kept = attn__tape_memory(t, 1, size);
    return kept ? memcpy(kept, what, size) : NULL;
}

attn_var attn__tape_ids(attn_tape *t, const int64_t *ids, attn_dims shape)
{
    if (!ids) return (attn_var){0};
    attn_tensor x = attn_tensor_make(NULL, ATTN_DTYPE_I64, shape.n, shape.at);
    x.data = (void *)(uintptr_t)ids; /* only read */
    return attn_tape_input(t, x);
}

/* Where element i of t lies, counted row major. */
static int64_t memory_offset(const attn_tensor *t, int64_t i)
{
    int64_t at = 0;
    for (int d = t->rank - 1; d >= 0; d--) {
        at += i % t->shape[d] * t->stride[d];
        i /= t->shape[d];
    }
    return at;
}

const uint8_t *attn__tape_visible(attn_tape *t, attn_var mask, int64_t heads)
{
    const attn_tensor m = attn_tape_value(t, mask);
    if (!attn__present(&m)) return NULL;
    const int64_t n = attn_tensor_count(m), S = m.shape[0] > 0 ? n / m.shape[0] : 0;
    uint8_t *rows = attn__tape_memory(t, n * heads, 1);
    for (int64_t i = 0; rows && i < n * heads; i++)
        rows[i] =
            attn__get_int(m.dtype, m.data, memory_offset(&m, i / S / heads * S + i % S)) != 0;
    return rows;
}

attn_var attn__tape_rows(attn_tape *t, attn_var x)
{
    const attn_tensor v = attn_tape_value(t, x);
    if (!attn__present(&v)) return (attn_var){0};
    const int64_t width = v.shape[v.rank - 1];
    int64_t rows = 1;
    for (int d = 0; d + 1 < v.rank; d++) rows *= v.shape[d];
    return attn_tape_reshape(t, x, ATTN_DIMS(rows, width));
}
