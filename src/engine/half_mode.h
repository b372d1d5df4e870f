/* SPDX-License-Identifier: MIT
 * half_mode.c, for the files that plan, run, and make panels and tiles: precision = half. */
#ifndef ATTN__ENGINE_HALF_MODE_H
#define ATTN__ENGINE_HALF_MODE_H

#include "engine/engine.h"

/* Whether and where; false on overflow. */
bool attn__half_plan_make(attn_plan *plan);
/* Every key and value as integers, into the workspace; parallel. */
void attn__half_rows(attn__run *r);
void attn__half_queries(const attn__run *r, attn__panel *panel); /* from qt */
/* t->s from the keys of the tile; acc += weights of keys first .. first + n, or = in the first
 * block. */
void attn__half_scores(attn__tile *t);
void attn__half_weigh(const attn__tile *t, int64_t first, int64_t n);
/* Both the weights of these keys and what they weigh, by the largest scores m; l += their sum.
 * False: not a whole block that all lanes see, or not so simple. */
bool attn__half_both(const attn__tile *t, int64_t first, int64_t n, const void *m, void *l);

#endif
