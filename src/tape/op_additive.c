/* SPDX-License-Identifier: MIT
 * Additive scores: q ... T A, k ... S A with the same leading dims, w A -> ... T S.
 * op/additive.h has the numbers. */
#include "tape/tape.h"

attn_var attn_tape_additive_scores(attn_tape *t, attn_var q, attn_var k, attn_var w)
{
    const attn_var in[] = {q, k, w};
    return attn__apply1(t, ATTN__OP_additive_scores, 3, in, &(attn__attr){.i = {0}});
}

attn_status attn__shape_additive_scores(attn__call *c, attn_error *error)
{
    const attn_tensor *q = &c->in[0], *k = &c->in[1], *w = &c->in[2];
    static const int least[] = {2, 2, 1}, most[] = {ATTN_MAX_RANK, ATTN_MAX_RANK, 1};
    for (int i = 0; i < 3; i++) {
        ATTN_TRY(attn__need_real(c, i, error));
        ATTN_TRY(attn__need_rank(c, i, least[i], most[i], error));
    }
    const int last = q->rank - 1;
    ATTN_TRY(attn__need_same("additive_scores", "q and k must have one rank", q->rank, k->rank,
                             error));
    ATTN_TRY(attn__need_same("additive_scores", "w must be as long as rows of q",
                             q->shape[last], w->shape[0], error));
    for (int d = 0; d <= last; d++)
        if (d != last - 1)
            ATTN_TRY(attn__need_same("additive_scores",
                                     "q and k may differ in their rows alone", q->shape[d],
                                     k->shape[d], error));
    int64_t shape[ATTN_MAX_RANK];
    for (int d = 0; d < last; d++) shape[d] = q->shape[d];
    shape[last] = k->shape[last - 1];
    attn__out_set(c, 0, c->real, q->rank, shape);
    c->n_out = 1;
    return ATTN_OK;
}
