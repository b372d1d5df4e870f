/* SPDX-License-Identifier: MIT
 * One row of weights over a sequence: what pooling, gates over branches and every "attend to
 * this sentence" stand on. A sequence in which nothing is allowed pools to 0. */
#include "mech/mech.h"

attn_var attn__pool_weights(attn_tape *t, attn_var scores, attn_var mask)
{
    return attn_tape_softmax(t, scores, mask, -1);
}

attn_var attn__pool(attn_tape *t, attn_var weights, attn_var values)
{
    attn_var row = attn_tape_unsqueeze(t, weights, 1); /* B 1 S */
    return attn_tape_squeeze(t, attn_tape_matmul(t, row, values), 1);
}

attn_var attn__pool_even(attn_tape *t, attn_var x, attn_var mask)
{
    const attn_tensor v = attn_tape_value(t, x);
    if (!attn__present(&v)) return (attn_var){0};
    attn_var zeros =
        attn_tape_expand(t, attn_tape_scalar(t, 0), ATTN_DIMS(v.shape[0], v.shape[1]));
    return attn__pool_weights(t, zeros, mask);
}

attn_var attn__pool_mean(attn_tape *t, attn_var x, attn_var mask)
{
    return attn__pool(t, attn__pool_even(t, x, mask), x);
}

attn_var attn__row_of(attn_tape *t, attn_var x, int64_t i)
{
    if (!attn__given(x)) return x;
    return attn_tape_squeeze(t, attn_tape_slice(t, x, 0, i, i + 1), 0);
}
