/* SPDX-License-Identifier: MIT
 * Along one dimension, every element looking at others of its line: running sums and products,
 * softmax and its logarithm. The shape rule leaves the dimension as a bit in attr.i[1]. */
#include "tape/tape.h"

static attn_status scan_shape(attn__call *c, attn_error *error)
{
    const attn_tensor *a = &c->in[0];
    ATTN_TRY(attn__need_real(c, 0, error));
    const int dim = attn__dim(a->rank, c->attr.i[0]);
    if (dim < 0)
        return attn__fail_count(error, ATTN_E_PARAM, attn__ops[c->op].name,
                                "no such dimension; the rank is the limit", a->rank,
                                c->attr.i[0]);
    c->attr.i[1] = INT64_C(1) << dim;
    attn__out_like(c, 0, a);
    return ATTN_OK;
}

#define SCAN(name)                                                                             \
    attn_status attn__shape_##name(attn__call *c, attn_error *error)                           \
    {                                                                                          \
        return scan_shape(c, error);                                                           \
    }                                                                                          \
    attn_var attn_tape_##name(attn_tape *t, attn_var a, int dim)                               \
    {                                                                                          \
        const attn__attr attr = {.i = {dim}};                                                  \
        return attn__apply1(t, ATTN__OP_##name, 1, &a, &attr);                                 \
    }
SCAN(cumsum)
SCAN(cumprod)
SCAN(log_softmax)
#undef SCAN

attn_status attn__shape_softmax(attn__call *c, attn_error *error)
{
    const attn_tensor *a = &c->in[0], *mask = &c->in[1];
    attn_tensor both;
    ATTN_TRY(scan_shape(c, error));
    if (!attn__present(mask)) return ATTN_OK;
    ATTN_TRY(attn__need_bool(c, 1, error));
    ATTN_TRY(attn__shape_broadcast("softmax", a, mask, &both, error));
    ATTN_TRY(attn__need_same("softmax", "the mask has more dimensions than what it masks",
                             a->rank, both.rank, error));
    for (int i = 0; i < a->rank; i++)
        ATTN_TRY(attn__need_same("softmax", "the mask is larger than what it masks",
                                 a->shape[i], both.shape[i], error));
    return ATTN_OK;
}

attn_var attn_tape_softmax(attn_tape *t, attn_var a, attn_var mask, int dim)
{
    const attn_var in[] = {a, mask};
    const attn__attr attr = {.i = {dim}};
    return attn__apply1(t, ATTN__OP_softmax, 2, in, &attr);
}
