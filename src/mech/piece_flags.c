/* SPDX-License-Identifier: MIT
 * Conditions as operands: both, either, rows that are hidden, and the numbers 0, 1, 2 ... that
 * they are asked about. */
#include "mech/mech.h"

attn_var attn__pair_mask(attn_tape *t, attn_var a, attn_var b)
{
    if (!attn__given(a)) return b;
    if (!attn__given(b)) return a;
    const attn_var product = attn_tape_mul(t, attn_tape_cast(t, a), attn_tape_cast(t, b));
    return attn_tape_less(t, attn_tape_scalar(t, 0), product);
}

attn_var attn__flags_either(attn_tape *t, attn_var a, attn_var b)
{
    const attn_var sum = attn_tape_add(t, attn_tape_cast(t, a), attn_tape_cast(t, b));
    return attn_tape_less(t, attn_tape_scalar(t, 0), sum);
}

attn_var attn__mask_rows(attn_tape *t, attn_var x, attn_var mask)
{
    const attn_tensor v = attn_tape_value(t, x), m = attn_tape_value(t, mask);
    if (!attn__given(mask)) return x;
    for (int i = m.rank + 1; i < v.rank; i++) mask = attn_tape_unsqueeze(t, mask, 1);
    return attn_tape_where(t, attn_tape_unsqueeze(t, mask, -1), x, attn_tape_scalar(t, 0));
}

attn_var attn__positions(attn_tape *t, int64_t n)
{
    const attn_var ones = attn_tape_expand(t, attn_tape_scalar(t, 1), ATTN_DIMS(n));
    return attn_tape_add_scalar(t, attn_tape_cumsum(t, ones, 0), -1);
}
