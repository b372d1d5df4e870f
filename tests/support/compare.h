/* SPDX-License-Identifier: MIT
 * Inside the comparisons: one element against its bound, noted in a report. */
#ifndef SUPPORT_COMPARE_H
#define SUPPORT_COMPARE_H

#include "support/support.h"

typedef struct compare_place {
    const char *what;
    const attn_tensor *t;
    int64_t index[ATTN_MAX_RANK];
    double unit, tiny;
    double per_kappa, flat; /* u (flat + per_kappa kappa) */
    double operations;      /* on a score after its products */
    bool narrow;            /* through f32 */
    test_report *report;
} compare_place;

/* Starts at the first element of t; false when there is none. */
bool compare_begin(compare_place *at, const char *what, const attn_tensor *t);
/* What lies at the place should be want within error. Special values must be met exactly. */
void compare_value(const compare_place *at, double want, double error);
/* Whether t repeats one element along a dimension (counted from the last). */
bool compare_repeats(const attn_tensor *t, int from_last);

#endif
