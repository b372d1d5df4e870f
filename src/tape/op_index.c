/* SPDX-License-Identifier: MIT
 * Elements by their numbers. Every index is compared with its bound before anything runs;
 * negative ones are refused.
 *
 *   embedding     y[..][d] = table[ids[..]][d], 0 where ids is the padding row
 *   index_select  y[i][j][k] = a[i][ids[j]][k]
 *   gather        y[i][j][k] = a[i][ids[i][j][k]][k]
 *   scatter_add   y = a; y[i][ids[i][j][k]][k] += src[i][j][k]
 *   one_hot       y[..][n] = 1 where n is ids[..], else 0; reals
 *
 * i, j, k stand for the dimensions before dim, dim itself, and those after it. */
#include "tape/tape.h"

/* Operand i: integers in 0 .. bound - 1. */
static attn_status index_check(const attn__call *c, const char *op, int i, int64_t bound,
                               attn_error *error)
{
    const attn_tensor *ids = &c->in[i];
    int64_t at[ATTN_MAX_RANK] = {0}, offset = 0;
    ATTN_TRY(attn__need_int(c, i, error));
    for (int64_t left = attn_tensor_count(*ids); left > 0; left--) {
        const int64_t id = attn__get_int(ids->dtype, ids->data, offset);
        if (id < 0 || id >= bound)
            return attn__fail_count(error, ATTN_E_PARAM, op,
                                    id < 0 ? "an index is negative"
                                           : "an index must be below the size it counts in",
                                    id < 0 ? 0 : bound, id);
        int d = ids->rank - 1;
        for (; d >= 0 && ++at[d] == ids->shape[d]; d--) {
            offset -= (ids->shape[d] - 1) * ids->stride[d];
            at[d] = 0;
        }
        if (d >= 0) offset += ids->stride[d];
    }
    return ATTN_OK;
}

static attn_status index_dim(const attn__call *c, const char *op, int *dim, attn_error *error)
{
    ATTN_TRY(attn__need_rank(c, 0, 1, ATTN_MAX_RANK, error));
    *dim = attn__dim(c->in[0].rank, c->attr.i[0]);
    if (*dim >= 0) return ATTN_OK;
    return attn__fail_count(error, ATTN_E_PARAM, op, "the tensor has no such dimension",
                            c->in[0].rank, c->attr.i[0]);
}

/* ---- whole rows -------------------------------------------------------------------------- */

attn_status attn__shape_embedding(attn__call *c, attn_error *error)
{
    const attn_tensor *table = &c->in[0], *ids = &c->in[1];
    const int64_t padding = c->attr.i[0];
    int64_t shape[ATTN_MAX_RANK];
    c->n_out = 1;
    ATTN_TRY(attn__need_real(c, 0, error));
    ATTN_TRY(attn__need_rank(c, 0, 2, 2, error));
    ATTN_TRY(attn__need_rank(c, 1, 0, ATTN_MAX_RANK - 1, error));
    ATTN_TRY(index_check(c, "embedding", 1, table->shape[0], error));
    if (padding < -1 || padding >= table->shape[0])
        return attn__fail_count(error, ATTN_E_PARAM, "embedding",
                                "the padding row must be in the table, or -1", table->shape[0],
                                padding);
    for (int i = 0; i < ids->rank; i++) shape[i] = ids->shape[i];
    shape[ids->rank] = table->shape[1];
    attn__out_set(c, 0, c->real, ids->rank + 1, shape);
    return ATTN_OK;
}

attn_var attn_tape_embedding(attn_tape *t, attn_var table, attn_var ids, int64_t padding)
{
    const attn__attr attr = {.i = {padding}};
    return attn__apply1(t, ATTN__OP_embedding, 2, (const attn_var[]){table, ids}, &attr);
}

attn_status attn__shape_index_select(attn__call *c, attn_error *error)
{
    const attn_tensor *a = &c->in[0];
    int64_t shape[ATTN_MAX_RANK];
    int dim;
    c->n_out = 1;
    ATTN_TRY(attn__need_real(c, 0, error));
    ATTN_TRY(index_dim(c, "index_select", &dim, error));
    ATTN_TRY(attn__need_rank(c, 1, 1, 1, error));
    ATTN_TRY(index_check(c, "index_select", 1, a->shape[dim], error));
    for (int i = 0; i < a->rank; i++) shape[i] = i == dim ? c->in[1].shape[0] : a->shape[i];
    attn__out_set(c, 0, c->real, a->rank, shape);
    return ATTN_OK;
}

