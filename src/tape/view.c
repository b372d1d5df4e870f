/* SPDX-License-Identifier: MIT
 * The backward of every view: the shape rule, asked about the gradient of the operand instead
 * of the operand, gives the view of that gradient into which d_out is added. */
#include "tape/graph.h"

attn_status attn__view_backward(attn__call *c)
{
    attn__call view = *c;
    view.n_out = 0;
    view.in[0] = c->d_in[0];
    ATTN_TRY(attn__ops[c->op].shape(&view, NULL));
    attn__fold(c, c->d_out[0].data, &view.out[0]);
    return ATTN_OK;
}
