/* SPDX-License-Identifier: MIT
 * Rows that become reals late: late.c. A part of the engine. */
#ifndef ATTN__ENGINE_LATE_H
#define ATTN__ENGINE_LATE_H

#include "engine/engine.h"

/* Whether tasks of one panel widen their rows late. */
bool attn__late_plan(const attn_plan *plan);
/* attn__stage_chunk, with nothing widened yet. */
attn__staged attn__late_stage(const attn__run *r, char *scratch, const attn__seq *seq,
                              int64_t g, int64_t j0, int64_t j1);
/* Rows of caches and pages that are needed after this: the keys behind the chunk, its values. */
void attn__late_warm(const attn__run *r, const attn__staged *staged, attn__warm *warm);
void attn__late_scores(const attn__tile *t, const attn__staged *staged, int64_t chunk0);
/* Values of keys j .. j + n of the sequence, n at most ATTN__BLOCK. */
const void *attn__late_values(const attn__tile *t, const attn__staged *staged, int64_t chunk0,
                              int64_t j, int64_t n, int64_t *stride);

#endif
