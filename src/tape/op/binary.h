/* SPDX-License-Identifier: MIT
 * Rows of two operands: what becomes of a and b, and what the gradient g of that means for
 * each. Neither operand is ever expanded; a gradient is summed over what its operand was
 * repeated along (sums.h). A number is one element: no order of evaluation shows.
 *
 *   add    g, g               maximum   a where a >= b or a is NaN, else b; g goes where the
 *   sub    g, -g              minimum   value came from
 *   mul    g b, g a           where     c a b: so does g; what is not chosen is not looked at
 *   div    g/b, -(g/b)(a/b) */
#ifndef ATTN__TAPE_OP_BINARY_H
#define ATTN__TAPE_OP_BINARY_H

#include "tape/op/sums.h"

/* ---- both ways --------------------------------------------------------------------------- */

static attn_status K(binary_forward)(attn__call *c, attn__each_row row)
{
    attn__each e = attn__each_of(c, row, &c->out[0]);
    ATTN_TRY(attn__each_operand(&e, &c->in[0]));
    ATTN_TRY(attn__each_operand(&e, &c->in[1]));
    attn__each_fill(&e, &c->out[0]);
    return ATTN_OK;
}

/* d_in[i] gets row(g, a, b); row NULL: g. */
static attn_status K(binary_slope)(attn__call *c, int i, attn__each_row row)
{
    attn__each e = attn__each_of(c, row, &c->d_out[0]);
    if (!attn__present(&c->d_in[i])) return ATTN_OK;
    ATTN_TRY(attn__each_operand(&e, &c->d_out[0]));
    if (attn__ops[c->op].flags & ATTN__OP_NEEDS_IN) {
        ATTN_TRY(attn__each_operand(&e, &c->in[0]));
        ATTN_TRY(attn__each_operand(&e, &c->in[1]));
    }
    return K(sums_add)(&e, i);
}

static attn_status K(binary_backward)(attn__call *c, attn__each_row to_a, attn__each_row to_b)
{
    ATTN_TRY(K(binary_slope)(c, 0, to_a));
    return K(binary_slope)(c, 1, to_b);
}

/* ---- add sub mul div --------------------------------------------------------------------- */

static void K(add_row)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real *a = x[0], *b = x[1];
    real *restrict to = y;
    (void)c;
    for (int64_t i = 0; i < n; i++) to[i] = a[i] + b[i];
}

static attn_status K(add_forward)(attn__call *c)
{
    return K(binary_forward)(c, K(add_row));
}

static attn_status K(add_backward)(attn__call *c)
{
    return K(binary_backward)(c, NULL, NULL);
}

static void K(sub_row)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real *a = x[0], *b = x[1];
    real *restrict to = y;
    (void)c;
    for (int64_t i = 0; i < n; i++) to[i] = a[i] - b[i];
}

static void K(minus_row)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real *a = x[0];
    real *restrict to = y;
    (void)c;
    for (int64_t i = 0; i < n; i++) to[i] = -a[i];
}

static attn_status K(sub_forward)(attn__call *c)
{
    return K(binary_forward)(c, K(sub_row));
}

static attn_status K(sub_backward)(attn__call *c)
{
    return K(binary_backward)(c, NULL, K(minus_row));
}

static void K(mul_row)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real *a = x[0], *b = x[1];
    real *restrict to = y;
    (void)c;
    for (int64_t i = 0; i < n; i++) to[i] = a[i] * b[i];
}

static void K(mul_row_b)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const void *const g_b[] = {x[0], x[2]};
    K(mul_row)(c, n, g_b, y);
}

static attn_status K(mul_forward)(attn__call *c)
{
    return K(binary_forward)(c, K(mul_row));
}

static attn_status K(mul_backward)(attn__call *c)
{
    return K(binary_backward)(c, K(mul_row_b), K(mul_row));
}

static void K(div_row)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real *a = x[0], *b = x[1];
    real *restrict to = y;
    (void)c;
    for (int64_t i = 0; i < n; i++) to[i] = a[i] / b[i];
}

static void K(div_row_a)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const void *const g_b[] = {x[0], x[2]};
    K(div_row)(c, n, g_b, y);
}

static void K(div_row_b)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real *g = x[0], *a = x[1], *b = x[2];
    real *restrict to = y;
    (void)c;
    for (int64_t i = 0; i < n; i++) to[i] = -(g[i] / b[i]) * (a[i] / b[i]);
}

