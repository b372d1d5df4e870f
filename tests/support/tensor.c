/* SPDX-License-Identifier: MIT
 * Tensors of a case: dense ones, ones in odd layouts, and access by index through the oracle's
 * own readers. */
#include "support/support.h"

#include <string.h>

attn_tensor test_tensor(test_arena *arena, attn_dtype dtype, int rank, const int64_t *shape)
{
    int64_t n = 1;
    for (int i = 0; i < rank; i++) n *= shape[i];
    void *data = test_alloc(arena, (size_t)n * attn_dtype_size(dtype));
    return attn_tensor_make(data, dtype, rank, shape);
}

/* How the dimensions lie in memory: outermost first. */
static void tensor_order(test_rng *rng, int rank, int *order)
{
    for (int i = 0; i < rank; i++) order[i] = i;
    if (test_rng_chance(rng, 40)) return;
    for (int i = rank - 1; i > 0; i--) {
        int other = (int)test_rng_range(rng, 0, i), kept = order[i];
        order[i] = order[other];
        order[other] = kept;
    }
}

/* Strides from the innermost dimension outwards, each a little wider than it must be at times.
 * Returns the number of elements of the block; *start is where index 0 lies. */
static int64_t tensor_strides(test_rng *rng, attn_tensor *t, bool may_broadcast, int64_t *start)
{
    int order[ATTN_MAX_RANK];
    int64_t step = test_rng_chance(rng, 20) ? test_rng_range(rng, 2, 3) : 1;
    tensor_order(rng, t->rank, order);
    *start = test_rng_range(rng, 0, 3);
    int64_t reach = *start;
    for (int at = t->rank - 1; at >= 0; at--) {
        int dim = order[at];
        int64_t last = t->shape[dim] > 0 ? t->shape[dim] - 1 : 0;
        if (may_broadcast && test_rng_chance(rng, 5)) {
            t->stride[dim] = 0;
            continue;
        }
        bool back = test_rng_chance(rng, 12);
        t->stride[dim] = back ? -step : step;
        if (back) *start += last * step;
        reach += last * step;
        step *= last + 1;
        if (test_rng_chance(rng, 20)) step += test_rng_range(rng, 1, 5);
    }
    return reach + test_rng_range(rng, 1, 4);
}

attn_tensor test_tensor_layout(test_arena *arena, test_rng *rng, attn_dtype dtype, int rank,
                               const int64_t *shape, bool may_broadcast)
{
    attn_tensor t = {.dtype = dtype, .rank = rank};
    int64_t start;
    for (int i = 0; i < rank; i++) t.shape[i] = shape[i];
    size_t bytes =
        (size_t)tensor_strides(rng, &t, may_broadcast, &start) * attn_dtype_size(dtype);
    char *data = test_alloc(arena, bytes);
    memset(data, 0xFF, bytes);
    t.data = data + (size_t)start * attn_dtype_size(dtype);
    return t;
}

bool test_tensor_empty(const attn_tensor *t)
{
    for (int i = 0; i < t->rank; i++)
        if (t->shape[i] == 0) return true;
    return false;
}

bool test_index_next(const attn_tensor *t, int64_t *index)
{
    for (int i = t->rank - 1; i >= 0; i--) {
        if (++index[i] < t->shape[i]) return true;
        index[i] = 0;
    }
    return false;
}

int64_t test_offset(const attn_tensor *t, const int64_t *index)
{
    int64_t offset = 0;
    for (int i = 0; i < t->rank; i++) offset += index[i] * t->stride[i];
    return offset;
}

double test_get(const attn_tensor *t, const int64_t *index)
{
    return oracle_get(t->dtype, t->data, test_offset(t, index));
}

void test_put(const attn_tensor *t, const int64_t *index, double value)
{
    oracle_put(t->dtype, t->data, test_offset(t, index), value);
}

attn_tensor test_tensor_dense(test_arena *arena, attn_tensor t, attn_dtype dtype)
{
    attn_tensor copy = test_tensor(arena, dtype ? dtype : t.dtype, t.rank, t.shape);
    int64_t index[ATTN_MAX_RANK] = {0};
    if (test_tensor_empty(&t)) return copy;
    do {
        if (copy.dtype == t.dtype) {
            size_t size = attn_dtype_size(t.dtype);
            memcpy((char *)copy.data + test_offset(&copy, index) * (int64_t)size,
                   (char *)t.data + test_offset(&t, index) * (int64_t)size, size);
        } else {
            test_put(&copy, index, test_get(&t, index));
        }
    } while (test_index_next(&t, index));
    return copy;
}

void test_fill_normal(const attn_tensor *t, test_rng *rng, double scale)
{
    int64_t index[ATTN_MAX_RANK] = {0};
    if (test_tensor_empty(t)) return;
    do test_put(t, index, scale * test_rng_normal(rng));
    while (test_index_next(t, index));
}

void test_fill_value(const attn_tensor *t, double value)
{
    int64_t index[ATTN_MAX_RANK] = {0};
    if (test_tensor_empty(t)) return;
    do test_put(t, index, value);
    while (test_index_next(t, index));
}

void test_fill_range(const attn_tensor *t, test_rng *rng, int64_t low, int64_t high)
{
    int64_t index[ATTN_MAX_RANK] = {0};
    if (test_tensor_empty(t)) return;
    do test_put(t, index, (double)test_rng_range(rng, low, high));
    while (test_index_next(t, index));
}
