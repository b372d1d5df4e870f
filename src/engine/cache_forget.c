/* SPDX-License-Identifier: MIT
 * Sequences become shorter, thinner, empty, or two: no row moves, but where a fork of rooms that
 * cannot be shared copies them. */
#include <string.h>

#include "engine/cache_store.h"

/* Positions first .. end are held no more. Those a ring has left behind have no bit. */
static void forget_range(attn_cache *c, int64_t seq, int64_t first, int64_t end)
{
    const int64_t sinks = c->spec.sinks, start = c->start[seq], begin = first;
    for (int64_t n; first < end; first += n) {
        n = end - first;
        if (first >= sinks && first < start) {
            n = attn__min(n, start - first);
            continue;
        }
        const int64_t place = attn__cache_place(c, first);
        if (c->spec.kind == ATTN_CACHE_RING)
            n = attn__min(n, first < sinks ? sinks - first : c->spec.capacity - place);
        attn__cache_mark(c, seq, place, n, false);
    }
    attn__cache_release(c, seq, begin, end);
}

attn_status attn_cache_truncate(attn_cache *cache, int64_t seq, int64_t length,
                                attn_error *error)
{
    ATTN_TRY(attn__cache_seq_check(cache, seq, "seq", error));
    if (length < 0 || length > cache->length[seq])
        return attn__fail_count(error, ATTN_E_POSITION, "length",
                                "a sequence is rolled back to 0 .. its length",
                                cache->length[seq], length);
    forget_range(cache, seq, length, cache->length[seq]);
    cache->length[seq] = length;
    /* Behind a ring that was rolled back to before its oldest key nothing is left. */
    if (cache->spec.kind == ATTN_CACHE_RING && length < cache->start[seq])
        cache->start[seq] = attn__max(length, cache->spec.sinks);
    return ATTN_OK;
}

attn_status attn_cache_clear(attn_cache *cache, int64_t seq, attn_error *error)
{
    return attn_cache_truncate(cache, seq, 0, error);
}

attn_status attn_cache_evict(attn_cache *cache, int64_t seq, int64_t first, int64_t n,
                             attn_error *error)
{
    ATTN_TRY(attn__cache_range_check(cache, seq, first, n, error));
    forget_range(cache, seq, first, first + n);
    return ATTN_OK;
}

attn_status attn_cache_fork(attn_cache *cache, int64_t from, int64_t to, attn_error *error)
{
    ATTN_TRY(attn__cache_seq_check(cache, from, "from", error));
    ATTN_TRY(attn__cache_seq_check(cache, to, "to", error));
    if (from == to)
        return attn__fail_count(error, ATTN_E_DUP, "to", "is the sequence it would come from",
                                from, to);
    if (cache->length[to] != 0)
        return attn__fail_count(error, ATTN_E_LENGTH, "to", "must be empty: clear it first", 0,
                                cache->length[to]);
    attn__cache_share(cache, from, to);
    memcpy(attn__cache_bits(cache, to), attn__cache_bits(cache, from),
           (size_t)cache->words * sizeof(uint64_t));
    cache->length[to] = cache->length[from];
    cache->start[to] = cache->start[from];
    return ATTN_OK;
}
