/* SPDX-License-Identifier: MIT
 * Alignments that move forward: what the two operations take and give. op/monotonic.h has the
 * numbers.
 *   monotonic   p ... T S, first ... S or empty -> ... T S
 *   chunkwise   a ... S, u of the same shape -> that shape; attr.i[0] the keys of a chunk */
#include "tape/tape.h"

attn_var attn_tape_monotonic(attn_tape *t, attn_var p, attn_var first)
{
    const attn_var in[] = {p, first};
    return attn__apply1(t, ATTN__OP_monotonic, 2, in, &(attn__attr){.i = {0}});
}

attn_status attn__shape_monotonic(attn__call *c, attn_error *error)
{
    const attn_tensor *p = &c->in[0], *first = &c->in[1];
    ATTN_TRY(attn__need_real(c, 0, error));
    ATTN_TRY(attn__need_rank(c, 0, 2, ATTN_MAX_RANK, error));
    attn__out_like(c, 0, p);
    c->n_out = 1;
    if (!attn__present(first)) return ATTN_OK;
    ATTN_TRY(attn__need_real(c, 1, error));
    ATTN_TRY(attn__need_rank(c, 1, p->rank - 1, p->rank - 1, error));
    for (int d = 0; d < first->rank; d++)
        ATTN_TRY(attn__need_same("monotonic", "the first alignment must be one row of p",
                                 p->shape[d < first->rank - 1 ? d : d + 1], first->shape[d],
                                 error));
    return ATTN_OK;
}

attn_var attn_tape_chunkwise(attn_tape *t, attn_var a, attn_var u, int64_t w)
{
    const attn_var in[] = {a, u};
    const attn__attr attr = {.i = {w}};
    return attn__apply1(t, ATTN__OP_chunkwise, 2, in, &attr);
}

attn_status attn__shape_chunkwise(attn__call *c, attn_error *error)
{
    const attn_tensor *a = &c->in[0], *u = &c->in[1];
    if (c->attr.i[0] < 0)
        return attn__fail_count(error, ATTN_E_PARAM, "chunkwise",
                                "a chunk must have a size, or 0 for all keys", 0, c->attr.i[0]);
    for (int i = 0; i < 2; i++) {
        ATTN_TRY(attn__need_real(c, i, error));
        ATTN_TRY(attn__need_rank(c, i, 1, ATTN_MAX_RANK, error));
    }
    ATTN_TRY(
        attn__need_same("chunkwise", "a and u must have one rank", a->rank, u->rank, error));
    for (int d = 0; d < a->rank; d++)
        ATTN_TRY(attn__need_same("chunkwise", "a and u must have one shape", a->shape[d],
                                 u->shape[d], error));
    c->attr.i[0] = attn__min(c->attr.i[0], a->shape[a->rank - 1]);
    attn__out_like(c, 0, a);
    c->n_out = 1;
    return ATTN_OK;
}
