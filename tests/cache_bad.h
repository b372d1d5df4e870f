/* SPDX-License-Identifier: MIT
 * What the tests of refused caches share: small caches, and the comparison of an error with the
 * status, the place and the numbers it should have. */
#ifndef CACHE_BAD_H
#define CACHE_BAD_H

#include "safety.h"

#include "attn/cache.h"

enum { SEQS = 3, G = 2, D = 4, E = 3, PAGE = 4, PAGES = 5, LONGEST = 24, T = 2 };

typedef struct bad_expect {
    attn_status status;
    const char *where;
    int64_t want, got;
} bad_expect;

static inline void bad_check(const char *name, attn_status status, const attn_error *e,
                             const bad_expect *x)
{
    if (status == x->status && e->status == status && strcmp(e->where, x->where) == 0 &&
        e->what && *e->what && e->want == x->want && e->got == x->got)
        return;
    char text[256];
    attn_error_text(e, text, sizeof text);
    fail_msg("%s: expected %s at %s (%lld, %lld), got %s: %s", name,
             attn_status_name(x->status), x->where, (long long)x->want, (long long)x->got,
             attn_status_name(status), text);
}

static inline attn_cache_spec bad_paged(void)
{
    return ATTN_CACHE(.kind = ATTN_CACHE_PAGED, .sequences = SEQS, .heads = G, .key_width = D,
                      .value_width = E, .page = PAGE, .pages = PAGES, .longest = LONGEST);
}

static inline attn_cache_spec bad_ring(void)
{
    return ATTN_CACHE(.kind = ATTN_CACHE_RING, .sequences = SEQS, .heads = G, .key_width = D,
                      .value_width = E, .capacity = 6, .sinks = 2);
}

#endif
