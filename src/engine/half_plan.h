/* SPDX-License-Identifier: MIT
 * What a plan holds for precision = half: where the integers lie. The story is in half_mode.c; a part
 * of engine.h. */
#ifndef ATTN__ENGINE_HALF_PLAN_H
#define ATTN__ENGINE_HALF_PLAN_H

#include "kernel/kernel.h"

typedef struct attn__half_plan {
    const attn__half *kernels; /* NULL: the call runs exact */
    int64_t pairs;             /* of features */
    int64_t rows;              /* of a head in the arrays of keys below */
    int64_t all;               /* of all heads */
    /* offsets into the workspace: pairs of features [all][pairs], pairs of keys [all / 2][E],
     * what one step of them is worth [all], the largest of 64 keys, words of rows that stay as they
     * are [all / 64] */
    int64_t keys, values, k_unit, v_unit, k_largest, k_bad, v_bad;
    int64_t q, q_unit; /* inside a panel: [pairs][w], [w] */
} attn__half_plan;

#endif
