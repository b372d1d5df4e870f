/* SPDX-License-Identifier: MIT
 * Where rows of keys and values lie as integers: half_rows.c makes them, half_mode.c multiplies them.
 * Rows of a head are numbered through all heads; a packed sequence begins at a block. */
#ifndef ATTN__ENGINE_HALF_ROWS_H
#define ATTN__ENGINE_HALF_ROWS_H

#include "engine/half_mode.h"

static inline int64_t attn__half_blocks(int64_t n)
{
    return attn__ceil_div(n, ATTN__HALF_BLOCK) * ATTN__HALF_BLOCK;
}

/* Key j of a sequence. */
static inline int64_t attn__half_row(const attn__run *r, const attn__seq *seq, int64_t g,
                                     int64_t j)
{
    const attn__problem *p = r->p;
    const int64_t head = (p->packed_k ? 0 : seq->b) * p->G + g;
    const int64_t begin = attn__half_blocks(seq->k0) + seq->b * ATTN__HALF_BLOCK;
    return head * r->plan->half.rows + (p->packed_k ? begin : 0) + j;
}

static inline int16_t *attn__half_keys(const attn__run *r, int64_t row)
{
    const attn__half_plan *half = &r->plan->half;
    return (int16_t *)(void *)(r->workspace + half->keys) + 2 * row * half->pairs;
}

/* Of a row that begins a block. */
static inline int16_t *attn__half_values(const attn__run *r, int64_t row)
{
    return (int16_t *)(void *)(r->workspace + r->plan->half.values) + row * r->p->E;
}

/* Of keys or of values. */
static inline float *attn__half_unit(const attn__run *r, int64_t units, int64_t row)
{
    return (float *)(void *)(r->workspace + units) + row;
}

/* The word of 64 rows, keys or values, and the largest unit of 64 keys. */
static inline uint64_t *attn__half_bad(const attn__run *r, int64_t words, int64_t row)
{
    return (uint64_t *)(void *)(r->workspace + words) + row / ATTN__BLOCK;
}

static inline float *attn__half_largest(const attn__run *r, int64_t row)
{
    return (float *)(void *)(r->workspace + r->plan->half.k_largest) + row / ATTN__BLOCK;
}

#endif
