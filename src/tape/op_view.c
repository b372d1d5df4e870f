/* SPDX-License-Identifier: MIT
 * Views: the memory of operand 0 with other sizes and strides. Nothing runs forward; backward
 * the tape makes the same view of the gradient and adds into it, so there are no bodies.
 *
 *   reshape  the elements in row-major order under other sizes; also unsqueeze and squeeze
 *   permute  dimensions in another order; also transpose
 *   expand   sizes of 1 and new leading dimensions repeat (stride 0)
 *   slice    begin <= index < end of one dimension; also split
 *   flip     one dimension from its end
 *
 * Every shape rule accepts any dense operand, as the gradient is one. A reshape that strides
 * cannot say (a transposed matrix as one row) goes through a copy first. */
#include "tape/tape.h"

/* A view of operand 0 that a rule goes on to change. */
static attn_status view_begin(attn__call *c, attn_error *error)
{
    c->n_out = 1;
    c->out[0] = c->in[0];
    return attn__need_rank(c, 0, 0, ATTN_MAX_RANK, error);
}

static attn_status view_dim(const attn__call *c, const char *op, int *dim, attn_error *error)
{
    *dim = attn__dim(c->in[0].rank, c->attr.i[0]);
    if (*dim >= 0) return ATTN_OK;
    return attn__fail_count(error, ATTN_E_PARAM, op, "the tensor has no such dimension",
                            c->in[0].rank, c->attr.i[0]);
}

static attn_var view_apply(attn_tape *t, attn__op_index op, attn_var a, int64_t dim,
                           int64_t begin, int64_t end)
{
    attn__attr attr = {.i = {dim, begin, end}};
    return attn__apply1(t, op, 1, &a, &attr);
}

/* ---- reshape ----------------------------------------------------------------------------- */

/* out's sizes are those of dims, one -1 among them replaced by what is left. */
static attn_status view_sizes(const attn_tensor *a, const attn_dims *dims, attn_tensor *out,
                              attn_error *error)
{
    int left = -1;
    if (dims->n < 0 || dims->n > ATTN_MAX_RANK)
        return attn__fail_count(error, ATTN_E_RANK, "reshape", "the rank must be 0 to 8",
                                ATTN_MAX_RANK, dims->n);
    for (int i = 0; i < dims->n; i++) {
        if (dims->at[i] < -1 || (dims->at[i] == -1 && left >= 0))
            return attn__fail_count(error, ATTN_E_DIM, "reshape",
                                    "one size may be -1, the others must not be negative", 0,
                                    dims->at[i]);
        if (dims->at[i] == -1) left = i;
        out->shape[i] = dims->at[i] == -1 ? 1 : dims->at[i];
    }
    out->rank = dims->n;
    const int64_t count = attn_tensor_count(*a), known = attn_tensor_count(*out);
    if (left >= 0 && known > 0 && count % known == 0)
        out->shape[left] = count / known;
    else if (left >= 0 || known != count)
        return attn__fail_count(error, ATTN_E_SHAPE, "reshape",
                                "the number of elements must stay", count, known);
    return ATTN_OK;
}

typedef struct view_block {
    int64_t n, stride;
} view_block;

/* The dimensions of a, outermost first, neighbours that lie seamlessly behind each other
 * joined. */
static int view_blocks(const attn_tensor *a, view_block *blocks)
{
    int n = 0;
    for (int i = 0; i < a->rank; i++) {
        const view_block b = {a->shape[i], a->stride[i]};
        int64_t whole;
        if (b.n == 1) continue;
        if (n > 0 && attn__mul(b.n, b.stride, &whole) && whole == blocks[n - 1].stride)
            blocks[n - 1] = (view_block){blocks[n - 1].n * b.n, b.stride};
        else
            blocks[n++] = b;
    }
    return n;
}

/* Strides that show a with the sizes of out; false when there are none. The innermost sizes of
 * out eat up the innermost block of a, then the next; a size that reaches across two blocks is
 * what strides cannot say. */
static bool view_strides(const attn_tensor *a, attn_tensor *out)
{
    view_block blocks[ATTN_MAX_RANK], b = {1, 1};
    int n = view_blocks(a, blocks);
    if (attn_tensor_count(*a) == 0) {
        *out = attn_tensor_make(a->data, a->dtype, out->rank, out->shape);
        return true;
    }
    for (int i = out->rank - 1; i >= 0; i--) {
        const int64_t size = out->shape[i];
        if (b.n == 1 && size != 1) b = blocks[--n];
        if (b.n % size != 0) return false;
        out->stride[i] = b.stride;
        b.n /= size;
        if (b.n > 1) b.stride *= size;
    }
    return true;
}

