/* SPDX-License-Identifier: MIT
 * Tiles of few queries: few.c, the kernels for few lanes at work. A part of the engine. */
#ifndef ATTN__ENGINE_FEW_H
#define ATTN__ENGINE_FEW_H

#include "engine/engine.h"

enum { ATTN__FEW_AHEAD = 128 }; /* rows further on that are asked for, at most */

/* Whether panels of at most ATTN__FEW queries may go this way. */
void attn__few_plan(attn_plan *plan);
/* Reals between two lanes of the sums. */
static inline int64_t attn__few_ld(const attn__kernels *k, int64_t width)
{
    return attn__ceil_div(width, k->step) * k->step;
}
/* attn__stage_chunk, with rows in place of what is staged. */
attn__staged attn__few_stage(const attn__run *r, char *scratch, const attn__seq *seq, int64_t g,
                             int64_t j0, int64_t j1);
/* Reals of a row of the tile's scores. */
int attn__few_width(const attn__tile *t);
void attn__few_scores(const attn__tile *t, const attn__staged *staged, int64_t chunk0);
/* As tile_weigh; the sums wait in memory of their own until attn__few_turn makes acc of them. */
void attn__few_weigh(const attn__tile *t, const attn__staged *staged, int64_t chunk0,
                     int64_t first, int64_t n, bool masked);
void attn__few_turn(const attn__tile *t);

#endif
