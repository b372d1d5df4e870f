/* SPDX-License-Identifier: MIT
 * One operand, element by element. */
#include "tape/tape.h"

static attn_status unary_shape(attn__call *c, attn_error *error)
{
    ATTN_TRY(attn__need_real(c, 0, error));
    attn__out_like(c, 0, &c->in[0]);
    return ATTN_OK;
}

#define UNARY(name)                                                                            \
    attn_status attn__shape_##name(attn__call *c, attn_error *error)                           \
    {                                                                                          \
        return unary_shape(c, error);                                                          \
    }                                                                                          \
    attn_var attn_tape_##name(attn_tape *t, attn_var a)                                        \
    {                                                                                          \
        return attn__apply1(t, ATTN__OP_##name, 1, &a, NULL);                                  \
    }
UNARY(neg)
UNARY(abs)
UNARY(exp)
UNARY(log)
UNARY(sqrt)
UNARY(rsqrt)
UNARY(sin)
UNARY(cos)
UNARY(tanh)
UNARY(sigmoid)
UNARY(relu)
UNARY(elu)
UNARY(gelu)
UNARY(gelu_tanh)
UNARY(silu)
UNARY(softplus)
UNARY(erf)
UNARY(stop)
#undef UNARY

/* ---- with numbers ------------------------------------------------------------------------ */

attn_status attn__shape_clamp(attn__call *c, attn_error *error)
{
    if (!(c->attr.f[0] <= c->attr.f[1]))
        return attn__fail(error, ATTN_E_PARAM, "clamp", "low must not be above high, nor NaN");
    return unary_shape(c, error);
}

attn_var attn_tape_clamp(attn_tape *t, attn_var a, double low, double high)
{
    const attn__attr attr = {.f = {low, high}};
    return attn__apply1(t, ATTN__OP_clamp, 1, &a, &attr);
}

attn_status attn__shape_leaky_relu(attn__call *c, attn_error *error)
{
    return unary_shape(c, error);
}

attn_var attn_tape_leaky_relu(attn_tape *t, attn_var a, double slope)
{
    const attn__attr attr = {.f = {slope}};
    return attn__apply1(t, ATTN__OP_leaky_relu, 1, &a, &attr);
}

/* ---- other types ------------------------------------------------------------------------- */

attn_status attn__shape_not(attn__call *c, attn_error *error)
{
    ATTN_TRY(attn__need_bool(c, 0, error));
    attn__out_set(c, 0, ATTN_DTYPE_BOOL, c->in[0].rank, c->in[0].shape);
    return ATTN_OK;
}

attn_var attn_tape_not(attn_tape *t, attn_var c)
{
    return attn__apply1(t, ATTN__OP_not, 1, &c, NULL);
}

attn_status attn__shape_cast(attn__call *c, attn_error *error)
{
    if (!attn__present(&c->in[0]))
        return attn__fail(error, ATTN_E_NULL, "cast", "a required operand is empty");
    attn__out_like(c, 0, &c->in[0]);
    return ATTN_OK;
}

attn_var attn_tape_cast(attn_tape *t, attn_var a)
{
    return attn__apply1(t, ATTN__OP_cast, 1, &a, NULL);
}

/* ---- values and gradients that part ------------------------------------------------------ */

attn_var attn_tape_straight_through(attn_tape *t, attn_var hard, attn_var soft)
{
    const attn_var in[] = {hard, soft};
    return attn__apply1(t, ATTN__OP_straight_through, 2, in, NULL);
}

attn_status attn__shape_straight_through(attn__call *c, attn_error *error)
{
    const attn_tensor *hard = &c->in[0], *soft = &c->in[1];
    ATTN_TRY(attn__need_real(c, 0, error));
    ATTN_TRY(attn__need_real(c, 1, error));
    ATTN_TRY(attn__need_rank(c, 1, hard->rank, hard->rank, error));
    for (int i = 0; i < hard->rank; i++)
        ATTN_TRY(attn__need_same("straight_through", "hard and soft must be of one shape",
                                 hard->shape[i], soft->shape[i], error));
    attn__out_like(c, 0, hard);
    return ATTN_OK;
}