attn_status attn__shape_reshape(attn__call *c, attn_error *error)
{
    attn_tensor *out = &c->out[0];
    ATTN_TRY(view_begin(c, error));
    ATTN_TRY(view_sizes(&c->in[0], &c->attr.dims, out, error));
    if (view_strides(&c->in[0], out)) return ATTN_OK;
    return attn__fail(error, ATTN_E_UNSUPPORTED, "reshape", "no view has these sizes");
}

attn_var attn_tape_reshape(attn_tape *t, attn_var a, attn_dims shape)
{
    const attn__attr attr = {.dims = shape};
    if (!attn__var_live(t, a)) return attn__apply1(t, ATTN__OP_reshape, 1, &a, &attr);
    const attn_tensor x = attn__var_value(t, a);
    attn_tensor y = x;
    if (view_sizes(&x, &shape, &y, NULL) != ATTN_OK || view_strides(&x, &y))
        return attn__apply1(t, ATTN__OP_reshape, 1, &a, &attr);
    const attn_var dense = attn__tape_contiguous(t, a);
    const attn_var result = attn__apply1(t, ATTN__OP_reshape, 1, &dense, &attr);
    attn_tape_drop(t, dense);
    return result;
}

attn_var attn_tape_unsqueeze(attn_tape *t, attn_var a, int dim)
{
    const attn_tensor x = attn__var_value(t, a);
    attn_dims shape = {.n = x.rank + 1};
    if (!attn__var_live(t, a)) return attn_tape_reshape(t, a, shape);
    if (x.rank == ATTN_MAX_RANK)
        return attn__var_fail(t, ATTN_E_RANK, "unsqueeze", "the rank must be below 8",
                              ATTN_MAX_RANK - 1, x.rank);
    const int at = attn__dim(shape.n, dim);
    if (at < 0)
        return attn__var_fail(t, ATTN_E_PARAM, "unsqueeze", "there is no such place", x.rank,
                              dim);
    for (int i = 0; i < shape.n; i++) shape.at[i] = i == at ? 1 : x.shape[i - (i > at)];
    return attn_tape_reshape(t, a, shape);
}

attn_var attn_tape_squeeze(attn_tape *t, attn_var a, int dim)
{
    const attn_tensor x = attn__var_value(t, a);
    attn_dims shape = {.n = x.rank - 1};
    if (!attn__var_live(t, a)) return attn_tape_reshape(t, a, shape);
    const int at = attn__dim(x.rank, dim);
    if (at < 0)
        return attn__var_fail(t, ATTN_E_PARAM, "squeeze", "the tensor has no such dimension",
                              x.rank, dim);
    if (x.shape[at] != 1)
        return attn__var_fail(t, ATTN_E_SHAPE, "squeeze", "the size must be 1", 1, x.shape[at]);
    for (int i = 0; i < shape.n; i++) shape.at[i] = x.shape[i + (i >= at)];
    return attn_tape_reshape(t, a, shape);
}

/* ---- permute ----------------------------------------------------------------------------- */

attn_status attn__shape_permute(attn__call *c, attn_error *error)
{
    const attn_tensor *a = &c->in[0];
    attn_tensor *out = &c->out[0];
    uint32_t bits;
    ATTN_TRY(view_begin(c, error));
    ATTN_TRY(attn__need_same("permute", "every dimension must be named once", a->rank,
                             c->attr.dims.n, error));
    if (!attn__dim_bits("permute", a->rank, &c->attr.dims, &bits, error)) return ATTN_E_PARAM;
    for (int i = 0; i < a->rank; i++) {
        const int from = attn__dim(a->rank, c->attr.dims.at[i]);
        out->shape[i] = a->shape[from];
        out->stride[i] = a->stride[from];
    }
    return ATTN_OK;
}

attn_var attn_tape_permute(attn_tape *t, attn_var a, attn_dims order)
{
    const attn__attr attr = {.dims = order};
    return attn__apply1(t, ATTN__OP_permute, 1, &a, &attr);
}

attn_var attn_tape_transpose(attn_tape *t, attn_var a, int dim_a, int dim_b)
{
    const int rank = attn__var_value(t, a).rank;
    const int from = attn__dim(rank, dim_a), to = attn__dim(rank, dim_b);
    attn_dims order = {.n = rank};
    if (attn__var_live(t, a) && (from < 0 || to < 0))
        return attn__var_fail(t, ATTN_E_PARAM, "transpose", "the tensor has no such dimension",
                              rank, from < 0 ? dim_a : dim_b);
    for (int i = 0; i < rank; i++) order.at[i] = i == from ? to : i == to ? from : i;
    return attn_tape_permute(t, a, order);
}

/* ---- expand ------------------------------------------------------------------------------ */