attn_var attn_tape_index_select(attn_tape *t, attn_var a, int dim, attn_var ids)
{
    const attn__attr attr = {.i = {dim}};
    return attn__apply1(t, ATTN__OP_index_select, 2, (const attn_var[]){a, ids}, &attr);
}

/* ---- single elements --------------------------------------------------------------------- */

/* Operand 1 counts in dimension dim of operand 0; its other sizes are at most those. */
static attn_status index_fits(const attn__call *c, const char *op, attn_error *error)
{
    const attn_tensor *a = &c->in[0], *ids = &c->in[1];
    int dim;
    ATTN_TRY(attn__need_real(c, 0, error));
    ATTN_TRY(index_dim(c, op, &dim, error));
    ATTN_TRY(attn__need_rank(c, 1, a->rank, a->rank, error));
    for (int i = 0; i < a->rank; i++)
        if (i != dim && ids->shape[i] > a->shape[i])
            return attn__fail_count(error, ATTN_E_SHAPE, op,
                                    "a size of the indices is above that of the tensor",
                                    a->shape[i], ids->shape[i]);
    return index_check(c, op, 1, a->shape[dim], error);
}

attn_status attn__shape_gather(attn__call *c, attn_error *error)
{
    c->n_out = 1;
    ATTN_TRY(index_fits(c, "gather", error));
    attn__out_like(c, 0, &c->in[1]);
    return ATTN_OK;
}

attn_var attn_tape_gather(attn_tape *t, attn_var a, int dim, attn_var ids)
{
    const attn__attr attr = {.i = {dim}};
    return attn__apply1(t, ATTN__OP_gather, 2, (const attn_var[]){a, ids}, &attr);
}

attn_status attn__shape_scatter_add(attn__call *c, attn_error *error)
{
    const attn_tensor *ids = &c->in[1], *src = &c->in[2];
    c->n_out = 1;
    ATTN_TRY(index_fits(c, "scatter_add", error));
    ATTN_TRY(attn__need_real(c, 2, error));
    ATTN_TRY(attn__need_rank(c, 2, ids->rank, ids->rank, error));
    for (int i = 0; i < ids->rank; i++)
        ATTN_TRY(attn__need_same("scatter_add", "src must have the sizes of the indices",
                                 ids->shape[i], src->shape[i], error));
    attn__out_like(c, 0, &c->in[0]);
    return ATTN_OK;
}

attn_var attn_tape_scatter_add(attn_tape *t, attn_var a, int dim, attn_var ids, attn_var src)
{
    const attn__attr attr = {.i = {dim}};
    return attn__apply1(t, ATTN__OP_scatter_add, 3, (const attn_var[]){a, ids, src}, &attr);
}

attn_status attn__shape_one_hot(attn__call *c, attn_error *error)
{
    const attn_tensor *ids = &c->in[0];
    const int64_t classes = c->attr.i[0];
    int64_t shape[ATTN_MAX_RANK];
    c->n_out = 1;
    ATTN_TRY(attn__need_rank(c, 0, 0, ATTN_MAX_RANK - 1, error));
    if (classes < 0)
        return attn__fail_count(error, ATTN_E_DIM, "one_hot",
                                "the number of classes must not be negative", 0, classes);
    ATTN_TRY(index_check(c, "one_hot", 0, classes, error));
    for (int i = 0; i < ids->rank; i++) shape[i] = ids->shape[i];
    shape[ids->rank] = classes;
    attn__out_set(c, 0, c->real, ids->rank + 1, shape);
    return ATTN_OK;
}

attn_var attn_tape_one_hot(attn_tape *t, attn_var ids, int64_t classes)
{
    const attn__attr attr = {.i = {classes}};
    return attn__apply1(t, ATTN__OP_one_hot, 1, &ids, &attr);
}
