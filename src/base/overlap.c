/* SPDX-License-Identifier: MIT
 * Which memory a view reaches, and whether two indices, or two views, can meet there.
 *
 * The strides of a dense array, and of everything cut or permuted from it, are nested: each is
 * larger than all smaller ones together can walk. In that case an offset has at most two
 * candidates per dimension, so meeting can be decided exactly; otherwise the answer is the safe
 * one, that they may meet. */
#include "base/base.h"

void attn__tensor_span(const attn_tensor *t, int64_t *low, int64_t *high)
{
    int64_t size = (int64_t)attn_dtype_size(t->dtype);
    *low = *high = 0;
    if (attn_tensor_count(*t) <= 0) return;
    *high = size;
    for (int i = 0; i < t->rank; i++) {
        int64_t walk = t->shape[i] > 1 ? (t->shape[i] - 1) * t->stride[i] * size : 0;
        if (walk < 0)
            *low += walk;
        else
            *high += walk;
    }
}

/* One dimension in which two views are compared: their common stride and extents. */
typedef struct overlap_dim {
    int64_t stride, n_a, n_b;
} overlap_dim;

/* Sorts by descending stride and says whether the strides are nested. */
static bool overlap_nest(overlap_dim *dims, int n)
{
    for (int i = 1; i < n; i++) {
        overlap_dim moving = dims[i];
        int j = i;
        for (; j > 0 && dims[j - 1].stride < moving.stride; j--) dims[j] = dims[j - 1];
        dims[j] = moving;
    }
    int64_t walk = 0;
    for (int i = n - 1; i >= 0; i--) {
        if (dims[i].stride <= walk) return false;
        walk += dims[i].stride * (attn__max(dims[i].n_a, dims[i].n_b) - 1);
    }
    return true;
}

bool attn__tensor_self_overlap(const attn_tensor *t)
{
    overlap_dim dims[ATTN_MAX_RANK];
    int n = 0;
    if (attn_tensor_count(*t) <= 1) return false;
    for (int i = 0; i < t->rank; i++) {
        if (t->shape[i] == 1) continue;
        int64_t stride = t->stride[i] < 0 ? -t->stride[i] : t->stride[i];
        dims[n++] = (overlap_dim){stride, t->shape[i], t->shape[i]};
    }
    return !overlap_nest(dims, n);
}

/* The dimensions of two views of one array; -1 when they are not such views. A negative stride
 * is turned round by the caller beforehand. */
static int overlap_common(const attn_tensor *a, const attn_tensor *b, overlap_dim *dims)
{
    int n = 0;
    if (a->dtype != b->dtype || a->rank != b->rank) return -1;
    for (int i = 0; i < a->rank; i++) {
        if (a->shape[i] == 1 && b->shape[i] == 1) continue;
        bool differ = a->shape[i] > 1 && b->shape[i] > 1 && a->stride[i] != b->stride[i];
        int64_t stride = a->shape[i] > 1 ? a->stride[i] : b->stride[i];
        if (differ || stride <= 0) return -1;
        dims[n++] = (overlap_dim){stride, a->shape[i], b->shape[i]};
    }
    return n;
}

/* Whether distance = sum of k_d * stride_d with k_d in (-n_b, n_a): each k_d is the quotient
 * rounded down or one more, and bit d of choice says which. */
static bool overlap_reaches(const overlap_dim *dims, int n, int64_t distance, unsigned choice)
{
    for (int d = 0; d < n; d++) {
        int64_t stride = dims[d].stride, k = distance / stride;
        if (distance % stride < 0) k--;
        k += choice >> d & 1;
        if (k <= -dims[d].n_b || k >= dims[d].n_a) return false;
        distance -= k * stride;
    }
    return distance == 0;
}

/* The same elements with every stride made positive. */
static attn_tensor overlap_forward(attn_tensor t)
{
    for (int i = 0; i < t.rank; i++) {
        if (t.shape[i] <= 1 || t.stride[i] >= 0) continue;
        int64_t back = (t.shape[i] - 1) * t.stride[i] * (int64_t)attn_dtype_size(t.dtype);
        t.data = (char *)t.data + back;
        t.stride[i] = -t.stride[i];
    }
    return t;
}

static bool overlap_exact(const attn_tensor *a, const attn_tensor *b)
{
    overlap_dim dims[ATTN_MAX_RANK];
    attn_tensor x = overlap_forward(*a), y = overlap_forward(*b);
    int n = overlap_common(&x, &y, dims);
    int64_t size = (int64_t)attn_dtype_size(a->dtype);
    int64_t bytes = (int64_t)((uintptr_t)y.data - (uintptr_t)x.data);
    if (n < 0 || !overlap_nest(dims, n) || bytes % size != 0) return true;
    for (unsigned choice = 0; choice < 1U << n; choice++)
        if (overlap_reaches(dims, n, bytes / size, choice)) return true;
    return false;
}

bool attn__tensor_overlap(const attn_tensor *a, const attn_tensor *b)
{
    int64_t low_a, high_a, low_b, high_b;
    attn__tensor_span(a, &low_a, &high_a);
    attn__tensor_span(b, &low_b, &high_b);
    if (low_a == high_a || low_b == high_b) return false;
    uintptr_t at_a = (uintptr_t)a->data, at_b = (uintptr_t)b->data;
    bool apart = at_a + (uintptr_t)high_a <= at_b + (uintptr_t)low_b ||
                 at_b + (uintptr_t)high_b <= at_a + (uintptr_t)low_a;
    return !apart && overlap_exact(a, b);
}