static attn_status K(div_forward)(attn__call *c)
{
    return K(binary_forward)(c, K(div_row));
}

static attn_status K(div_backward)(attn__call *c)
{
    return K(binary_backward)(c, K(div_row_a), K(div_row_b));
}

/* ---- maximum minimum --------------------------------------------------------------------- */

static void K(maximum_row)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real *a = x[0], *b = x[1];
    real *restrict to = y;
    (void)c;
    for (int64_t i = 0; i < n; i++) to[i] = a[i] >= b[i] || a[i] != a[i] ? a[i] : b[i];
}

static void K(maximum_row_a)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real *g = x[0], *a = x[1], *b = x[2];
    real *restrict to = y;
    (void)c;
    for (int64_t i = 0; i < n; i++) to[i] = a[i] >= b[i] || a[i] != a[i] ? g[i] : 0;
}

static void K(maximum_row_b)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real *g = x[0], *a = x[1], *b = x[2];
    real *restrict to = y;
    (void)c;
    for (int64_t i = 0; i < n; i++) to[i] = a[i] >= b[i] || a[i] != a[i] ? 0 : g[i];
}

static attn_status K(maximum_forward)(attn__call *c)
{
    return K(binary_forward)(c, K(maximum_row));
}

static attn_status K(maximum_backward)(attn__call *c)
{
    return K(binary_backward)(c, K(maximum_row_a), K(maximum_row_b));
}

static void K(minimum_row)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real *a = x[0], *b = x[1];
    real *restrict to = y;
    (void)c;
    for (int64_t i = 0; i < n; i++) to[i] = a[i] <= b[i] || a[i] != a[i] ? a[i] : b[i];
}

static void K(minimum_row_a)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real *g = x[0], *a = x[1], *b = x[2];
    real *restrict to = y;
    (void)c;
    for (int64_t i = 0; i < n; i++) to[i] = a[i] <= b[i] || a[i] != a[i] ? g[i] : 0;
}

static void K(minimum_row_b)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real *g = x[0], *a = x[1], *b = x[2];
    real *restrict to = y;
    (void)c;
    for (int64_t i = 0; i < n; i++) to[i] = a[i] <= b[i] || a[i] != a[i] ? 0 : g[i];
}

static attn_status K(minimum_forward)(attn__call *c)
{
    return K(binary_forward)(c, K(minimum_row));
}

static attn_status K(minimum_backward)(attn__call *c)
{
    return K(binary_backward)(c, K(minimum_row_a), K(minimum_row_b));
}

/* ---- where: operands c a b --------------------------------------------------------------- */

static void K(where_row)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const uint8_t *which = x[0];
    const real *a = x[1], *b = x[2];
    real *restrict to = y;
    (void)c;
    for (int64_t i = 0; i < n; i++) to[i] = which[i] ? a[i] : b[i];
}

static void K(where_row_a)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const uint8_t *which = x[0];
    const real *g = x[1];
    real *restrict to = y;
    (void)c;
    for (int64_t i = 0; i < n; i++) to[i] = which[i] ? g[i] : 0;
}

static void K(where_row_b)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const uint8_t *which = x[0];
    const real *g = x[1];
    real *restrict to = y;
    (void)c;
    for (int64_t i = 0; i < n; i++) to[i] = which[i] ? 0 : g[i];
}

static attn_status K(where_forward)(attn__call *c)
{
    attn__each e = attn__each_of(c, K(where_row), &c->out[0]);
    ATTN_TRY(attn__each_bools(&e, &c->in[0]));
    ATTN_TRY(attn__each_operand(&e, &c->in[1]));
    ATTN_TRY(attn__each_operand(&e, &c->in[2]));
    attn__each_fill(&e, &c->out[0]);
    return ATTN_OK;
}

static attn_status K(where_backward)(attn__call *c)
{
    const attn__each_row rows[] = {K(where_row_a), K(where_row_b)};
    for (int i = 0; i < 2; i++) {
        attn__each e = attn__each_of(c, rows[i], &c->d_out[0]);
        if (!attn__present(&c->d_in[i + 1])) continue;
        ATTN_TRY(attn__each_bools(&e, &c->in[0]));
        ATTN_TRY(attn__each_operand(&e, &c->d_out[0]));
        ATTN_TRY(K(sums_add)(&e, i + 1));
    }
    return ATTN_OK;
}

#endif
