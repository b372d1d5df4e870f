/* SPDX-License-Identifier: MIT
 * Tangents along with a forward pass: jvp.c, for the files of the engine that carry them. */
#ifndef ATTN__ENGINE_JVP_H
#define ATTN__ENGINE_JVP_H

#include "engine/engine.h"

void attn__jvp_open(const attn__run *r, char *scratch, const attn__seq *seq,
                    attn__panel *panel);
void attn__jvp_reset(const attn__run *r, attn__panel *panel);
void attn__jvp_fold(const attn__run *r, const char *acc, attn__panel *panel);
/* mean: what turns the sum of the tangents into that of lse; inv: what turns so into out. */
void attn__jvp_close(const attn__run *r, char *scratch, const attn__seq *seq,
                     attn__panel *panel, const double *mean, const double *inv);
/* Before the scores of a tile are made; then; at each block of n weights from key first on,
 * made but not dropped; behind the last. */
void attn__jvp_begin(attn__tile *t);
void attn__jvp_scores(attn__tile *t, const attn__staged *staged, int64_t chunk0);
void attn__jvp_block(attn__tile *t, const attn__staged *staged, int64_t chunk0, int64_t first,
                     int64_t n);
void attn__jvp_tables(attn__tile *t);

#endif
