/* SPDX-License-Identifier: MIT
 * Dropout, Gumbel-softmax and draws from categories. op/chance.h has the numbers and the recipe
 * of the random words. attr: i[0] the seed, i[1] gumbel_softmax's dimension, f[0] the
 * probability to drop or the temperature. */
#include "tape/tape.h"

attn_var attn_tape_dropout(attn_tape *t, attn_var x, double p, uint64_t seed)
{
    const attn__attr attr = {.i = {(int64_t)seed}, .f = {p}};
    return attn__apply1(t, ATTN__OP_dropout, 1, &x, &attr);
}

attn_var attn_tape_categorical(attn_tape *t, attn_var logits, uint64_t seed)
{
    const attn__attr attr = {.i = {(int64_t)seed}};
    return attn__apply1(t, ATTN__OP_categorical, 1, &logits, &attr);
}

/* The one-hot of the largest weight along dim, with the gradient of the weights. */
static attn_var chance_harden(attn_tape *t, attn_var soft, int dim)
{
    const attn_tensor shape = attn__var_value(t, soft);
    if (!attn__present(&shape)) return (attn_var){0};
    const int at = attn__dim(shape.rank, dim);
    attn_dims order = {.n = shape.rank};
    for (int i = 0; i < shape.rank; i++) order.at[i] = i < at ? i : i - 1;
    order.at[at] = shape.rank - 1;
    const attn_var ids = attn_tape_argmax(t, soft, dim, false);
    const attn_var last = attn_tape_one_hot(t, ids, shape.shape[at]);
    const attn_var hard = attn_tape_permute(t, last, order);
    const attn_var y = attn_tape_straight_through(t, hard, soft);
    attn_tape_drop(t, ids);
    attn_tape_drop(t, last);
    attn_tape_drop(t, hard);
    attn_tape_drop(t, soft);
    return y;
}

attn_var attn_tape_gumbel_softmax(attn_tape *t, attn_var logits, double temperature, bool hard,
                                  int dim, uint64_t seed)
{
    const attn__attr attr = {.i = {(int64_t)seed, dim}, .f = {temperature}};
    const attn_var soft = attn__apply1(t, ATTN__OP_gumbel_softmax, 1, &logits, &attr);
    return hard ? chance_harden(t, soft, dim) : soft;
}

/* ---- the shape rules --------------------------------------------------------------------- */

attn_status attn__shape_dropout(attn__call *c, attn_error *error)
{
    if (!(c->attr.f[0] >= 0 && c->attr.f[0] <= 1))
        return attn__fail(error, ATTN_E_PARAM, "dropout", "p must be in 0 .. 1");
    ATTN_TRY(attn__need_real(c, 0, error));
    c->n_out = 1;
    attn__out_like(c, 0, &c->in[0]);
    return ATTN_OK;
}

attn_status attn__shape_gumbel_softmax(attn__call *c, attn_error *error)
{
    if (!(c->attr.f[0] > 0))
        return attn__fail(error, ATTN_E_PARAM, "gumbel_softmax",
                          "the temperature must be above 0");
    ATTN_TRY(attn__need_real(c, 0, error));
    ATTN_TRY(attn__need_rank(c, 0, 1, ATTN_MAX_RANK, error));
    const int dim = attn__dim(c->in[0].rank, c->attr.i[1]);
    if (dim < 0)
        return attn__fail_count(error, ATTN_E_PARAM, "gumbel_softmax",
                                "the logits have no such dimension", c->in[0].rank,
                                c->attr.i[1]);
    c->attr.i[1] = dim;
    c->n_out = 1;
    attn__out_like(c, 0, &c->in[0]);
    return ATTN_OK;
}

attn_status attn__shape_categorical(attn__call *c, attn_error *error)
{
    const attn_tensor *x = &c->in[0];
    ATTN_TRY(attn__need_real(c, 0, error));
    ATTN_TRY(attn__need_rank(c, 0, 1, ATTN_MAX_RANK, error));
    if (x->shape[x->rank - 1] == 0)
        return attn__fail_count(error, ATTN_E_SHAPE, "categorical",
                                "there must be a class to draw", 1, 0);
    c->n_out = 1;
    attn__out_set(c, 0, ATTN_DTYPE_I64, x->rank - 1, x->shape);
    return ATTN_OK;
}
