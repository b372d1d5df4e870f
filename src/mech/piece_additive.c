/* SPDX-License-Identifier: MIT
 * What follows additive scores, w . tanh(q_i + k_j), of projected queries and keys: the softmax
 * of a matrix of them; or whole attention by the fused engine, which keeps no matrix. */
#include "mech/mech.h"

attn_var attn__rows_softmax(attn_tape *t, attn_var scores, attn_var mask)
{
    const attn_var none = {0};
    return attn_tape_softmax(t, scores,
                             attn__given(mask) ? attn_tape_unsqueeze(t, mask, 1) : none, -1);
}

attn_var attn__additive_attend(const attn__build *b, const attn_attention_vars *vars,
                               attn_var w, attn_var mask, int weights)
{
    attn_attention_vars all = *vars;
    all.score_w = attn_tape_unsqueeze(b->t, w, 0); /* of one head */
    return attn__attend(b->t, &ATTN_SPEC(.score = ATTN_SCORE_ADDITIVE), &all, mask,
                        attn__build_output(b, weights));
}
