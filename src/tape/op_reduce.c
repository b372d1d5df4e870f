/* SPDX-License-Identifier: MIT
 * Over any dimensions: sum, mean, max, logsumexp, norm. attr.dims are the dimensions asked for;
 * the shape rule leaves them as bits in attr.i[1]. */
#include "tape/tape.h"

enum { REDUCE_KEEP, REDUCE_BITS };

static attn_status reduce_shape(attn__call *c, attn_error *error)
{
    const char *op = attn__ops[c->op].name;
    const attn_tensor *a = &c->in[0];
    int64_t shape[ATTN_MAX_RANK];
    uint32_t bits;
    int rank = 0;
    ATTN_TRY(attn__need_real(c, 0, error));
    if (!attn__dim_bits(op, a->rank, &c->attr.dims, &bits, error)) return ATTN_E_PARAM;
    for (int i = 0; i < a->rank; i++) {
        const bool reduced = bits >> i & 1;
        if (!reduced || c->attr.i[REDUCE_KEEP]) shape[rank++] = reduced ? 1 : a->shape[i];
    }
    c->attr.i[REDUCE_BITS] = bits;
    attn__out_set(c, 0, c->real, rank, shape);
    return ATTN_OK;
}

static attn_status reduce_shape_some(attn__call *c, attn_error *error)
{
    ATTN_TRY(reduce_shape(c, error));
    if (attn_tensor_count(c->in[0]) > 0 || attn_tensor_count(c->out[0]) == 0) return ATTN_OK;
    return attn__fail_count(error, ATTN_E_SHAPE, attn__ops[c->op].name,
                            "there is no element to choose from", 1, 0);
}

#define REDUCE(name, rule)                                                                     \
    attn_status attn__shape_##name(attn__call *c, attn_error *error)                           \
    {                                                                                          \
        return rule(c, error);                                                                 \
    }                                                                                          \
    attn_var attn_tape_##name(attn_tape *t, attn_var a, attn_dims dims, bool keep)             \
    {                                                                                          \
        const attn__attr attr = {.i = {keep}, .dims = dims};                                   \
        return attn__apply1(t, ATTN__OP_##name, 1, &a, &attr);                                 \
    }
REDUCE(sum, reduce_shape)
REDUCE(mean, reduce_shape)
REDUCE(max, reduce_shape_some)
REDUCE(logsumexp, reduce_shape)
REDUCE(norm, reduce_shape)
#undef REDUCE
