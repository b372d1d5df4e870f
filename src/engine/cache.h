/* SPDX-License-Identifier: MIT
 * What the engine asks of a cache (include/attn/cache.h): which positions are held, and where
 * their rows lie. Implemented by cache_*.c; a reader changes nothing, so threads may share it. */
#ifndef ATTN__ENGINE_CACHE_H
#define ATTN__ENGINE_CACHE_H

#include "attn/cache.h"
#include "kernel/kernel.h"

bool attn__cache_alive(const attn_cache *cache);
const attn_cache_spec *attn__cache_spec(const attn_cache *cache);
/* Whether a tensor lies in the memory of the cache, which is one block. */
bool attn__cache_overlaps(const attn_cache *cache, const attn_tensor *t);

/* Memory for a look at up to ATTN__CHUNK keys. */
typedef struct attn__cache_look {
    const void *row[3 * ATTN__CHUNK]; /* n keys, n values, room for keys behind them */
    float k_scale[ATTN__CHUNK], k_zero[ATTN__CHUNK], v_scale[ATTN__CHUNK], v_zero[ATTN__CHUNK];
    uint64_t held[ATTN__CHUNK / 64]; /* bit i of the words: key j0 + i is held */
} attn__cache_look;

/* Rows of keys j0 .. j0 + n (n at most ATTN__CHUNK, all below the length) of head g, into look,
 * with k and v pointing there. A row that is not held points at some row that may be read.
 * Returns whether all are held. */
bool attn__cache_rows(const attn_cache *cache, int64_t seq, int64_t g, int64_t j0, int64_t n,
                      attn__cache_look *look, attn__rows *k, attn__rows *v);
/* Addresses of the same keys alone. */
void attn__cache_keys(const attn_cache *cache, int64_t seq, int64_t g, int64_t j0, int64_t n,
                      const void **row);
/* The first held position at or beyond j, or the length. */
int64_t attn__cache_next(const attn_cache *cache, int64_t seq, int64_t j);
/* How many leading chunks of ATTN__CHUNK keys two sequences share in memory. */
int64_t attn__cache_shared(const attn_cache *cache, int64_t a, int64_t b);
/* The same number for all that share their first chunk, hardly for others. */
uint64_t attn__cache_front(const attn_cache *cache, int64_t seq);
static inline uint64_t attn__front_add(uint64_t front, int64_t page)
{
    return (front ^ (uint64_t)page) * UINT64_C(0x9e3779b97f4a7c15);
}

#endif
