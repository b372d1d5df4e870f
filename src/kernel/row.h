/* SPDX-License-Identifier: MIT
 * Rows of keys or values as they lie in tensors, pages and caches, and how their elements are
 * coded. A part of kernel.h. */
#ifndef ATTN__KERNEL_ROW_H
#define ATTN__KERNEL_ROW_H

#include "base/base.h"

/* ATTN__ROW_F64, ATTN__ROW_F32 ... of rows.def */
typedef enum attn__row_kind {
#define ROW(NAME, name, bits, coded) ATTN__ROW_##NAME,
#include "kernel/rows.def"
#undef ROW
    ATTN__N_ROWS
} attn__row_kind;

typedef struct attn__row_form {
    int bits; /* of an element */
    bool coded;
} attn__row_form;
static inline attn__row_form attn__row_form_of(attn__row_kind kind)
{
    static const attn__row_form forms[] = {
#define ROW(NAME, name, bits, coded) {bits, coded},
#include "kernel/rows.def"
#undef ROW
    };
    return forms[kind];
}

/* Of a tensor of floats. ORDER attn_dtype attn__row_kind */
static inline attn__row_kind attn__row_kind_of(attn_dtype dtype)
{
    static const attn__row_kind kinds[] = {[ATTN_DTYPE_F64] = ATTN__ROW_F64,
                                           [ATTN_DTYPE_F32] = ATTN__ROW_F32,
                                           [ATTN_DTYPE_BF16] = ATTN__ROW_BF16,
                                           [ATTN_DTYPE_F16] = ATTN__ROW_F16};
    return kinds[dtype];
}

/* Keys or values wherever they lie: element d of row i is the number q at row[i], and stands for
 * q, or, when coded, for fma(q, scale, zero) in f32 with the scale and zero of the row, or of
 * the column. A zero that is NULL counts as 0. Each row is contiguous; its address is aligned
 * to nothing. */
typedef struct attn__rows {
    attn__row_kind kind;
    const void *const *row;    /* [n] */
    const float *scale, *zero; /* [n], or NULL */
    const float *columns,
        *offsets;             /* scale and zero of a column, [width], where scale is NULL */
    const void *const *ahead; /* [n]: rows to ask for while row i is worked on, or NULL */
    bool far; /* so far ahead that the second cache holds them: the first is asked again, right
                 before they are read; row goes on for ATTN__ROWS_NEAR more, for this alone */
} attn__rows;

enum { ATTN__ROWS_NEAR = 64 };

/* How numbers become whole: q of fma(q, scale, zero), low <= q <= high. */
typedef struct attn__coding {
    int bits; /* 8: a byte each; 4: two to a byte, the first in the low half */
    float low, high;
    const float *scale, *zero; /* of each element when columns, else one; zero NULL: 0 */
    bool columns;
} attn__coding;

#endif
