/* SPDX-License-Identifier: MIT
 * score.c, for the files that make and use panels and tiles: the scores in front of the scale
 * by attn_score_kind. */
#ifndef ATTN__ENGINE_SCORE_H
#define ATTN__ENGINE_SCORE_H

#include "engine/engine.h"

void attn__score_plan(attn_plan *plan);
/* wt of the panel; memory: a row for each lane. */
void attn__score_weights(const attn__run *r, char *memory, attn__panel *panel);
/* t->s from the keys of the tile, stride apart. */
void attn__score_tile(attn__tile *t, const char *keys, int64_t stride);
/* t->ds, without slope, from the tangents of both sides (NULL: none); memory: [max(D, n)][w].
 */
void attn__score_tangents(attn__tile *t, const attn__pairs *pairs, void *memory);

/* tile_scores.c: the keys that all lanes see, in whole tiles of the product. */
void attn__tile_grid(attn__tile *t);
/* m[l] = -inf; the largest allowed score of each lane, in units of log 2. */
void attn__tile_max_begin(const attn__tile *t, void *m);
void attn__tile_max(const attn__tile *t, void *m);

#endif
