/* SPDX-License-Identifier: MIT
 * What copying mechanisms share: the weights of places become those of the words that stand
 * there. */
#include "mech/mech.h"

attn_var attn__copy_scatter(attn_tape *t, attn_var words, attn_var ids, attn_var weights)
{
    const attn_tensor w = attn_tape_value(t, weights);
    if (!attn__present(&w)) return (attn_var){0};
    const attn_var at = attn_tape_expand(t, attn_tape_unsqueeze(t, ids, 1),
                                         ATTN_DIMS(w.shape[0], w.shape[1], w.shape[2]));
    return attn_tape_scatter_add(t, words, 2, at, weights);
}
