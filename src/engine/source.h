/* SPDX-License-Identifier: MIT
 * Keys and values of caches and page tables, for the files of the engine that meet them, and
 * what sequences share there. A part of the engine. */
#ifndef ATTN__ENGINE_SOURCE_H
#define ATTN__ENGINE_SOURCE_H

#include "engine/engine.h"

/* ---- check_source.c ---------------------------------------------------------------------- */

attn_status attn__source_check(attn__problem *p, attn_error *error); /* before any shape */
attn_status attn__source_check_data(const attn__problem *p, attn_error *error);
void attn__source_bytes(attn__problem *p); /* k_bytes and v_bytes */
/* Whether a cache serves a plan made for another. */
attn_status attn__source_rebind(attn__problem *p, const attn_cache *cache, attn_error *error);
attn__row_kind attn__source_kind(attn_cache_type type);
/* The format of the values: that of the keys, where they are a part of them. */
const attn_cache_format *attn__source_values(const attn__problem *p);

/* ---- source.c: keys and values of caches and page tables --------------------------------- */

/* Rows of keys j0 .. j0 + n of a chunk; memory: for those that have to be gathered, as
 * attn__stage_chunk has it. Whether none of them is forgotten. */
bool attn__source_rows(const attn__run *r, char *scratch, const attn__seq *seq, int64_t g,
                       int64_t j0, int64_t n, attn__rows *k, attn__rows *v);
/* Where the keys behind those lie, at most ATTN__CHUNK: the look has them behind its values. */
void attn__source_behind(const attn__run *r, char *scratch, const attn__seq *seq, int64_t g,
                         int64_t j0, int64_t n, int64_t behind);
/* Rows first .. first + n of these as reals, in place or in memory; *stride is that of the result. */
const void *attn__source_reals(const attn__run *r, const attn__rows *rows, int64_t first,
                               int64_t n, int64_t width, char *memory, int64_t *stride);
attn__staged attn__source_stage(const attn__run *r, char *scratch, const attn__seq *seq,
                                int64_t g, int64_t j0, int64_t n);
/* The first chunk from this one on that has a key; behind the last one, any from there on. */
int64_t attn__source_next(const attn__problem *p, const attn__seq *seq, int64_t chunk);
/* Keys at most in all chunks that have one, of a sequence. */
int64_t attn__source_span(const attn__problem *p);

/* ---- cascade.c: sequences with a common beginning ---------------------------------------- */

int64_t attn__cascade_joints(const attn__problem *p); /* at most, over a run */
int64_t attn__cascade_bytes(const attn__problem *p);  /* of the state of one, for one head */
void attn__cascade_find(attn__run *r);
void attn__cascade_run(attn__run *r); /* their shared chunks; parallel */
/* The state of an open panel becomes what its joint left, if there was one. */
void attn__cascade_take(const attn__run *r, const attn__seq *seq, int64_t g,
                        attn__panel *panel);

#endif