static attn_status view_expand(const attn_tensor *a, int64_t want, int i, attn_tensor *out,
                               int at, attn_error *error)
{
    const int64_t have = i < 0 ? 1 : a->shape[i];
    const bool same = i >= 0 && (want == -1 || want == have);
    if (!same && (want < 0 || have != 1))
        return attn__fail_count(error, want < -1 ? ATTN_E_DIM : ATTN_E_SHAPE, "expand",
                                i < 0 ? "a new dimension needs its size"
                                      : "a size other than 1 must stay",
                                have, want);
    out->shape[at] = same ? have : want;
    out->stride[at] = same ? a->stride[i] : 0;
    return ATTN_OK;
}

attn_status attn__shape_expand(attn__call *c, attn_error *error)
{
    const attn_dims *shape = &c->attr.dims;
    attn_tensor *out = &c->out[0];
    const int lead = shape->n - c->in[0].rank;
    ATTN_TRY(view_begin(c, error));
    if (lead < 0 || shape->n > ATTN_MAX_RANK)
        return attn__fail_count(error, ATTN_E_RANK, "expand",
                                "the rank must be 0 to 8, and must not fall", c->in[0].rank,
                                shape->n);
    for (int i = 0; i < shape->n; i++)
        ATTN_TRY(view_expand(&c->in[0], shape->at[i], i - lead, out, i, error));
    out->rank = shape->n;
    return attn__tensor_check(out, "expand", error);
}

attn_var attn_tape_expand(attn_tape *t, attn_var a, attn_dims shape)
{
    const attn__attr attr = {.dims = shape};
    return attn__apply1(t, ATTN__OP_expand, 1, &a, &attr);
}

/* ---- slice and flip ---------------------------------------------------------------------- */

attn_status attn__shape_slice(attn__call *c, attn_error *error)
{
    int dim;
    ATTN_TRY(view_begin(c, error));
    ATTN_TRY(view_dim(c, "slice", &dim, error));
    const int64_t n = c->in[0].shape[dim], begin = c->attr.i[1], end = c->attr.i[2];
    const int64_t from = begin < 0 ? begin + n : begin;
    const int64_t to = attn__min(end < 0 ? end + n : end, n);
    if (from < 0 || from > n)
        return attn__fail_count(error, ATTN_E_PARAM, "slice",
                                "the begin lies outside the dimension", n, begin);
    if (to < from)
        return attn__fail_count(error, ATTN_E_PARAM, "slice",
                                "the end must not come before the begin", from, to);
    c->out[0] = attn_tensor_slice(c->in[0], dim, from, to);
    return ATTN_OK;
}

attn_var attn_tape_slice(attn_tape *t, attn_var a, int dim, int64_t begin, int64_t end)
{
    return view_apply(t, ATTN__OP_slice, a, dim, begin, end);
}

bool attn_tape_split(attn_tape *t, attn_var a, int dim, int n, attn_var *parts)
{
    const attn_tensor x = attn__var_value(t, a);
    const int at = attn__dim(x.rank, dim);
    const int64_t size = at < 0 ? 0 : x.shape[at];
    for (int i = 0; parts && i < n; i++) parts[i] = (attn_var){0};
    if (n < 1)
        return attn__var_fail(t, ATTN_E_PARAM, "split", "at least one part is needed", 1, n),
               false;
    if (!parts)
        return attn__var_fail(t, ATTN_E_NULL, "split", "the list of parts is NULL", n, 0),
               false;
    if (at < 0 && attn__var_live(t, a))
        return attn__var_fail(t, ATTN_E_PARAM, "split", "the tensor has no such dimension",
                              x.rank, dim),
               false;
    if (at >= 0 && size % n != 0)
        return attn__var_fail(t, ATTN_E_SHAPE, "split", "the parts must be equal", size, n),
               false;
    for (int i = 0; i < n; i++)
        parts[i] = attn_tape_slice(t, a, dim, i * (size / n), (i + 1) * (size / n));
    return attn__var_live(t, parts[n - 1]);
}

attn_status attn__shape_flip(attn__call *c, attn_error *error)
{
    attn_tensor *out = &c->out[0];
    int dim;
    ATTN_TRY(view_begin(c, error));
    ATTN_TRY(view_dim(c, "flip", &dim, error));
    const int64_t n = out->shape[dim], step = out->stride[dim];
    if (n < 2 || !out->data || attn_tensor_count(*out) == 0) return ATTN_OK;
    out->data = (char *)out->data + (n - 1) * step * (int64_t)attn_dtype_size(out->dtype);
    out->stride[dim] = -step;
    return ATTN_OK;
}

attn_var attn_tape_flip(attn_tape *t, attn_var a, int dim)
{
    return view_apply(t, ATTN__OP_flip, a, dim, 0, 0);
}
