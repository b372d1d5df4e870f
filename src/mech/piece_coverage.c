/* SPDX-License-Identifier: MIT
 * Rows of additive attention that know how much of every key the rows before have used. */
#include "mech/mech.h"

/* query B 1 A, covered B S -> weights B S. */
static attn_var coverage_row(attn_tape *t, const attn__coverage *c, attn_var query,
                             attn_var covered)
{
    const attn_var used = attn_tape_mul(t, attn_tape_unsqueeze(t, covered, 2), c->w_c);
    const attn_var keys = attn_tape_add(t, c->keys, used);
    const attn_var s = attn_tape_additive_scores(t, query, keys, c->w);
    attn_tape_drop(t, used);
    attn_tape_drop(t, keys);
    return attn_tape_softmax(t, attn_tape_squeeze(t, s, 1), c->mask, -1);
}

attn_var attn__coverage_rows(attn_tape *t, const attn__coverage *c, attn_var q,
                             attn_var *covered, attn_var *loss)
{
    const attn_tensor k = attn_tape_value(t, c->keys), rows = attn_tape_value(t, q);
    attn__series weights = {.t = t, .dim = 1}, losses = {.t = t, .dim = 1};
    if (!attn__present(&k) || !attn__present(&rows)) return (attn_var){0};
    const int64_t B = k.shape[0], S = k.shape[1];
    if (!attn__given(*covered))
        *covered = attn_tape_expand(t, attn_tape_scalar(t, 0), ATTN_DIMS(B, S));
    for (int64_t i = 0; i < rows.shape[1] && attn__given(*covered); i++) {
        const attn_var a = coverage_row(t, c, attn_tape_slice(t, q, 1, i, i + 1), *covered);
        if (loss)
            attn__series_add(&losses, attn_tape_sum(t, attn_tape_minimum(t, a, *covered),
                                                    ATTN_DIMS(1), true));
        attn__series_add(&weights, attn_tape_unsqueeze(t, a, 1));
        *covered = attn_tape_add(t, *covered, a);
    }
    if (loss) *loss = attn__series_end(&losses, ATTN_DIMS(B, 0));
    return attn__series_end(&weights, ATTN_DIMS(B, 0, S));
}
