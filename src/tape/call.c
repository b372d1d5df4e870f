/* SPDX-License-Identifier: MIT
 * What shape rules ask: dimensions, broadcasting, and whether an operand will do. Every refusal
 * names the operation. */
#include "tape/tape.h"

/* ---- dimensions -------------------------------------------------------------------------- */

int attn__dim(int rank, int64_t dim)
{
    const int64_t at = dim < 0 ? dim + rank : dim;
    return at >= 0 && at < rank ? (int)at : -1;
}

bool attn__dim_bits(const char *op, int rank, const attn_dims *dims, uint32_t *bits,
                    attn_error *error)
{
    *bits = 0;
    if (dims->n < 0) {
        *bits = (UINT32_C(1) << rank) - 1;
        return true;
    }
    if (dims->n > ATTN_MAX_RANK) {
        attn__fail_count(error, ATTN_E_PARAM, op, "too many dimensions listed", ATTN_MAX_RANK,
                         dims->n);
        return false;
    }
    for (int i = 0; i < dims->n; i++) {
        const int dim = attn__dim(rank, dims->at[i]);
        const bool twice = dim >= 0 && (*bits >> dim & 1);
        if (dim < 0)
            attn__fail_count(error, ATTN_E_PARAM, op,
                             "no such dimension; the rank is the limit", rank, dims->at[i]);
        if (twice) attn__fail(error, ATTN_E_PARAM, op, "a dimension is listed twice");
        if (dim < 0 || twice) return false;
        *bits |= UINT32_C(1) << dim;
    }
    return true;
}

/* The size of t along dimension d of a shape of this rank, aligned at the right. */
static int64_t call_size(const attn_tensor *t, int rank, int d)
{
    const int at = d - (rank - t->rank);
    return at < 0 ? 1 : t->shape[at];
}

attn_status attn__shape_broadcast(const char *op, const attn_tensor *a, const attn_tensor *b,
                                  attn_tensor *out, attn_error *error)
{
    const int rank = a->rank > b->rank ? a->rank : b->rank;
    out->rank = rank;
    for (int d = 0; d < rank; d++) {
        const int64_t n = call_size(a, rank, d), m = call_size(b, rank, d);
        if (n != m && n != 1 && m != 1)
            return attn__fail_count(error, ATTN_E_SHAPE, op,
                                    "two operands do not broadcast: sizes differ", n, m);
        out->shape[d] = n == 1 ? m : n;
    }
    return ATTN_OK;
}

attn__axis attn__axis_of(const attn_tensor *t, int dim)
{
    attn__axis axis = {1, t->shape[dim], 1};
    for (int d = 0; d < dim; d++) axis.before *= t->shape[d];
    for (int d = dim + 1; d < t->rank; d++) axis.after *= t->shape[d];
    return axis;
}

/* ---- operands that will do --------------------------------------------------------------- */

static attn_status call_need(const attn__call *c, int i, bool fits, const char *what,
                             attn_error *error)
{
    const char *op = attn__ops[c->op].name;
    if (i >= c->n_in || !attn__present(&c->in[i]))
        return attn__fail(error, ATTN_E_NULL, op, "a required operand is empty");
    if (fits) return ATTN_OK;
    return attn__fail_name(error, ATTN_E_DTYPE, op, what, attn_dtype_name(c->in[i].dtype));
}

attn_status attn__need_real(const attn__call *c, int i, attn_error *error)
{
    return call_need(c, i, attn__dtype_is_float(c->in[i].dtype), "an operand must be of floats",
                     error);
}

attn_status attn__need_int(const attn__call *c, int i, attn_error *error)
{
    return call_need(c, i, attn__dtype_is_int(c->in[i].dtype), "an operand must be of integers",
                     error);
}

attn_status attn__need_bool(const attn__call *c, int i, attn_error *error)
{
    const attn_dtype dtype = c->in[i].dtype;
    return call_need(c, i, dtype == ATTN_DTYPE_BOOL || dtype == ATTN_DTYPE_U8,
                     "an operand must be bool or u8", error);
}

attn_status attn__need_rank(const attn__call *c, int i, int least, int most, attn_error *error)
{
    const int rank = c->in[i].rank;
    ATTN_TRY(call_need(c, i, true, "", error));
    if (rank >= least && rank <= most) return ATTN_OK;
    return attn__fail_count(error, ATTN_E_RANK, attn__ops[c->op].name,
                            "an operand has the wrong number of dimensions",
                            rank < least ? least : most, rank);
}

attn_status attn__need_same(const char *op, const char *what, int64_t want, int64_t got,
                            attn_error *error)
{
    if (want == got) return ATTN_OK;
    return attn__fail_count(error, ATTN_E_SHAPE, op, what, want, got);
}

/* ---- results ----------------------------------------------------------------------------- */

void attn__out_set(attn__call *c, int i, attn_dtype dtype, int rank, const int64_t *shape)
{
    c->out[i] = attn_tensor_make(NULL, dtype, rank, shape);
    if (c->n_out <= i) c->n_out = i + 1;
}

void attn__out_like(attn__call *c, int i, const attn_tensor *like)
{
    attn__out_set(c, i, c->real, like->rank, like->shape);
}
