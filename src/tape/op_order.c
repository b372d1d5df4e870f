/* SPDX-License-Identifier: MIT
 * Which is largest: argmax, topk, sort along one dimension. A NaN counts as the largest, equal
 * numbers keep their order. The shape rules leave the dimension as a bit in attr.i[1]. */
#include "tape/tape.h"

enum { ORDER_DIM, ORDER_BIT, ORDER_KEEP, ORDER_N = ORDER_KEEP, ORDER_FALLING };

static attn_status order_dim(attn__call *c, int *dim, attn_error *error)
{
    const int rank = c->in[0].rank;
    ATTN_TRY(attn__need_real(c, 0, error));
    *dim = attn__dim(rank, c->attr.i[ORDER_DIM]);
    if (*dim < 0)
        return attn__fail_count(error, ATTN_E_PARAM, attn__ops[c->op].name,
                                "no such dimension; the rank is the limit", rank,
                                c->attr.i[ORDER_DIM]);
    c->attr.i[ORDER_BIT] = INT64_C(1) << *dim;
    return ATTN_OK;
}

/* ---- argmax ------------------------------------------------------------------------------ */

attn_status attn__shape_argmax(attn__call *c, attn_error *error)
{
    const attn_tensor *a = &c->in[0];
    int64_t shape[ATTN_MAX_RANK];
    int dim, rank = 0;
    ATTN_TRY(order_dim(c, &dim, error));
    for (int i = 0; i < a->rank; i++)
        if (i != dim || c->attr.i[ORDER_KEEP]) shape[rank++] = i == dim ? 1 : a->shape[i];
    attn__out_set(c, 0, ATTN_DTYPE_I64, rank, shape);
    if (a->shape[dim] > 0 || attn_tensor_count(c->out[0]) == 0) return ATTN_OK;
    return attn__fail_count(error, ATTN_E_SHAPE, "argmax", "there is no element to choose from",
                            1, 0);
}

attn_var attn_tape_argmax(attn_tape *t, attn_var a, int dim, bool keep)
{
    const attn__attr attr = {.i = {[ORDER_DIM] = dim, [ORDER_KEEP] = keep}};
    return attn__apply1(t, ATTN__OP_argmax, 1, &a, &attr);
}

/* ---- topk, sort: values and where they stood -------------------------------------------- */

static void order_out(attn__call *c, int dim, int64_t n)
{
    int64_t shape[ATTN_MAX_RANK];
    for (int i = 0; i < c->in[0].rank; i++) shape[i] = i == dim ? n : c->in[0].shape[i];
    attn__out_set(c, 0, c->real, c->in[0].rank, shape);
    attn__out_set(c, 1, ATTN_DTYPE_I64, c->in[0].rank, shape);
}

static attn_var order_apply(attn_tape *t, attn__op_index op, attn_var a, const attn__attr *attr,
                            attn_var *indices)
{
    attn_var out[2];
    const attn_var values = attn__apply(t, op, 1, &a, attr, 2, out, indices ? 3 : 1);
    if (indices) *indices = out[1];
    return values;
}

attn_status attn__shape_topk(attn__call *c, attn_error *error)
{
    int dim;
    ATTN_TRY(order_dim(c, &dim, error));
    const int64_t n = c->attr.i[ORDER_N], size = c->in[0].shape[dim];
    if (n < 0)
        return attn__fail_count(error, ATTN_E_PARAM, "topk", "n must not be negative", 0, n);
    if (n > size)
        return attn__fail_count(error, ATTN_E_PARAM, "topk",
                                "n must not be above the size of the dimension", size, n);
    order_out(c, dim, n);
    return ATTN_OK;
}

attn_var attn_tape_topk(attn_tape *t, attn_var a, int64_t n, int dim, attn_var *indices)
{
    const attn__attr attr = {.i = {[ORDER_DIM] = dim, [ORDER_N] = n, [ORDER_FALLING] = true}};
    return order_apply(t, ATTN__OP_topk, a, &attr, indices);
}

attn_status attn__shape_sort(attn__call *c, attn_error *error)
{
    int dim;
    ATTN_TRY(order_dim(c, &dim, error));
    c->attr.i[ORDER_N] = c->in[0].shape[dim];
    order_out(c, dim, c->in[0].shape[dim]);
    return ATTN_OK;
}

attn_var attn_tape_sort(attn_tape *t, attn_var a, int dim, bool falling, attn_var *indices)
{
    const attn__attr attr = {.i = {[ORDER_DIM] = dim, [ORDER_FALLING] = falling}};
    return order_apply(t, ATTN__OP_sort, a, &attr, indices);
}
