/* SPDX-License-Identifier: MIT
 * Operations that the tape needs for itself. */
#include "tape/tape.h"

attn_status attn__shape_contiguous(attn__call *c, attn_error *error)
{
    if (!attn__present(&c->in[0]))
        return attn__fail(error, ATTN_E_NULL, "contiguous", "a required operand is empty");
    attn__out_set(c, 0, c->in[0].dtype, c->in[0].rank, c->in[0].shape);
    return ATTN_OK;
}

attn_var attn__tape_contiguous(attn_tape *t, attn_var a)
{
    return attn__apply1(t, ATTN__OP_contiguous, 1, &a, NULL);
}
