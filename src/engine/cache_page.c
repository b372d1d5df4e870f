/* SPDX-License-Identifier: MIT
 * Which keys a sequence holds, and in which pages: bits, tables, and a stack of spare pages.
 * Pages are taken in ascending order from a new cache, those that came back first. */
#include <string.h>

#include "engine/cache_store.h"

uint64_t attn__cache_word(const attn_cache *c, int64_t seq, int64_t at, int64_t n)
{
    const uint64_t *held = attn__cache_bits(c, seq) + at / 64;
    const int shift = (int)(at % 64);
    uint64_t word = held[0] >> shift;
    if (shift && shift + n > 64) word |= held[1] << (64 - shift);
    return word & attn__low_bits(n);
}

void attn__cache_mark(attn_cache *c, int64_t seq, int64_t at, int64_t n, bool on)
{
    uint64_t *held = attn__cache_bits(c, seq);
    for (int64_t end = at + n, step; at < end; at += step) {
        step = attn__min(64 - at % 64, end - at);
        const uint64_t bits = attn__low_bits(step) << at % 64;
        held[at / 64] = on ? held[at / 64] | bits : held[at / 64] & ~bits;
    }
}

bool attn__cache_page_empty(const attn_cache *c, int64_t seq, int64_t column)
{
    const int64_t first = column * c->span, end = attn__min(first + c->span, c->words * 64);
    for (int64_t at = first; at < end; at += 64)
        if (attn__cache_word(c, seq, at, attn__min(64, end - at))) return false;
    return true;
}

static void page_drop(attn_cache *c, int64_t *entry)
{
    if (*entry < 0) return;
    if (--c->refs[*entry] == 0) c->spare[c->n_spare++] = *entry;
    *entry = -1;
}

void attn__cache_release(attn_cache *c, int64_t seq, int64_t first, int64_t end)
{
    if (!attn__cache_paged(c) || first >= end) return;
    int64_t *table = attn__cache_pages(c, seq);
    const int64_t last = attn__min(attn__ceil_div(end, c->span), c->columns);
    for (int64_t i = first / c->span; i < last; i++)
        if (table[i] >= 0 && attn__cache_page_empty(c, seq, i)) page_drop(c, &table[i]);
}

/* The first n rows of every head. */
static void page_copy(attn_cache *c, int64_t from, int64_t to, int64_t n)
{
    for (int64_t g = 0; g < 2 * c->spec.heads; g++) {
        const attn__cache_side *s = &c->side[g % 2];
        const int64_t a = attn__cache_first_row(c, from, g / 2);
        const int64_t b = attn__cache_first_row(c, to, g / 2);
        memcpy(s->data + b * s->row, s->data + a * s->row, (size_t)(n * s->row));
        if (s->scale) memcpy(s->scale + b, s->scale + a, (size_t)n * sizeof(float));
        if (s->zero) memcpy(s->zero + b, s->zero + a, (size_t)n * sizeof(float));
    }
}

int64_t attn__cache_own(attn_cache *c, int64_t seq, int64_t place)
{
    int64_t *entry = &attn__cache_pages(c, seq)[place / c->span], old = *entry;
    if (!attn__cache_paged(c) || (old >= 0 && c->refs[old] == 1)) return old;
    *entry = c->spare[--c->n_spare];
    c->refs[*entry] = 1;
    if (old >= 0) {
        c->refs[old]--;
        page_copy(c, old, *entry, place % c->span); /* those behind are still to come */
    }
    return *entry;
}

void attn__cache_share(attn_cache *c, int64_t from, int64_t to)
{
    const int64_t *theirs = attn__cache_pages(c, from);
    int64_t *ours = attn__cache_pages(c, to);
    if (!attn__cache_paged(c)) {
        page_copy(c, theirs[0], ours[0], attn__min(c->length[from], c->spec.capacity));
        return;
    }
    for (int64_t i = 0; i < c->columns; i++) {
        ours[i] = theirs[i];
        if (ours[i] >= 0) c->refs[ours[i]]++;
    }
}
