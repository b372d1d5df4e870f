/* SPDX-License-Identifier: MIT
 * Neighbourhoods on a grid. Along a dimension of n tokens a window of s starts at
 *
 *     start(a) = clamp(a - floor(s / 2), 0, n - s)          (all n tokens when n < s)
 *
 * so that every token sees equally many. With a dilation d, tokens d apart form grids of their
 * own, in which a and n count. A tile of queries is a group; its keys are the rectangle that
 * their windows cover, and flags say which of these each query sees. */
#include "mech/mech.h"

/* A tile of queries (or the keys around it): from .. to in steps of one of the thinned grids.
 */
typedef struct neighbours_span {
    int64_t first, from, to, n; /* the thinned grid: its first token, how many it has */
} neighbours_span;

static int64_t neighbours_start(const attn__neighbours *p, int dim, int64_t a, int64_t n)
{
    return attn__max(attn__min(a - p->size[dim] / 2, n - p->size[dim]), 0);
}

static int64_t neighbours_end(const attn__neighbours *p, int dim, int64_t a, int64_t n)
{
    return attn__min(neighbours_start(p, dim, a, n) + p->size[dim], n);
}

/* How many tokens of a dimension are `first` apart from a multiple of its dilation. */
static int64_t neighbours_count(const attn__neighbours *p, int dim, int64_t first)
{
    return attn__ceil_div(attn__max(p->grid[dim] - first, 0), p->dilation[dim]);
}

/* Tiles along a dimension, of the fullest of the thinned grids. */
static int64_t neighbours_tiles(const attn__neighbours *p, int dim)
{
    return attn__ceil_div(neighbours_count(p, dim, 0), p->tile[dim]);
}

static int64_t neighbours_groups(const attn__neighbours *p)
{
    return p->dilation[0] * neighbours_tiles(p, 0) * p->dilation[1] * neighbours_tiles(p, 1);
}

/* The tile of group g along both dimensions. */
static void neighbours_tile(const attn__neighbours *p, int64_t g, neighbours_span *span)
{
    for (int dim = 1; dim >= 0; dim--) {
        const int64_t tiles = neighbours_tiles(p, dim);
        neighbours_span *s = &span[dim];
        s->from = g % tiles * p->tile[dim];
        s->first = g / tiles % p->dilation[dim];
        s->n = neighbours_count(p, dim, s->first);
        s->to = attn__min(s->from + p->tile[dim], s->n);
        g /= tiles * p->dilation[dim];
    }
}

/* What the windows of a tile cover. */
static void neighbours_around(const attn__neighbours *p, neighbours_span *span)
{
    for (int dim = 0; dim < 2; dim++) {
        neighbours_span *s = &span[dim];
        if (s->from >= s->to) continue;
        s->to = neighbours_end(p, dim, s->to - 1, s->n);
        s->from = neighbours_start(p, dim, s->from, s->n);
    }
}

static int64_t neighbours_rows(const attn__neighbours *p, int64_t base,
                               const neighbours_span *span, int64_t *rows)
{
    int64_t n = 0;
    for (int64_t a = span[0].from; a < span[0].to; a++)
        for (int64_t b = span[1].from; b < span[1].to; b++, n++) {
            if (!rows) continue;
            const int64_t y = span[0].first + a * p->dilation[0];
            rows[n] = base + y * p->grid[1] + span[1].first + b * p->dilation[1];
        }
    return n;
}

static int64_t neighbours_queries(const void *user, int64_t g, int64_t *rows)
{
    const attn__neighbours *p = user;
    const int64_t n = neighbours_groups(p);
    neighbours_span span[2];
    neighbours_tile(p, g % n, span);
    return neighbours_rows(p, g / n * p->grid[0] * p->grid[1], span, rows);
}

static int64_t neighbours_keys(const void *user, int64_t g, int64_t *rows)
{
    const attn__neighbours *p = user;
    const int64_t n = neighbours_groups(p);
    neighbours_span span[2];
    neighbours_tile(p, g % n, span);
    if (span[0].from >= span[0].to || span[1].from >= span[1].to) return 0;
    neighbours_around(p, span);
    return neighbours_rows(p, g / n * p->grid[0] * p->grid[1], span, rows);
}

/* The window of q is a rectangle in the rectangle of the group's keys. */
static void neighbours_sees(const void *user, int64_t g, int64_t q, int64_t n, const int64_t *k,
                            uint8_t *flags)
{
    const attn__neighbours *p = user;
    const int64_t i = q % (p->grid[0] * p->grid[1]);
    const int64_t at[2] = {i / p->grid[1] / p->dilation[0], i % p->grid[1] / p->dilation[1]};
    neighbours_span span[2];
    (void)n, (void)k;
    neighbours_tile(p, g % neighbours_groups(p), span);
    neighbours_around(p, span);
    const int64_t width = span[1].to - span[1].from;
    const int64_t x0 = neighbours_start(p, 1, at[1], span[1].n) - span[1].from;
    const int64_t x1 = neighbours_end(p, 1, at[1], span[1].n) - span[1].from;
    for (int64_t a = neighbours_start(p, 0, at[0], span[0].n);
         a < neighbours_end(p, 0, at[0], span[0].n); a++)
        for (int64_t x = x0; x < x1; x++) flags[(a - span[0].from) * width + x] = 1;
}

/* Tokens further apart than the grid is long never meet: a larger dilation changes nothing. */
attn__neighbours attn__neighbours_of(int64_t height, int64_t width, int64_t size,
                                     int64_t dilation)
{
    const bool series = height == 1;
    return (attn__neighbours){.grid = {height, width},
                              .size = {series ? 1 : size, size},
                              .dilation = {attn__min(dilation, attn__max(height, 1)),
                                           attn__min(dilation, attn__max(width, 1))},
                              .tile = {series ? 1 : 8, series ? 64 : 8}};
}

attn_var attn__attend_neighbours(attn_tape *t, const attn_attention_vars *vars, attn_var mask,
                                 const attn__neighbours *n)
{
    const attn_tensor q = attn_tape_value(t, vars->q);
    attn_dims shape = {.n = q.rank - 1};
    if (!attn__present(&q)) return (attn_var){0};
    for (int d = 0; d < shape.n; d++) shape.at[d] = q.shape[d];
    const attn__groups groups = {.n = q.shape[0] * q.shape[1] * neighbours_groups(n),
                                 .per = q.shape[1] * neighbours_groups(n),
                                 .q = neighbours_queries,
                                 .k = neighbours_keys,
                                 .sees = neighbours_sees,
                                 .user = attn__tape_keep(t, n, sizeof *n),
                                 .visible = attn__tape_visible(t, mask, q.shape[1])};
    const attn_attention_vars rows = {.q = attn__tape_rows(t, vars->q),
                                      .k = attn__tape_rows(t, vars->k),
                                      .v = attn__tape_rows(t, vars->v)};
    const attn_var o = attn__attend_groups(t, NULL, &rows, &groups, NULL);
    return attn__rows_back(t, o, &groups, neighbours_queries, shape);
}

bool attn__neighbours_see(const attn__neighbours *p, int dim, int64_t i, int64_t j)
{
    const int64_t step = p->dilation[dim], n = neighbours_count(p, dim, i % step);
    return i % step == j % step && j / step >= neighbours_start(p, dim, i / step, n) &&
           j / step < neighbours_end(p, dim, i / step, n);
}
