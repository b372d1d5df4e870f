/* SPDX-License-Identifier: MIT
 * Where the rows of a chunk lie. Positions that follow each other stand side by side until a ring
 * turns or a page ends that is not followed by the next one: such a run is laid out at once. */
#include <string.h>

#include "engine/cache_store.h"
#include "engine/rows.h"

typedef struct look_run {
    int64_t n;            /* positions; within it all lie in one stretch, or none is there */
    int64_t place;        /* of the first one */
    int64_t column, slot; /* where it stands in the table and its page */
    int64_t page;         /* -1: none is there */
} look_run;

/* As many whole pages more as follow in memory, or are missing as well; n positions at most. */
static void look_on(const attn_cache *c, int64_t seq, look_run *run, int64_t n)
{
    const int64_t *pages = attn__cache_pages(c, seq) + run->column;
    const int64_t step = run->page >= 0;
    for (int64_t i = 1; run->n < n && pages[i] == run->page + i * step; i++)
        run->n = attn__min(n, run->n + c->span);
}

/* The run that begins at a position below the length, n at most. */
static look_run look_at(const attn_cache *c, int64_t seq, int64_t position, int64_t n)
{
    const bool ring = c->spec.kind == ATTN_CACHE_RING;
    const int64_t sinks = c->spec.sinks, start = c->start[seq];
    if (position >= sinks && position < start)
        return (look_run){.n = attn__min(n, start - position), .page = -1};
    if (ring && position < sinks) n = attn__min(n, sinks - position);
    look_run run = {.place = attn__cache_place(c, position)};
    run.column = run.place / c->span;
    run.slot = run.place % c->span;
    run.page = attn__cache_pages(c, seq)[run.column];
    run.n = attn__min(n, c->span - run.slot);
    if (attn__cache_paged(c)) look_on(c, seq, &run, n);
    return run;
}

/* Bits 0 .. n of look->held where places are positions: whole words, however many pages they
 * cross. A position without a page has none. Whether all are set. */
static bool look_words(const attn_cache *c, int64_t seq, int64_t j, int64_t n,
                       attn__cache_look *look)
{
    bool all = true;
    for (int64_t i = 0, m; i < n; i += m) {
        m = attn__min(64, n - i);
        look->held[i / 64] = attn__cache_word(c, seq, j + i, m);
        all = all && look->held[i / 64] == UINT64_MAX >> (64 - m);
    }
    return all;
}

/* Bits i .. i + run.n of a ring; whether all are set. */
static bool look_held(const attn_cache *c, int64_t seq, const look_run *run, int64_t i,
                      attn__cache_look *look)
{
    bool all = run->page >= 0;
    if (!all) return false;
    for (int64_t at = 0, m; at < run->n; at += m, i += m) {
        m = attn__min(64 - i % 64, run->n - at);
        const uint64_t word = attn__cache_word(c, seq, run->place + at, m);
        look->held[i / 64] |= word << i % 64;
        all = all && word == UINT64_MAX >> (64 - m);
    }
    return all;
}

/* Rows of one head of one side: addresses, and scales where it has them. */
typedef struct look_side {
    const attn__cache_side *side;
    const void **row;
    float *scale, *zero;
} look_side;

static void look_rows(const look_side *l, int64_t row, int64_t i, int64_t n)
{
    const attn__cache_side *s = l->side;
    attn__rows_list(l->row + i, s->data + row * s->row, s->row, n);
    if (s->scale) memcpy(l->scale + i, s->scale + row, (size_t)n * sizeof(float));
    if (s->zero) memcpy(l->zero + i, s->zero + row, (size_t)n * sizeof(float));
}

/* What is not there lies, for whoever reads it all the same, in row 0. */
static void look_nothing(const look_side *l, int64_t i, int64_t n)
{
    for (int64_t x = i; x < i + n; x++) {
        l->row[x] = l->side->data;
        l->scale[x] = l->zero[x] = 0;
    }
}

static attn__rows look_face(const look_side *l, int64_t g)
{
    const attn__cache_side *s = l->side;
    attn__rows rows = {.kind = s->kind, .row = l->row};
    if (s->scale) rows.scale = l->scale;
    if (s->zero) rows.zero = l->zero;
    if (s->columns) rows.columns = s->columns + g * s->width;
    if (s->offsets) rows.offsets = s->offsets + g * s->width;
    return rows;
}

/* Values that are columns of the keys: the same rows, further to the right. */
static attn__rows look_latent(const attn_cache *c, const attn__rows *k, int64_t n,
                              attn__cache_look *look)
{
    const attn__cache_side *s = &c->side[0];
    const int64_t from = c->spec.value_from;
    const int64_t skip = from * s->bits / 8;
    attn__rows v = *k;
    for (int64_t i = 0; i < n; i++) look->row[n + i] = (const char *)look->row[i] + skip;
    v.row = look->row + n;
    if (v.columns) v.columns += from;
    if (v.offsets) v.offsets += from;
    return v;
}

