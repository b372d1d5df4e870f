/* SPDX-License-Identifier: MIT
 * What mechanisms between two sequences share: padding that cannot leak, scores against one
 * vector, and the trilinear score of BiDAF written as one product,
 *
 *     w.[x; y; x y] = x.w_1 + (w_2 + w_3 x).y
 *
 * so that a fused call or the largest score of each row (piece_scores.c) needs no x by y
 * matrix. */
#include "mech/mech.h"

#include "attn/attention.h"

attn__sequence attn__sequence_of(const attn__build *b, int rows, int mask)
{
    return (attn__sequence){attn__mask_rows(b->t, b->in[rows], b->in[mask]), b->in[mask]};
}

attn_var attn__attend_plain(attn_tape *t, attn_var q, attn_var k, attn_var v, attn_var mask)
{
    return attn__attend(t, &ATTN_SPEC(.scale = 1),
                        &(attn_attention_vars){.q = q, .k = k, .v = v}, mask, (attn_tensor){0});
}

/* ---- scores against one vector ----------------------------------------------------------- */

attn_var attn__score_general(attn_tape *t, attn_var x, attn_var w, attn_var g)
{
    const attn_var none = {0}, key = attn_tape_linear(t, g, w, none, ATTN_ACT_NONE);
    return attn_tape_squeeze(t, attn_tape_matmul(t, x, attn_tape_unsqueeze(t, key, 2)), 2);
}

attn_var attn__score_activated(attn_tape *t, attn_var x, attn_var w, attn_var b, attn_var g)
{
    const attn_var s = attn__score_general(t, x, w, g);
    return attn_tape_tanh(t, attn__given(b) ? attn_tape_add(t, s, b) : s);
}

attn_var attn__score_additive(attn_tape *t, attn_var x, attn_var w, attn_var b, attn_var g,
                              attn_var u)
{
    if (!attn__given(g))
        return attn_tape_matmul(t, attn_tape_linear(t, x, w, b, ATTN_ACT_TANH), u);
    const attn_var h = attn_tape_linear(t, x, w, b, ATTN_ACT_NONE);
    return attn_tape_matmul(
        t, attn_tape_tanh(t, attn_tape_add(t, h, attn_tape_unsqueeze(t, g, 1))), u);
}

/* ---- the trilinear score ----------------------------------------------------------------- */

attn__trilinear attn__trilinear_of(attn_tape *t, attn_var x, attn_var w, bool swap)
{
    attn_var part[3];
    if (!attn_tape_split(t, w, 0, 3, part)) return (attn__trilinear){{0}, {0}};
    const attn_var own = part[swap ? 1 : 0], other = part[swap ? 0 : 1];
    return (attn__trilinear){.row = attn_tape_add(t, attn_tape_mul(t, x, part[2]), other),
                             .own = attn_tape_matmul(t, x, own)};
}

/* ---- both directions of one matrix of scores -------------------------------------------- */

attn_var attn__flow_back(attn_tape *t, attn__sequence x, attn__sequence y, attn__trilinear s,
                         attn_var *weights)
{
    const attn_var top = attn_tape_add(t, attn__score_max(t, s.row, y.rows, y.mask), s.own);
    *weights = attn__pool_weights(t, top, x.mask);
    return attn_tape_unsqueeze(t, attn__pool(t, *weights, x.rows), 1);
}

attn_var attn__coattend(attn_tape *t, attn_var rows, attn__sequence x, attn__sequence y,
                        attn_var *summary)
{
    *summary = attn__attend_plain(t, y.rows, x.rows, x.rows, x.mask);
    const attn_var values = attn_tape_concat(t, 2, (const attn_var[]){y.rows, *summary}, 2);
    return attn__attend_plain(t, rows, y.rows, values, y.mask);
}
