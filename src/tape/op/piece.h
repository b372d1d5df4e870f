/* SPDX-License-Identifier: MIT
 * Functions of one operand made of straight pieces, and those that only pass things on. A NaN
 * stays one everywhere; its slope is that of the piece it is written in. */
#ifndef ATTN__TAPE_OP_PIECE_H
#define ATTN__TAPE_OP_PIECE_H

#include "tape/op/power.h"

/* ---- neg abs ----------------------------------------------------------------------------- */

static attn_status K(neg_forward)(attn__call *c)
{
    return K(scalar_forward)(c, K(minus_row));
}

static attn_status K(neg_backward)(attn__call *c)
{
    return K(scalar_backward)(c, K(minus_row), NULL);
}

static void K(abs_row)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real *from = x[0];
    real *restrict to = y;
    (void)c;
    for (int64_t i = 0; i < n; i++) to[i] = R(fabs)(from[i]);
}

static void K(abs_slope)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real *g = x[0], *from = x[1];
    real *restrict to = y;
    (void)c;
    for (int64_t i = 0; i < n; i++) {
        const real signed_g = from[i] < 0 ? -g[i] : g[i];
        to[i] = from[i] == 0 ? 0 : signed_g;
    }
}

static attn_status K(abs_forward)(attn__call *c)
{
    return K(scalar_forward)(c, K(abs_row));
}

static attn_status K(abs_backward)(attn__call *c)
{
    return K(scalar_backward)(c, K(abs_slope), &c->in[0]);
}

/* ---- relu leaky_relu clamp -------------------------------------------------------------- */

static void K(relu_row)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real *from = x[0];
    real *restrict to = y;
    (void)c;
    for (int64_t i = 0; i < n; i++) to[i] = from[i] <= 0 ? 0 : from[i];
}

static void K(relu_slope)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real *g = x[0], *made = x[1];
    real *restrict to = y;
    (void)c;
    for (int64_t i = 0; i < n; i++) to[i] = made[i] <= 0 ? 0 : g[i];
}

static attn_status K(relu_forward)(attn__call *c)
{
    return K(scalar_forward)(c, K(relu_row));
}

static attn_status K(relu_backward)(attn__call *c)
{
    return K(scalar_backward)(c, K(relu_slope), &c->out[0]);
}

static void K(leaky_relu_row)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real *from = x[0], slope = (real)c->attr.f[0];
    real *restrict to = y;
    for (int64_t i = 0; i < n; i++) to[i] = from[i] > 0 ? from[i] : slope * from[i];
}

static void K(leaky_relu_slope)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real *g = x[0], *from = x[1], slope = (real)c->attr.f[0];
    real *restrict to = y;
    for (int64_t i = 0; i < n; i++) to[i] = from[i] > 0 ? g[i] : slope * g[i];
}

static attn_status K(leaky_relu_forward)(attn__call *c)
{
    return K(scalar_forward)(c, K(leaky_relu_row));
}

static attn_status K(leaky_relu_backward)(attn__call *c)
{
    return K(scalar_backward)(c, K(leaky_relu_slope), &c->in[0]);
}

static void K(clamp_row)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real *from = x[0], low = (real)c->attr.f[0], high = (real)c->attr.f[1];
    real *restrict to = y;
    for (int64_t i = 0; i < n; i++) {
        const real above = from[i] < low ? low : from[i];
        to[i] = above > high ? high : above;
    }
}

static void K(clamp_slope)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real *g = x[0], *from = x[1], low = (real)c->attr.f[0], high = (real)c->attr.f[1];
    real *restrict to = y;
    for (int64_t i = 0; i < n; i++) to[i] = from[i] < low || from[i] > high ? 0 : g[i];
}

static attn_status K(clamp_forward)(attn__call *c)
{
    return K(scalar_forward)(c, K(clamp_row));
}

static attn_status K(clamp_backward)(attn__call *c)
{
    return K(scalar_backward)(c, K(clamp_slope), &c->in[0]);
}

/* ---- stop straight_through cast not ----------------------------------------------------- */

static attn_status K(stop_forward)(attn__call *c)
{
    return K(scalar_forward)(c, NULL);
}

static attn_status K(straight_through_forward)(attn__call *c)
{
    return K(scalar_forward)(c, NULL);
}

static attn_status K(straight_through_backward)(attn__call *c)
{
    return K(binary_slope)(c, 1, NULL);
}

static attn_status K(cast_forward)(attn__call *c)
{
    return attn_tensor_copy(c->out[0], c->in[0], NULL);
}

static attn_status K(cast_backward)(attn__call *c)
{
    return K(scalar_backward)(c, NULL, NULL);
}

static void K(not_row)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const uint8_t *from = x[0];
    uint8_t *restrict to = y;
    (void)c;
    for (int64_t i = 0; i < n; i++) to[i] = from[i] == 0;
}

static attn_status K(not_forward)(attn__call *c)
{
    attn__each e = attn__each_of(c, K(not_row), &c->out[0]);
    ATTN_TRY(attn__each_bools(&e, &c->in[0]));
    attn__each_fill(&e, &c->out[0]);
    return ATTN_OK;
}

#endif
