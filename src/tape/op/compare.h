/* SPDX-License-Identifier: MIT
 * Questions about two operands, answered in bools: reals as IEEE 754 compares them (a NaN is
 * less than nothing and equal to nothing), integers as integers. */
#ifndef ATTN__TAPE_OP_COMPARE_H
#define ATTN__TAPE_OP_COMPARE_H

#include "tape/op/binary.h"

static attn_status K(compare_forward)(attn__call *c, attn__each_row reals, attn__each_row ints)
{
    return K(binary_forward)(c, attn__dtype_is_int(c->in[0].dtype) ? ints : reals);
}

static void K(less_row)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real *a = x[0], *b = x[1];
    uint8_t *restrict to = y;
    (void)c;
    for (int64_t i = 0; i < n; i++) to[i] = a[i] < b[i];
}

static void K(less_row_int)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const int64_t *a = x[0], *b = x[1];
    uint8_t *restrict to = y;
    (void)c;
    for (int64_t i = 0; i < n; i++) to[i] = a[i] < b[i];
}

static attn_status K(less_forward)(attn__call *c)
{
    return K(compare_forward)(c, K(less_row), K(less_row_int));
}

static void K(less_equal_row)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real *a = x[0], *b = x[1];
    uint8_t *restrict to = y;
    (void)c;
    for (int64_t i = 0; i < n; i++) to[i] = a[i] <= b[i];
}

static void K(less_equal_row_int)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const int64_t *a = x[0], *b = x[1];
    uint8_t *restrict to = y;
    (void)c;
    for (int64_t i = 0; i < n; i++) to[i] = a[i] <= b[i];
}

static attn_status K(less_equal_forward)(attn__call *c)
{
    return K(compare_forward)(c, K(less_equal_row), K(less_equal_row_int));
}

static void K(equal_row)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const real *a = x[0], *b = x[1];
    uint8_t *restrict to = y;
    (void)c;
    for (int64_t i = 0; i < n; i++) to[i] = a[i] == b[i];
}

static void K(equal_row_int)(const attn__call *c, int64_t n, const void *const *x, void *y)
{
    const int64_t *a = x[0], *b = x[1];
    uint8_t *restrict to = y;
    (void)c;
    for (int64_t i = 0; i < n; i++) to[i] = a[i] == b[i];
}

static attn_status K(equal_forward)(attn__call *c)
{
    return K(compare_forward)(c, K(equal_row), K(equal_row_int));
}

#endif
