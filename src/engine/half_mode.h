/* SPDX-License-Identifier: MIT
 * half_mode.c, for the files that plan, run, and make panels and tiles: precision = half. */
#ifndef ATTN__ENGINE_HALF_MODE_H
#define ATTN__ENGINE_HALF_MODE_H

#include "engine/engine.h"

/* What the weights of each lane come to, times their units. */
typedef struct attn__half_sums {
    float sum[ATTN__PANEL], most[ATTN__PANEL];
    bool times; /* t->s holds these products, no longer the weights */
} attn__half_sums;

void attn__half_choose(attn_plan *plan); /* whether */
/* Where; false on overflow. */
bool attn__half_plan_make(attn_plan *plan);
/* Every key and value as integers, into the workspace; parallel. */
void attn__half_rows(attn__run *r);
void attn__half_queries(const attn__run *r, attn__panel *panel); /* from qt */
void attn__half_scores(attn__tile *t); /* t->s from the keys of the tile */
/* The weights of keys first .. first + n, which lie in one ATTN__HALF_BLOCK, by the largest scores
 * m; l += their sum. False: the normaliser has weights of its own. */
bool attn__half_weights(const attn__tile *t, int64_t first, int64_t n, const void *m, void *l,
                        attn__half_sums *sums);
/* acc += these weights times the values, or = in the first block; sums NULL: not known. */
void attn__half_weigh(const attn__tile *t, int64_t first, int64_t n, attn__half_sums *sums);

#endif
