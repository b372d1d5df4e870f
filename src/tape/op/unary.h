/* SPDX-License-Identifier: MIT
 * Rows of one operand. The functions themselves are maps of the kernel table; a gradient is g
 * times the slope:
 *
 *   exp     y            sqrt   1/2y         gelu, gelu_tanh, silu, softplus: maps of their own
 *   log     1/x          rsqrt  -y^3/2       erf     2/sqrt(pi) exp(-x^2)
 *   sin     cos x        cos    -sin x       elu     exp(x) below 0
 *   sigmoid m (1 - m)    with m = sigmoid(-|x|), tanh 4 m (1 - m) with m = sigmoid(-2|x|):
 * small slopes are right to the last bits, where 1 - y would have lost them abs 0 at 0; relu 0
 * at 0; leaky_relu its slope at 0; clamp 1 at both ends. */
#ifndef ATTN__TAPE_OP_UNARY_H
#define ATTN__TAPE_OP_UNARY_H

#include "tape/op/power.h"

/* ---- maps -------------------------------------------------------------------------------- */

#define UNARY_MAP(name)                                                                        \
    static void K(name##_row)(const attn__call *c, int64_t n, const void *const *x, void *y)   \
    {                                                                                          \
        c->k->map[ATTN__MAP_##name](n, x[0], y);                                               \
    }                                                                                          \
    static attn_status K(name##_forward)(attn__call * c)                                       \
    {                                                                                          \
        return K(scalar_forward)(c, K(name##_row));                                            \
    }
UNARY_MAP(exp)
UNARY_MAP(log)
UNARY_MAP(sqrt)
UNARY_MAP(rsqrt)
UNARY_MAP(sin)
UNARY_MAP(cos)
UNARY_MAP(tanh)
UNARY_MAP(sigmoid)
UNARY_MAP(gelu)
UNARY_MAP(gelu_tanh)
UNARY_MAP(silu)
UNARY_MAP(softplus)
UNARY_MAP(erf)
#undef UNARY_MAP

static void K(times)(int64_t n, const real *g, real *restrict y)
{
    for (int64_t i = 0; i < n; i++) y[i] *= g[i];
}

/* Slopes that are maps of x. */
#define UNARY_SLOPE(name, map_name)                                                            \
    static void K(name##_slope)(const attn__call *c, int64_t n, const void *const *x, void *y) \
    {                                                                                          \
        c->k->map[ATTN__MAP_##map_name](n, x[1], y);                                           \
        K(times)(n, x[0], y);                                                                  \
    }                                                                                          \
    static attn_status K(name##_backward)(attn__call * c)                                      \
    {                                                                                          \
        return K(scalar_backward)(c, K(name##_slope), &c->in[0]);                              \
    }
UNARY_SLOPE(sin, cos)
UNARY_SLOPE(gelu, gelu_slope)
UNARY_SLOPE(gelu_tanh, gelu_tanh_slope)
UNARY_SLOPE(silu, silu_slope)
UNARY_SLOPE(softplus, softplus_slope)
#undef UNARY_SLOPE

/* ---- slopes of the other maps; x[0] is g, x[1] the operand or the result ---------------- */

static attn_status K(exp_backward)(attn__call *c)
{
    return K(scalar_backward)(c, K(mul_row), &c->out[0]);
}

static attn_status K(log_backward)(attn__call *c)
{
    return K(scalar_backward)(c, K(div_row), &c->in[0]);
}

static void K(sqrt_slope)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real *g = x[0], *root = x[1];
    real *restrict to = y;
    (void)c;
    for (int64_t i = 0; i < n; i++) to[i] = (real)0.5 * g[i] / root[i];
}

static attn_status K(sqrt_backward)(attn__call *c)
{
    return K(scalar_backward)(c, K(sqrt_slope), &c->out[0]);
}

static void K(rsqrt_slope)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real *g = x[0], *root = x[1];
    real *restrict to = y;
    (void)c;
    for (int64_t i = 0; i < n; i++) to[i] = (real)-0.5 * g[i] * root[i] * (root[i] * root[i]);
}

static attn_status K(rsqrt_backward)(attn__call *c)
{
    return K(scalar_backward)(c, K(rsqrt_slope), &c->out[0]);
}

static void K(cos_slope)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real *g = x[0];
    real *restrict to = y;
    c->k->map[ATTN__MAP_sin](n, x[1], y);
    for (int64_t i = 0; i < n; i++) to[i] = -g[i] * to[i];
}

static attn_status K(cos_backward)(attn__call *c)
{
    return K(scalar_backward)(c, K(cos_slope), &c->in[0]);
}

/* y = scale * m (1 - m) g, m = sigmoid(by |x|), by < 0. */
static void K(logistic_slope)(const attn__call *c, int64_t n, const void *const *x, real by,
                              real scale, real *restrict y)
{
    const real *g = x[0], *from = x[1];
    for (int64_t i = 0; i < n; i++) y[i] = by * R(fabs)(from[i]);
    c->k->map[ATTN__MAP_sigmoid](n, y, y);
    for (int64_t i = 0; i < n; i++) y[i] = g[i] * (scale * (y[i] * (1 - y[i])));
}

static void K(tanh_slope)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    K(logistic_slope)(c, n, x, -2, 4, y);
}

static attn_status K(tanh_backward)(attn__call *c)
{
    return K(scalar_backward)(c, K(tanh_slope), &c->in[0]);
}

static void K(sigmoid_slope)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    K(logistic_slope)(c, n, x, -1, 1, y);
}

static attn_status K(sigmoid_backward)(attn__call *c)
{
    return K(scalar_backward)(c, K(sigmoid_slope), &c->in[0]);
}

static void K(erf_slope)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real two_over_root_pi = (real)0x1.20dd750429b6dp+0;
    const real *g = x[0], *from = x[1];
    real *restrict to = y;
    for (int64_t i = 0; i < n; i++) to[i] = -from[i] * from[i];
    c->k->map[ATTN__MAP_exp](n, y, y);
    for (int64_t i = 0; i < n; i++) to[i] = g[i] * (two_over_root_pi * to[i]);
}

static attn_status K(erf_backward)(attn__call *c)
{
    return K(scalar_backward)(c, K(erf_slope), &c->in[0]);
}

/* ---- elu --------------------------------------------------------------------------------- */

static void K(elu_map)(const attn__call *c, attn__map map, int64_t n, const real *x, real *y)
{
    for (int64_t i = 0; i < n; i++) y[i] = x[i] > 0 ? 0 : x[i];
    c->k->map[map](n, y, y);
}

static void K(elu_row)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real *from = x[0];
    real *restrict to = y;
    K(elu_map)(c, ATTN__MAP_expm1, n, from, to);
    for (int64_t i = 0; i < n; i++) to[i] = from[i] > 0 ? from[i] : to[i];
}

static void K(elu_slope)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    K(elu_map)(c, ATTN__MAP_exp, n, x[1], y);
    K(times)(n, x[0], y);
}

static attn_status K(elu_forward)(attn__call *c)
{
    return K(scalar_forward)(c, K(elu_row));
}

static attn_status K(elu_backward)(attn__call *c)
{
    return K(scalar_backward)(c, K(elu_slope), &c->in[0]);
}

#endif
