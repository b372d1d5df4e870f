/* SPDX-License-Identifier: MIT
 * Rows on their way into a cache and out of it: the tokens of an append (cache_rows.c), their
 * rotation, and what an element of each type is kept as (cache_code.c). */
#ifndef ATTN__CACHE_ROWS_H
#define ATTN__CACHE_ROWS_H

#include "engine/cache_store.h"
#include "engine/engine.h"

/* An append in canonical form. */
typedef struct attn__cache_job {
    attn_cache *cache;
    attn_tensor k, v; /* B G T D, B G T E; packed: B = 1 */
    attn_tensor seq, len, cu;
    attn_tensor cos, sin, pos;
    attn_rope_spec rope;
    int64_t B, R; /* sequences; turned elements, 0: none */
} attn__cache_job;

/* ---- cache_rows.c ----------------------------------------------------------------------- */

attn_status attn__cache_job_check(attn__cache_job *job, attn_cache *cache,
                                  const attn_cache_new *rows, attn_error *error);
int64_t attn__cache_job_seq(const attn__cache_job *job, int64_t b); /* of entry b */
int64_t attn__cache_job_len(const attn__cache_job *job, int64_t b); /* its rows that count */
/* Row i of entry b: where its first element lies. */
const void *attn__cache_job_row(const attn__cache_job *job, const attn_tensor *t, int64_t b,
                                int64_t g, int64_t i);

/* The position that its angles belong to. */
int64_t attn__cache_job_position(const attn__cache_job *job, int64_t b, int64_t i,
                                 int64_t position);

/* ---- cache_turn.c: cosines and sines ---------------------------------------------------- */

void attn__cache_thetas(const attn__cache_job *job);
/* Those of row i of entry b, at a position, into cache->turn. */
void attn__cache_angles(const attn__cache_job *job, int64_t b, int64_t i, int64_t position);

/* ---- cache_code.c ----------------------------------------------------------------------- */

/* A row of the job becomes row number `row` of head g. side 0: keys, turned by cache->turn when
 * the job turns. */
void attn__cache_put(const attn__cache_job *job, int side, const void *src, int64_t g,
                     int64_t row);
/* A row of head g from element `first` on, as kernels read rows; at: for its address. */
attn__rows attn__cache_row(const attn_cache *c, int side, int64_t g, int64_t row, int64_t first,
                           const void **at);

#endif
