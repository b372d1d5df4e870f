/* SPDX-License-Identifier: MIT
 * Tensors by their bits: equal, and hashed. */
#include "support/support.h"

#include <string.h>

static const unsigned char *bits_at(const attn_tensor *t, const int64_t *index)
{
    int64_t size = (int64_t)attn_dtype_size(t->dtype);
    return (const unsigned char *)t->data + test_offset(t, index) * size;
}

int64_t test_count_differing(attn_tensor a, attn_tensor b, int64_t *first)
{
    int64_t index[ATTN_MAX_RANK] = {0}, differing = 0, at = 0;
    bool same_kind = a.dtype == b.dtype && a.rank == b.rank;
    for (int i = 0; i < a.rank && same_kind; i++) same_kind = a.shape[i] == b.shape[i];
    if (!same_kind) return -1;
    if (test_tensor_empty(&a)) return 0;
    do {
        bool same = !memcmp(bits_at(&a, index), bits_at(&b, index), attn_dtype_size(a.dtype));
        if (!same && differing++ == 0 && first) *first = at;
        at++;
    } while (test_index_next(&a, index));
    return differing;
}

bool test_same_bits(attn_tensor a, attn_tensor b)
{
    return test_count_differing(a, b, NULL) == 0;
}

uint64_t test_hash_bits(attn_tensor t, uint64_t hash)
{
    int64_t index[ATTN_MAX_RANK] = {0};
    if (t.dtype == ATTN_DTYPE_NONE || test_tensor_empty(&t)) return hash;
    do {
        uint64_t bits = 0;
        size_t size = attn_dtype_size(t.dtype);
        const unsigned char *at = bits_at(&t, index);
        /* Bytes are put together by hand: no alignment is asked for. Little endian, as all we
         * run on. */
        for (size_t i = 0; i < size; i++) bits |= (uint64_t)at[i] << (8 * i);
        hash = (hash ^ bits) * UINT64_C(0x9E3779B97F4A7C15);
        hash ^= hash >> 29;
    } while (test_index_next(&t, index));
    return hash;
}
