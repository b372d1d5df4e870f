/* SPDX-License-Identifier: MIT
 * Two operands, element by element, that broadcast against each other: arithmetic, the larger
 * and the smaller, comparisons, and a choice between two. A number instead of b has operations
 * of its own. */
#include "tape/tape.h"

/* ---- two operands ------------------------------------------------------------------------ */

static attn_status binary_shape(attn__call *c, attn_error *error)
{
    attn_tensor shape;
    ATTN_TRY(attn__need_real(c, 0, error));
    ATTN_TRY(attn__need_real(c, 1, error));
    ATTN_TRY(attn__shape_broadcast(attn__ops[c->op].name, &c->in[0], &c->in[1], &shape, error));
    attn__out_like(c, 0, &shape);
    return ATTN_OK;
}

/* Reals with reals, integers with integers. */
static attn_status compare_shape(attn__call *c, attn_error *error)
{
    attn_tensor shape;
    const bool ints = attn__dtype_is_int(c->in[0].dtype);
    ATTN_TRY(ints ? attn__need_int(c, 0, error) : attn__need_real(c, 0, error));
    ATTN_TRY(ints ? attn__need_int(c, 1, error) : attn__need_real(c, 1, error));
    ATTN_TRY(attn__shape_broadcast(attn__ops[c->op].name, &c->in[0], &c->in[1], &shape, error));
    attn__out_set(c, 0, ATTN_DTYPE_BOOL, shape.rank, shape.shape);
    return ATTN_OK;
}

#define BINARY(name, rule)                                                                     \
    attn_status attn__shape_##name(attn__call *c, attn_error *error)                           \
    {                                                                                          \
        return rule(c, error);                                                                 \
    }                                                                                          \
    attn_var attn_tape_##name(attn_tape *t, attn_var a, attn_var b)                            \
    {                                                                                          \
        const attn_var in[] = {a, b};                                                          \
        return attn__apply1(t, ATTN__OP_##name, 2, in, NULL);                                  \
    }
BINARY(add, binary_shape)
BINARY(sub, binary_shape)
BINARY(mul, binary_shape)
BINARY(div, binary_shape)
BINARY(maximum, binary_shape)
BINARY(minimum, binary_shape)
BINARY(pow, binary_shape)
BINARY(less, compare_shape)
BINARY(less_equal, compare_shape)
BINARY(equal, compare_shape)
#undef BINARY

/* ---- an operand and a number ------------------------------------------------------------- */

#define SCALAR(name)                                                                           \
    attn_status attn__shape_##name(attn__call *c, attn_error *error)                           \
    {                                                                                          \
        ATTN_TRY(attn__need_real(c, 0, error));                                                \
        attn__out_like(c, 0, &c->in[0]);                                                       \
        return ATTN_OK;                                                                        \
    }                                                                                          \
    attn_var attn_tape_##name(attn_tape *t, attn_var a, double b)                              \
    {                                                                                          \
        const attn__attr attr = {.f = {b}};                                                    \
        return attn__apply1(t, ATTN__OP_##name, 1, &a, &attr);                                 \
    }
SCALAR(add_scalar)
SCALAR(mul_scalar)
SCALAR(pow_scalar)
#undef SCALAR

/* ---- where ------------------------------------------------------------------------------- */

attn_status attn__shape_where(attn__call *c, attn_error *error)
{
    attn_tensor two, shape;
    ATTN_TRY(attn__need_bool(c, 0, error));
    ATTN_TRY(attn__need_real(c, 1, error));
    ATTN_TRY(attn__need_real(c, 2, error));
    ATTN_TRY(attn__shape_broadcast("where", &c->in[1], &c->in[2], &two, error));
    ATTN_TRY(attn__shape_broadcast("where", &c->in[0], &two, &shape, error));
    attn__out_like(c, 0, &shape);
    return ATTN_OK;
}

attn_var attn_tape_where(attn_tape *t, attn_var c, attn_var a, attn_var b)
{
    const attn_var in[] = {c, a, b};
    return attn__apply1(t, ATTN__OP_where, 3, in, NULL);
}
