/* SPDX-License-Identifier: MIT
 * Tensors as rows. Whoever works along dimensions (a maximum, a softmax, a sort) works on rows
 * that lie side by side; where the tensor's do not, they are gathered, and spread again. */
#include "tape/walk.h"

#include <string.h>

static void rows_order(int rank, uint32_t bits, int *order)
{
    int n = 0;
    for (int i = 0; i < rank; i++)
        if (!(bits >> i & 1)) order[n++] = i;
    for (int i = 0; i < rank; i++)
        if (bits >> i & 1) order[n++] = i;
}

attn_tensor attn__rows_view(const attn_tensor *t, uint32_t bits)
{
    int order[ATTN_MAX_RANK];
    rows_order(t->rank, bits, order);
    return attn_tensor_permute(*t, order);
}

attn__tape_rows attn__rows_count(const attn_tensor *t, uint32_t bits)
{
    attn__tape_rows r = {.n_rows = 1, .n = 1, .to = *t, .back = *t};
    for (int i = 0; i < t->rank; i++) *(bits >> i & 1 ? &r.n : &r.n_rows) *= t->shape[i];
    return r;
}

static bool rows_in_order(const attn_tensor *view)
{
    int64_t next = 1;
    for (int i = view->rank - 1; i >= 0; i--) {
        if (view->shape[i] != 1 && view->stride[i] != next) return false;
        next *= view->shape[i];
    }
    return true;
}

attn_status attn__rows_open(attn__call *c, const attn_tensor *t, uint32_t bits,
                            attn__tape_rows *r)
{
    const attn_tensor view = attn__rows_view(t, bits);
    const size_t width = attn_dtype_size(t->dtype);
    const int64_t count = attn_tensor_count(*t);
    int order[ATTN_MAX_RANK];
    int64_t stride = 1;
    *r = attn__rows_count(t, bits);
    r->data = t->data;
    if (count == 0 || rows_in_order(&view)) return ATTN_OK;
    r->data = attn__call_temp(c, count, width);
    if (!r->data) return ATTN_E_MEMORY;
    memset(r->data, 0, (size_t)count * width);
    rows_order(t->rank, bits, order);
    r->back.data = r->data;
    for (int i = t->rank - 1; i >= 0; i--) {
        r->back.stride[order[i]] = stride;
        stride *= view.shape[i];
    }
    return ATTN_OK;
}

void attn__rows_store(const attn__tape_rows *r)
{
    if (r->data != r->to.data) attn_tensor_copy(r->to, r->back, NULL);
}