bool attn__cache_rows(const attn_cache *c, int64_t seq, int64_t g, int64_t j0, int64_t n,
                      attn__cache_look *look, attn__rows *k, attn__rows *v)
{
    const look_side sides[] = {{&c->side[0], look->row, look->k_scale, look->k_zero},
                               {&c->side[1], look->row + n, look->v_scale, look->v_zero}};
    const int n_sides = c->spec.latent ? 1 : 2;
    const bool ring = c->spec.kind == ATTN_CACHE_RING;
    bool all = true;
    memset(look->held, 0, sizeof look->held);
    if (!ring) all = look_words(c, seq, j0, n, look);
    for (int64_t i = 0; i < n;) {
        const look_run run = look_at(c, seq, j0 + i, n - i);
        if (ring) all = look_held(c, seq, &run, i, look) && all;
        for (int x = 0; x < n_sides; x++) {
            if (run.page < 0)
                look_nothing(&sides[x], i, run.n);
            else
                look_rows(&sides[x], attn__cache_first_row(c, run.page, g) + run.slot, i,
                          run.n);
        }
        i += run.n;
    }
    *k = look_face(&sides[0], g);
    *v = n_sides == 2 ? look_face(&sides[1], g) : look_latent(c, k, n, look);
    return all;
}

void attn__cache_keys(const attn_cache *c, int64_t seq, int64_t g, int64_t j0, int64_t n,
                      const void **row)
{
    for (int64_t i = 0; i < n;) {
        const look_run run = look_at(c, seq, j0 + i, n - i);
        const int64_t first =
            run.page < 0 ? 0 : attn__cache_first_row(c, run.page, g) + run.slot;
        const attn__cache_side *s = &c->side[0];
        attn__rows_list(row + i, s->data + first * s->row, run.page < 0 ? 0 : s->row, run.n);
        i += run.n;
    }
}

/* ---- positions -------------------------------------------------------------------------- */

/* The first set bit of a run, or its length. */
static int64_t look_first(const attn_cache *c, int64_t seq, const look_run *run)
{
    if (run->page < 0) return run->n;
    for (int64_t at = 0; at < run->n; at += 64) {
        uint64_t word = attn__cache_word(c, seq, run->place + at, attn__min(64, run->n - at));
        if (!word) continue;
        for (; !(word & 1); word >>= 1) at++;
        return at;
    }
    return run->n;
}

/* Places are positions: whole words at once, however many pages they cross. */
static int64_t look_next_bit(const attn_cache *c, int64_t seq, int64_t j, int64_t length)
{
    const uint64_t *held = attn__cache_bits(c, seq);
    int64_t i = j / 64;
    if (j >= length) return length;
    uint64_t word = held[i] & UINT64_MAX << j % 64;
    while (!word && 64 * (i + 1) < length) word = held[++i];
    if (!word) return length;
    for (i *= 64; !(word & 1); word >>= 1) i++;
    return i;
}

int64_t attn__cache_next(const attn_cache *c, int64_t seq, int64_t j)
{
    const int64_t length = c->length[seq];
    if (c->spec.kind != ATTN_CACHE_RING) return look_next_bit(c, seq, j, length);
    while (j < length) {
        const look_run run = look_at(c, seq, j, length - j);
        const int64_t first = look_first(c, seq, &run);
        if (first < run.n) return j + first;
        j += run.n;
    }
    return length;
}

static bool look_same(const attn_cache *c, int64_t a, int64_t b, int64_t chunk)
{
    const int64_t first = chunk * ATTN__CHUNK, last = first + ATTN__CHUNK - 1;
    const uint64_t *x = attn__cache_bits(c, a), *y = attn__cache_bits(c, b);
    const size_t words = ATTN__CHUNK / 64 * sizeof *x;
    if (memcmp(x + first / 64, y + first / 64, words) != 0) return false;
    const int64_t *s = attn__cache_pages(c, a), *t = attn__cache_pages(c, b);
    for (int64_t i = first / c->span; i <= last / c->span; i++)
        if (s[i] != t[i]) return false;
    return true;
}

int64_t attn__cache_shared(const attn_cache *c, int64_t a, int64_t b)
{
    const int64_t chunks = attn__min(c->length[a], c->length[b]) / ATTN__CHUNK;
    int64_t n = 0;
    if (a == b) return chunks;
    while (attn__cache_paged(c) && n < chunks && look_same(c, a, b, n)) n++;
    return n;
}

uint64_t attn__cache_front(const attn_cache *c, int64_t seq)
{
    const int64_t *pages = attn__cache_pages(c, seq);
    uint64_t front = 0;
    for (int64_t x = 0; x < c->columns && x * c->span < ATTN__CHUNK; x++)
        front = attn__front_add(front, pages[x]);
    return front;
}
