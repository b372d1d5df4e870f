/* SPDX-License-Identifier: MIT
 * Powers, and operations of an operand and one number, c->attr.f[0]. A power is computed in
 * doubles and rounded: as 2^(b log2 a), or, where b is one number, by multiplying for whole
 * exponents up to 1024 in size and by roots for 1/2 and -1/2. a^0 is 1; a negative a has only
 * whole powers, and those of one number.
 *   pow    g b a^(b-1), 0 where b is 0; g a^b log a, 0 where a is 0 and b is not negative */
#ifndef ATTN__TAPE_OP_POWER_H
#define ATTN__TAPE_OP_POWER_H

#include "tape/op/binary.h"

/* ---- a^b --------------------------------------------------------------------------------- */

static double K(power_general)(double a, double b)
{
    if (b == 0) return 1;
    return attn__exp2(b * attn__log2(a));
}

static void K(pow_row)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real *a = x[0], *b = x[1];
    real *restrict to = y;
    (void)c;
    for (int64_t i = 0; i < n; i++) to[i] = (real)K(power_general)((double)a[i], (double)b[i]);
}

static void K(pow_row_a)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real *g = x[0], *a = x[1], *b = x[2];
    real *restrict to = y;
    (void)c;
    for (int64_t i = 0; i < n; i++) {
        const double slope = (double)b[i] * K(power_general)((double)a[i], (double)b[i] - 1);
        to[i] = b[i] == 0 ? 0 : (real)((double)g[i] * slope);
    }
}

static void K(pow_row_b)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const double ln2 = 0x1.62e42fefa39efp-1;
    const real *g = x[0], *a = x[1], *b = x[2];
    real *restrict to = y;
    (void)c;
    for (int64_t i = 0; i < n; i++) {
        const double log = ln2 * attn__log2((double)a[i]);
        const double slope = log * K(power_general)((double)a[i], (double)b[i]);
        to[i] = a[i] == 0 && b[i] >= 0 ? 0 : (real)((double)g[i] * slope);
    }
}

static attn_status K(pow_forward)(attn__call *c)
{
    return K(binary_forward)(c, K(pow_row));
}

static attn_status K(pow_backward)(attn__call *c)
{
    return K(binary_backward)(c, K(pow_row_a), K(pow_row_b));
}

/* ---- a^b for one b ----------------------------------------------------------------------- */

static double K(power_whole)(double a, int64_t n)
{
    double y = 1;
    for (; n > 0; n >>= 1, a *= a)
        if (n & 1) y *= a;
    return y;
}

static void K(power_list)(int64_t n, const real *a, double b, double *restrict y)
{
    const double size = fabs(b);
    if (size <= 1024 && floor(size) == size) {
        for (int64_t i = 0; i < n; i++) y[i] = K(power_whole)((double)a[i], (int64_t)size);
        for (int64_t i = 0; i < n && b < 0; i++) y[i] = 1 / y[i];
    } else if (size == 0.5) {
        for (int64_t i = 0; i < n; i++) y[i] = sqrt((double)a[i]);
        for (int64_t i = 0; i < n && b < 0; i++) y[i] = 1 / y[i];
    } else {
        for (int64_t i = 0; i < n; i++) y[i] = K(power_general)((double)a[i], b);
    }
}

static void K(pow_scalar_row)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    double power[ATTN__WALK_BLOCK];
    real *restrict to = y;
    K(power_list)(n, x[0], c->attr.f[0], power);
    for (int64_t i = 0; i < n; i++) to[i] = (real)power[i];
}

static void K(pow_scalar_slope)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const double b = c->attr.f[0];
    const real *g = x[0];
    double power[ATTN__WALK_BLOCK];
    real *restrict to = y;
    K(power_list)(n, x[1], b - 1, power);
    for (int64_t i = 0; i < n; i++) to[i] = b == 0 ? 0 : (real)((double)g[i] * (b * power[i]));
}

/* ---- an operand and a number ------------------------------------------------------------- */

static attn_status K(scalar_forward)(attn__call *c, attn__each_row row)
{
    attn__each e = attn__each_of(c, row, &c->out[0]);
    ATTN_TRY(attn__each_operand(&e, &c->in[0]));
    attn__each_fill(&e, &c->out[0]);
    return ATTN_OK;
}

/* row(g), or row(g, x) when x is given; row NULL: g. */
static attn_status K(scalar_backward)(attn__call *c, attn__each_row row, const attn_tensor *x)
{
    attn__each e = attn__each_of(c, row, &c->d_out[0]);
    if (!attn__present(&c->d_in[0])) return ATTN_OK;
    ATTN_TRY(attn__each_operand(&e, &c->d_out[0]));
    if (x) ATTN_TRY(attn__each_operand(&e, x));
    return K(sums_add)(&e, 0);
}

static attn_status K(pow_scalar_forward)(attn__call *c)
{
    return K(scalar_forward)(c, K(pow_scalar_row));
}

static attn_status K(pow_scalar_backward)(attn__call *c)
{
    return K(scalar_backward)(c, K(pow_scalar_slope), &c->in[0]);
}

static void K(add_scalar_row)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real *a = x[0], b = (real)c->attr.f[0];
    real *restrict to = y;
    for (int64_t i = 0; i < n; i++) to[i] = a[i] + b;
}

static attn_status K(add_scalar_forward)(attn__call *c)
{
    return K(scalar_forward)(c, K(add_scalar_row));
}

static attn_status K(add_scalar_backward)(attn__call *c)
{
    return K(scalar_backward)(c, NULL, NULL);
}

static void K(mul_scalar_row)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real *a = x[0], b = (real)c->attr.f[0];
    real *restrict to = y;
    for (int64_t i = 0; i < n; i++) to[i] = a[i] * b;
}

static attn_status K(mul_scalar_forward)(attn__call *c)
{
    return K(scalar_forward)(c, K(mul_scalar_row));
}

static attn_status K(mul_scalar_backward)(attn__call *c)
{
    return K(scalar_backward)(c, K(mul_scalar_row), NULL);
}

#endif
