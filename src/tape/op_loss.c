/* SPDX-License-Identifier: MIT
 * Losses of pairs - bce, mse, l1, huber: two operands of one shape (nothing broadcasts: a
 * column against a row is a slip, not a wish). The result is one number, or with
 * ATTN_REDUCE_NONE one for each element. attr: i[0] the reduction, f[0] huber's delta.
 * op/loss.h has the numbers. */
#include "tape/tape.h"

static attn_var loss_apply(attn_tape *t, attn__op_index op, attn_var x, attn_var y,
                           attn_reduction reduction, double delta)
{
    const attn__attr attr = {.i = {reduction}, .f = {delta}};
    return attn__apply1(t, op, 2, (attn_var[]){x, y}, &attr);
}

attn_var attn_tape_bce(attn_tape *t, attn_var logits, attn_var target, attn_reduction reduction)
{
    return loss_apply(t, ATTN__OP_bce, logits, target, reduction, 0);
}

attn_var attn_tape_mse(attn_tape *t, attn_var a, attn_var b, attn_reduction reduction)
{
    return loss_apply(t, ATTN__OP_mse, a, b, reduction, 0);
}

attn_var attn_tape_l1(attn_tape *t, attn_var a, attn_var b, attn_reduction reduction)
{
    return loss_apply(t, ATTN__OP_l1, a, b, reduction, 0);
}

attn_var attn_tape_huber(attn_tape *t, attn_var a, attn_var b, double delta,
                         attn_reduction reduction)
{
    return loss_apply(t, ATTN__OP_huber, a, b, reduction, delta);
}

/* ---- the shape rules --------------------------------------------------------------------- */

static attn_status loss_shape(attn__call *c, attn_error *error)
{
    const char *op = attn__ops[c->op].name;
    const attn_tensor *x = &c->in[0], *y = &c->in[1];
    if (c->attr.i[0] < ATTN_REDUCE_MEAN || c->attr.i[0] > ATTN_REDUCE_NONE)
        return attn__fail_count(error, ATTN_E_ENUM, op, "no such reduction", ATTN_REDUCE_NONE,
                                c->attr.i[0]);
    ATTN_TRY(attn__need_real(c, 0, error));
    ATTN_TRY(attn__need_real(c, 1, error));
    ATTN_TRY(attn__need_rank(c, 1, x->rank, x->rank, error));
    for (int i = 0; i < x->rank; i++)
        ATTN_TRY(attn__need_same(op, "both operands must have one shape", x->shape[i],
                                 y->shape[i], error));
    c->n_out = 1;
    if (c->attr.i[0] == ATTN_REDUCE_NONE)
        attn__out_like(c, 0, x);
    else
        attn__out_set(c, 0, c->real, 0, NULL);
    return ATTN_OK;
}

attn_status attn__shape_bce(attn__call *c, attn_error *error)
{
    return loss_shape(c, error);
}

attn_status attn__shape_mse(attn__call *c, attn_error *error)
{
    return loss_shape(c, error);
}

attn_status attn__shape_l1(attn__call *c, attn_error *error)
{
    return loss_shape(c, error);
}

attn_status attn__shape_huber(attn__call *c, attn_error *error)
{
    if (!(c->attr.f[0] > 0))
        return attn__fail(error, ATTN_E_PARAM, "huber", "delta must be above 0");
    return loss_shape(c, error);
}
