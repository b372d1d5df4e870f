/* SPDX-License-Identifier: MIT
 * rotate.c: rotary positions, for the files of the engine that meet keys and queries. */
#ifndef ATTN__ENGINE_ROTATE_H
#define ATTN__ENGINE_ROTATE_H

#include "engine/engine.h"

/* The two elements of a head that angle t turns. */
void attn__rotate_pair(attn_rope_kind kind, int64_t R, int64_t t, int64_t *first,
                       int64_t *second);
void attn__rotate_plan(attn_plan *plan);
/* Where turned key j of a sequence lies: dense, [N, or 1 when packed][G][S][D]. */
void *attn__rotated_key(const attn__run *r, const attn__seq *seq, int64_t g, int64_t j);
void *attn__rotated_tangent(const attn__run *r, const attn__seq *seq, int64_t g, int64_t j);
void attn__rotate_row(const attn__run *r, int64_t position, void *row); /* D reals in place */
/* The other way round, D doubles at this stride. */
void attn__rotate_back(const attn__run *r, int64_t position, double *row, int64_t stride);
int64_t attn__rotate_k_position(const attn__run *r, const attn__seq *seq, int64_t j);
/* The angles of all positions, then every key turned, into the workspace; parallel. */
void attn__rotate_keys(attn__run *r);
int64_t attn__rotate_q_position(const attn__run *r, const attn__seq *seq, int64_t i);

#endif
