/* SPDX-License-Identifier: MIT
 * Several softmaxes over different keys made into the one over all of them: each result weighs
 * by the sum of exponentials that it stands for,
 *
 *     w = softmax over parts of lse;  out = sum over parts of w out
 *
 * A part that saw nothing (lse -inf) weighs 0; where none did, the result is 0. */
#include "mech/mech.h"

#include <math.h>

attn_var attn__merge_along(attn_tape *t, attn_var outs, attn_var lses, int dim)
{
    const attn_var some = attn_tape_less(t, attn_tape_scalar(t, -(double)INFINITY), lses);
    const attn_var w = attn_tape_softmax(t, lses, some, dim);
    return attn_tape_sum(t, attn_tape_mul(t, attn_tape_unsqueeze(t, w, -1), outs),
                         ATTN_DIMS(dim), false);
}

attn_var attn__merge(attn_tape *t, int n, const attn_var *outs, const attn_var *lses)
{
    return attn__merge_along(t, attn_tape_stack(t, n, outs, 0), attn_tape_stack(t, n, lses, 0),
                             0);
}
