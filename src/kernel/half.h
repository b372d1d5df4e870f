/* SPDX-License-Identifier: MIT
 * The loops of the half mode, in 16-bit integers with sums of 32: body/half_dot.h, half_exp.h and
 * half_row.h. A part of kernel.h, whose words it uses. */
#ifndef ATTN__KERNEL_HALF_H
#define ATTN__KERNEL_HALF_H

#include "base/base.h"

enum {
    ATTN__HALF_BLOCK = 128,    /* keys whose weights are rounded together */
    ATTN__HALF_GROUP = 8,      /* columns whose values lie together */
    ATTN__HALF_MOST = 32767,   /* of an int16 */
    ATTN__HALF_NORM = 46000,   /* of a row of int16, so that no product of two leaves int32 */
    ATTN__HALF_SUM = 65000,    /* of the weights of a block, before they are rounded */
    ATTN__HALF_WEIGHT = 32700, /* of one of them */
    ATTN__HALF_DEPTH = 1 << 16 /* features at most */
};

/* Keys first .. first + n of a block of ATTN__HALF_BLOCK; values and units from its key 0. Values
 * lie in groups of ATTN__HALF_GROUP columns, [width / group][pairs of the block][group], as the
 * product walks them; columns that are left over are a narrower group. */
typedef struct attn__half_block {
    int first, n;
    const int16_t *v; /* [ATTN__HALF_BLOCK / 2] pairs of keys for each column */
    const float
        *unit; /* [ATTN__HALF_BLOCK]; 0: the key takes no part; NULL: exp_block was here */
    const float *sum, *most; /* [w]: as exp left them; NULL: to be made */
} attn__half_block;

/* Integers n = fma(x, f, M) - M with M = 1.5 * 2^23. Pairs: two int16, the first one low. Lanes
 * w and arrays over them as in attn__kernels; reals are floats. */
typedef struct attn__half {
    /* most[l] = the largest |t[d * w + l]|, d < n, NaN if there is one; square[l] = the fma chain
     * of their squares. */
    void (*sizes)(int64_t n, int w, const void *t, float *most, float *square);
    /* most[j] = the largest |rows[j * stride + e]|, e < width, NaN if there is one. */
    void (*most)(int64_t n, int64_t width, const void *rows, int64_t stride, float *most);
    /* pairs[d / 2][l] = t[d * w + l] and t[(d + 1) * w + l] times factor[l]; d < depth, 0 beyond. */
    void (*queries)(int64_t depth, int w, const void *t, const float *factor, int16_t *pairs);
    /* rows[j][d] = k[j * k_stride + d] times factor[j]; a row is depth rounded up to even. */
    void (*keys)(int64_t n, int64_t depth, const void *k, int64_t k_stride, const float *factor,
                 int16_t *rows);
    /* Keys first .. first + n of a block, first even: v[j * v_stride + e] times factor[j]; the
     * last of a pair is 0 beyond n. */
    void (*values)(int64_t first, int64_t n, int64_t width, const void *v, int64_t v_stride,
                   const float *factor, int16_t *block);
    /* s[j * ld + l] = ((float) sum over the pairs of k[j] and lane l * k_unit[j]) * q_unit[l];
     * top[l] = max(top[l], s[j][l]). */
    void (*scores)(int64_t n, int w, int64_t pairs, const int16_t *k, const float *k_unit,
                   const int16_t *q, const float *q_unit, int ld, void *s, float *top);
    /* exp_sum by section 17 of docs/numerics.md, and with x_j = s[j][l] * unit[first + j]:
     * sum[l] += (L_0 + L_1) + (L_2 + L_3), L_i the chain of x_j over first + j mod 4 = i;
     * most[l] = max(most[l], x_j). first + n is at most ATTN__BLOCK. */
    void (*exp)(int first, int n, int w, double coef, void *s, const uint64_t *allowed,
                const float *unit, const float *m, float *l, float *sum, float *most);
    /* The same over a whole block that every lane sees, and s[j][l] = x_j in place of the weight. */
    void (*exp_block)(int w, double coef, void *s, const float *unit, const float *m, float *l,
                      float *sum, float *most);
    /* L, most: sum over the two halves of the block, and most, of exp; g = max(L / 65000, most /
     * 32700), n_j = x_j times 1 / g; where L is below 2^-100 both are 0. acc[e * ld + l] +=
     * (float) sum of n_j v_je, times g, one fma. fresh: acc counts as 0. */
    void (*weigh)(const attn__half_block *block, int w, int64_t width, const void *p, int ld,
                  bool fresh, void *acc);
} attn__half;

struct attn__kernels;
/* What runs it beside a table on this CPU; NULL: nothing does. */
const attn__half *attn__half_pick(const struct attn__kernels *table);

#endif
