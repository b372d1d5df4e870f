/* SPDX-License-Identifier: MIT
 * What op_norm.c tells the bodies in op/norm.h. */
#ifndef ATTN__TAPE_NORM_H
#define ATTN__TAPE_NORM_H

#include "tape/tape.h"

typedef enum attn__norm_kind {
    ATTN__NORM_LAYER,
    ATTN__NORM_RMS,
    ATTN__NORM_GROUP,
    ATTN__NORM_BATCH
} attn__norm_kind;

/* x as rows x channels x inner; row r starts at channel r % groups * channels of w and b. The
 * rows are the sets of layernorm, rmsnorm and groupnorm; of batchnorm they are the samples. */
typedef struct attn__norm_plan {
    int64_t rows, groups, channels, inner;
    double eps;
    bool centred;
} attn__norm_plan;

attn__norm_plan attn__norm_plan_of(const attn__call *c, attn__norm_kind kind);

/* Moves the caller's running estimates, when this forward should. stats: mean and var of each
 * channel over count elements. */
void attn__norm_update(const attn__call *c, int64_t count, const double *stats);

#endif
