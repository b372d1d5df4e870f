/* SPDX-License-Identifier: MIT
 * Directions: x / |x| along a dimension. A vector shorter than 1e-12 has none: it becomes 0 and
 * takes no gradient. */
#include "mech/mech.h"

#define UNIT_SHORT 1e-12

attn_var attn__unit(attn_tape *t, attn_var x, int dim)
{
    const attn_var none = attn_tape_scalar(t, 0), least = attn_tape_scalar(t, UNIT_SHORT);
    const attn_var length = attn_tape_norm(t, x, ATTN_DIMS(dim), true);
    const attn_var some = attn_tape_where(t, attn_tape_less(t, length, least), none, x);
    return attn_tape_div(t, some, attn_tape_maximum(t, length, least));
}
