/* SPDX-License-Identifier: MIT
 * The products of a tile, s[j][l] = key j . query of lane l, in slices of keys: lanes that see
 * none of the keys left drop out, memory needed soon is asked for in between, and keys that every
 * lane sees leave their maximum on the way. Called by tile.c, score.c and the gradients. */
#include <math.h>

#include "engine/score.h"

enum { TILE_WARM_KEYS = 16 }; /* a row asked for with every key, as long as rows are left */

/* The slices of 16 lanes that still see keys at or beyond j: lanes rise with the query, so
 * under a causal mask the first slices drop out first. Returns the first lane in use, and by
 * *until the key up to which that holds. */
int attn__tile_first_lane(const attn__tile *t, int64_t j, int64_t *until)
{
    const attn__panel *panel = t->panel;
    *until = t->j0 + t->n;
    int first = 0;
    for (int slice = 0; slice + ATTN__SLICE < panel->w; slice += ATTN__SLICE) {
        const int64_t reach = panel->reach[slice / ATTN__SLICE];
        if (reach > j) {
            *until = attn__min(*until, reach);
            break;
        }
        first = slice + ATTN__SLICE;
    }
    return first;
}

attn__slice attn__tile_slices(const attn__tile *t)
{
    return (attn__slice){.j = t->j0};
}

bool attn__tile_next(const attn__tile *t, attn__slice *slice)
{
    int64_t until;
    slice->j += slice->n;
    if (slice->j >= t->j0 + t->n) return false;
    slice->lane = attn__tile_first_lane(t, slice->j, &until);
    if (t->warm && !t->top && t->warm->n > 0) {
        until = attn__min(until, slice->j + TILE_WARM_KEYS);
        attn__warm_some(t->warm, TILE_WARM_KEYS);
    }
    if (t->top && slice->j < t->open) until = attn__min(until, t->open);
    if (t->top && slice->j < t->shut) until = attn__min(until, t->shut);
    slice->n = until - slice->j;
    return true;
}

void attn__tile_product(const attn__tile *t, const void *rows, int64_t stride, int64_t depth,
                        const void *lanes, void *dst)
{
    const attn__kernels *k = t->r->plan->kernels;
    const int64_t real = (int64_t)attn__real_size(k);
    const int w = t->panel->w;
    for (attn__slice s = attn__tile_slices(t); attn__tile_next(t, &s);)
        k->scores(s.n, w - s.lane, depth, (const char *)rows + (s.j - t->j0) * stride * real,
                  stride, (const char *)lanes + s.lane * real, w,
                  (char *)dst + ((s.j - t->j0) * w + s.lane) * real);
}

/* A cut within a tile would make two of it. */
void attn__tile_grid(attn__tile *t)
{
    const int64_t keys = t->r->plan->kernels->gemm_rows;
    t->open = t->j0 + attn__min(t->n, attn__ceil_div(t->open - t->j0, keys) * keys);
    t->shut = t->open + attn__max(0, t->shut - t->open) / keys * keys;
}

/* Keys that every lane sees give their maximum on the way. */
void attn__tile_dot(const attn__tile *t, const void *keys, int64_t stride)
{
    const attn__kernels *k = t->r->plan->kernels;
    const int64_t D = t->r->p->D;
    const int w = t->panel->w;
    if (!t->top) {
        attn__tile_product(t, keys, stride, D, t->panel->qt, t->s);
        return;
    }
    attn__soon soon;
    int64_t stop[ATTN__SLICES];
    const int64_t open[] = {t->open - t->j0, t->shut - t->j0};
    attn__tile_stops(t, 0, t->n, stop, NULL);
    k->scores_max(stop, w, D, keys, stride, t->panel->qt, w, t->s, open, t->top,
                  attn__warm_take(t->warm, t->n, &soon));
}

void attn__tile_max_begin(const attn__tile *t, void *m)
{
    const attn__kernels *k = t->r->plan->kernels;
    if (k->dtype == ATTN_DTYPE_F64)
        for (int i = 0; i < ATTN__PANEL; i++) ((double *)m)[i] = -(double)INFINITY;
    else
        for (int i = 0; i < ATTN__PANEL; i++) ((float *)m)[i] = -INFINITY;
}

static void tile_max_of(const attn__tile *t, int64_t first, int64_t n, void *m)
{
    const attn__kernels *k = t->r->plan->kernels;
    const int w = t->w;
    int64_t stop[ATTN__SLICES];
    attn__tile_stops(t, first, n, stop, NULL);
    if (n > 0)
        k->row_max(stop, w, (char *)t->s + first * w * (int64_t)attn__real_size(k),
                   t->masked ? t->allowed + first : NULL, m);
}

/* The largest allowed score of each lane; part of it may have been found with the scores. In
 * units of log 2: the product with a positive number is monotone, so it is the product of the
 * largest. */
void attn__tile_max(const attn__tile *t, void *m)
{
    if (t->top) {
        tile_max_of(t, 0, t->open - t->j0, m);
        tile_max_of(t, t->shut - t->j0, t->j0 + t->n - t->shut, m);
    } else {
        attn__tile_max_begin(t, m);
        tile_max_of(t, 0, t->n, m);
    }
    t->r->plan->kernels->scale(1, t->panel->w, t->coef, m);
}
