/* SPDX-License-Identifier: MIT
 * Tensor views: making, reordering, slicing and checking them. A view that cannot exist (a
 * rank, an order or a range that makes no sense) is answered with an absent one, dtype NONE. */
#include "base/base.h"

static bool tensor_rank_ok(int64_t rank)
{
    return rank >= 0 && rank <= ATTN_MAX_RANK;
}

attn_tensor attn_tensor_make(void *data, attn_dtype dtype, int rank, const int64_t *shape)
{
    attn_tensor t = {.data = data, .dtype = dtype, .rank = rank};
    if (!tensor_rank_ok(rank) || (rank > 0 && !shape)) return (attn_tensor){0};
    int64_t stride = 1;
    for (int i = rank - 1; i >= 0; i--) {
        t.shape[i] = shape[i];
        t.stride[i] = stride;
        if (!attn__mul(stride, attn__max(shape[i], 1), &stride)) stride = INT64_MAX;
    }
    return t;
}

attn_tensor attn_tensor_permute(attn_tensor t, const int *order)
{
    attn_tensor result = t;
    unsigned seen = 0;
    if (!tensor_rank_ok(t.rank) || (t.rank > 0 && !order)) return (attn_tensor){0};
    for (int i = 0; i < t.rank; i++) {
        int from = order[i];
        if (from < 0 || from >= t.rank || (seen >> from & 1)) return (attn_tensor){0};
        seen |= 1U << from;
        result.shape[i] = t.shape[from];
        result.stride[i] = t.stride[from];
    }
    return result;
}

attn_tensor attn_tensor_slice(attn_tensor t, int dim, int64_t begin, int64_t end)
{
    int64_t offset;
    if (!tensor_rank_ok(t.rank) || dim < 0 || dim >= t.rank) return (attn_tensor){0};
    if (begin < 0 || begin > end || end > t.shape[dim]) return (attn_tensor){0};
    if (!attn__mul(begin, t.stride[dim], &offset)) return (attn_tensor){0};
    if (!attn__mul(offset, (int64_t)attn_dtype_size(t.dtype), &offset)) return (attn_tensor){0};
    t.shape[dim] = end - begin;
    /* An empty slice reaches nothing, so its pointer need not leave the array. */
    if (t.data && begin < end) t.data = (char *)t.data + offset;
    return t;
}

int64_t attn_tensor_count(attn_tensor t)
{
    int64_t count = 1;
    bool fits = tensor_rank_ok(t.rank), empty = false;
    for (int i = 0; fits && i < t.rank; i++) {
        if (t.shape[i] < 0) return -1;
        if (t.shape[i] == 0) empty = true;
    }
    if (fits && empty) return 0;
    for (int i = 0; fits && i < t.rank; i++) fits = attn__mul(count, t.shape[i], &count);
    return fits ? count : -1;
}

/* ---- checking ---------------------------------------------------------------------------- */

static attn_status tensor_check_shape(const attn_tensor *t, const char *where,
                                      attn_error *error)
{
    if (!tensor_rank_ok(t->rank))
        return attn__fail_count(error, ATTN_E_RANK, where, "the rank must be 0 to 8",
                                ATTN_MAX_RANK, t->rank);
    for (int i = 0; i < t->rank; i++) {
        if (t->shape[i] < 0)
            return attn__fail_count(error, ATTN_E_DIM, where,
                                    "a dimension must not be negative", 0, t->shape[i]);
        if (t->shape[i] > ATTN__FAR)
            return attn__fail_count(error, ATTN_E_DIM, where,
                                    "a dimension must not be above 2^47", ATTN__FAR,
                                    t->shape[i]);
    }
    if (attn_tensor_count(*t) < 0)
        return attn__fail(error, ATTN_E_OVERFLOW, where,
                          "the number of elements does not fit in 64 bits");
    return ATTN_OK;
}

/* Both ends of the walk from data, in bytes; at 2^62 even the distance of two tensors fits. */
static bool tensor_reach_fits(const attn_tensor *t)
{
    const int64_t limit = INT64_C(1) << 62;
    int64_t size = (int64_t)attn_dtype_size(t->dtype), low = 0, high = size;
    if (attn_tensor_count(*t) == 0) return true;
    for (int i = 0; i < t->rank; i++) {
        int64_t step;
        if (t->shape[i] == 1) continue;
        if (!attn__mul(t->stride[i], size, &step)) return false;
        if (!attn__mul(step, t->shape[i] - 1, &step)) return false;
        int64_t *end = step < 0 ? &low : &high;
        if (!attn__add(*end, step, end)) return false;
    }
    return low >= -limit && high <= limit;
}

attn_status attn__tensor_check(const attn_tensor *t, const char *where, attn_error *error)
{
    size_t size = attn_dtype_size(t->dtype);
    if (!attn__present(t))
        return attn__fail(error, ATTN_E_NULL, where, "the tensor is missing");
    if (size == 0) return attn__fail(error, ATTN_E_ENUM, where, "unknown element type");
    ATTN_TRY(tensor_check_shape(t, where, error));
    if (!tensor_reach_fits(t))
        return attn__fail(error, ATTN_E_OVERFLOW, where,
                          "strides reach beyond what 64 bits can address");
    if ((uintptr_t)t->data % size != 0)
        return attn__fail_count(error, ATTN_E_ALIGN, where,
                                "the pointer is not aligned to the element", (int64_t)size,
                                (int64_t)((uintptr_t)t->data % size));
    return ATTN_OK;
}
