/* SPDX-License-Identifier: MIT
 * matmul and linear: what they take and give. op/linear.h has the numbers.
 *   matmul   a ... M K, b ... K N -> ... M N; leading dimensions broadcast; a of rank 1 is one
 *            row, b of rank 1 one column, and that dimension is gone again from the result
 *   linear   x ... K, w N K, b N or empty -> ... N; attr.i[0]: the activation */
#include "tape/tape.h"

attn_var attn_tape_matmul(attn_tape *t, attn_var a, attn_var b)
{
    return attn__apply1(t, ATTN__OP_matmul, 2, (attn_var[]){a, b}, NULL);
}

/* The leading dimensions alone. */
static attn_tensor matmul_leading(const attn_tensor *t)
{
    attn_tensor leading = *t;
    leading.rank = t->rank > 2 ? t->rank - 2 : 0;
    return leading;
}

attn_status attn__shape_matmul(attn__call *c, attn_error *error)
{
    const attn_tensor *a = &c->in[0], *b = &c->in[1];
    for (int i = 0; i < 2; i++) {
        ATTN_TRY(attn__need_real(c, i, error));
        ATTN_TRY(attn__need_rank(c, i, 1, ATTN_MAX_RANK, error));
    }
    ATTN_TRY(attn__need_same("matmul", "rows of b must equal columns of a",
                             a->shape[a->rank - 1], b->shape[b->rank > 1 ? b->rank - 2 : 0],
                             error));
    const attn_tensor lead_a = matmul_leading(a), lead_b = matmul_leading(b);
    attn_tensor out = {0};
    ATTN_TRY(attn__shape_broadcast("matmul", &lead_a, &lead_b, &out, error));
    if (a->rank > 1) out.shape[out.rank++] = a->shape[a->rank - 2];
    if (b->rank > 1) out.shape[out.rank++] = b->shape[b->rank - 1];
    c->n_out = 1;
    attn__out_set(c, 0, c->real, out.rank, out.shape);
    return ATTN_OK;
}

/* Whether the slope is found from the result, so that this one is kept. */
static bool linear_by_out(attn_activation act)
{
    return act == ATTN_ACT_RELU || act == ATTN_ACT_SIGMOID || act == ATTN_ACT_TANH;
}

attn_var attn_tape_linear(attn_tape *t, attn_var x, attn_var w, attn_var b, attn_activation act)
{
    const attn__attr attr = {.i = {act}};
    const attn__op_index op = linear_by_out(act) ? ATTN__OP_linear_out : ATTN__OP_linear;
    return attn__apply1(t, op, 3, (attn_var[]){x, w, b}, &attr);
}

attn_status attn__shape_linear(attn__call *c, attn_error *error)
{
    const attn_tensor *x = &c->in[0], *w = &c->in[1], *b = &c->in[2];
    if (c->attr.i[0] < 0 || c->attr.i[0] > ATTN_ACT_TANH)
        return attn__fail_count(error, ATTN_E_ENUM, "linear", "no such activation",
                                ATTN_ACT_TANH, c->attr.i[0]);
    ATTN_TRY(attn__need_real(c, 0, error));
    ATTN_TRY(attn__need_real(c, 1, error));
    ATTN_TRY(attn__need_rank(c, 0, 1, ATTN_MAX_RANK, error));
    ATTN_TRY(attn__need_rank(c, 1, 2, 2, error));
    ATTN_TRY(attn__need_same("linear", "columns of w must equal the last size of x",
                             x->shape[x->rank - 1], w->shape[1], error));
    if (attn__present(b)) {
        ATTN_TRY(attn__need_real(c, 2, error));
        ATTN_TRY(attn__need_rank(c, 2, 1, 1, error));
        ATTN_TRY(attn__need_same("linear", "b must be as long as w has rows", w->shape[0],
                                 b->shape[0], error));
    }
    attn_tensor out = *x;
    out.shape[x->rank - 1] = w->shape[0];
    c->n_out = 1;
    attn__out_set(c, 0, c->real, out.rank, out.shape);
    return ATTN_OK;
}

attn_status attn__shape_linear_out(attn__call *c, attn_error *error)
{
    return attn__shape_linear(c, error);
}
