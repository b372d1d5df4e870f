/* SPDX-License-Identifier: MIT
 * Additive scores, w . tanh(q_i + k_j), of projected queries and keys: as a matrix where what
 * follows needs one, which costs the sums B T S A before the tanh; and as whole attention, by the
 * fused engine, which keeps neither. */
#include "mech/mech.h"

attn_var attn__additive_scores(attn_tape *t, attn_var q, attn_var k, attn_var w)
{
    const attn_var none = {0};
    const attn_var sum =
        attn_tape_add(t, attn_tape_unsqueeze(t, q, 2), attn_tape_unsqueeze(t, k, 1));
    const attn_var h = attn_tape_tanh(t, sum);
    attn_tape_drop(t, sum);
    const attn_var scores =
        attn_tape_linear(t, h, attn_tape_unsqueeze(t, w, 0), none, ATTN_ACT_NONE);
    attn_tape_drop(t, h);
    return attn_tape_squeeze(t, scores, -1);
}

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
