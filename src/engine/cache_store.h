/* SPDX-License-Identifier: MIT
 * How a cache lies in memory: one block, taken when it is created.
 *
 * Rows stand in pages of `span` keys, and a task of one head reads one stretch of each: data is
 * [pages][G][span][row], PAGED [G][pages][span][row], so that pages that were taken one after the
 * other are a single stretch: memory is read a quarter slower in pieces of 4 KiB. A sequence that
 * is not PAGED owns one page as long as its room.
 * The place of a position is where it stands in its sequence: itself, or in a ring behind the
 * sinks the remainder by what the ring holds. Bit `place` of held says whether its key is still
 * there, table[place / span] in which page.
 *
 *   a position is held: it is below length, below sinks or not below start, its bit is set
 *   PAGED: a page is in a table only while it holds a key; a page in two tables is shared, and
 *   is copied before one of them writes; one in no table waits in spare. */
#ifndef ATTN__CACHE_STORE_H
#define ATTN__CACHE_STORE_H

#include "engine/cache.h"

enum { ATTN__CACHE_MAGIC = 0x63616368, ATTN__CACHE_HEAD = 19 };

/* Keys, or values. */
typedef struct attn__cache_side {
    attn__row_kind kind;
    attn_dtype dtype;      /* of a row before it is coded */
    bool coded, by_column; /* by_column: columns (and offsets) stand for scale (and zero) */
    bool asymmetric;
    int bits;           /* of an element */
    int64_t width, row; /* elements, bytes */
    char *data;
    float *scale, *zero;      /* [pages][G][span], PAGED [G][pages][span] */
    float *columns, *offsets; /* [G][width] */
} attn__cache_side;

struct attn_cache {
    uint32_t magic;
    attn_ctx *ctx;
    const attn__kernels *kernels; /* f32: their narrow rounds rows */
    attn_cache_spec spec;
    int64_t bytes;
    int64_t span, pages;
    int64_t columns;          /* pages of a sequence at most */
    int64_t words;            /* of held, for a sequence; the last is always 0 */
    attn__cache_side side[2]; /* keys, values; latent: the second is empty */
    int64_t *length, *start;  /* [sequences] */
    uint64_t *held;           /* [sequences][words] */
    int64_t *table;           /* [sequences][columns], -1: no page */
    int64_t *refs;            /* [pages]: tables that hold it */
    int64_t *spare, n_spare;  /* pages in no table */
    int64_t *wanted; /* [pages]: copies that an append needs, or whose a page is; 0 after */
    bool *taken;     /* [sequences]; false between calls */
    float *row;      /* of the wider side, before it is coded */
    double *theta, *turn; /* [R/2]; [2][R/2]: cosines, sines */
    double theta_base;    /* whose thetas they are, and of how many; 0: none yet */
    int64_t theta_n;
    int64_t head[ATTN__CACHE_HEAD]; /* the spec as numbers, for files */
};

static inline bool attn__cache_paged(const attn_cache *c)
{
    return c->spec.kind == ATTN_CACHE_PAGED;
}

/* Keys behind the sinks that a ring holds. */
static inline int64_t attn__cache_round(const attn_cache *c)
{
    return c->spec.capacity - c->spec.sinks;
}

static inline int64_t attn__cache_place(const attn_cache *c, int64_t position)
{
    const int64_t sinks = c->spec.sinks;
    if (c->spec.kind != ATTN_CACHE_RING || position < sinks) return position;
    return sinks + (position - sinks) % attn__cache_round(c);
}

static inline uint64_t *attn__cache_bits(const attn_cache *c, int64_t seq)
{
    return c->held + seq * c->words;
}

static inline int64_t *attn__cache_pages(const attn_cache *c, int64_t seq)
{
    return c->table + seq * c->columns;
}

/* Row number, over all pages, of slot 0 of a head's rows in a page. */
static inline int64_t attn__cache_first_row(const attn_cache *c, int64_t page, int64_t g)
{
    return (attn__cache_paged(c) ? g * c->pages + page : page * c->spec.heads + g) * c->span;
}

/* ---- cache_page.c: bits and pages ------------------------------------------------------- */

/* The n <= 64 bits of held from place at on, in the low bits. */
uint64_t attn__cache_word(const attn_cache *c, int64_t seq, int64_t at, int64_t n);
/* Bits at .. at + n become on; the pages of those that became off are not looked at. */
void attn__cache_mark(attn_cache *c, int64_t seq, int64_t at, int64_t n, bool on);
bool attn__cache_page_empty(const attn_cache *c, int64_t seq, int64_t column);
/* PAGED: pages of places first .. end without a key left return to the pool. */
void attn__cache_release(attn_cache *c, int64_t seq, int64_t first, int64_t end);
/* The page of a place, made this sequence's own. There is one: an append has counted. */
int64_t attn__cache_own(attn_cache *c, int64_t seq, int64_t place);
/* Sequence `to`, empty, takes the pages of `from`, or copies of its rows. */
void attn__cache_share(attn_cache *c, int64_t from, int64_t to);

/* ---- cache_create.c -------------------------------------------------------------------- */

/* attn_cache_create, for at most so many bytes. */
attn_status attn__cache_create(attn_cache **out, attn_ctx *ctx, const attn_cache_spec *spec,
                               size_t limit, attn_error *error);

/* ---- cache_entry.c: the pieces of a cache as tensors, in use and whole ------------------- */

typedef struct attn__cache_entry {
    const char *name;
    attn_tensor used;  /* what is worth saving; absent: this cache has none */
    attn_tensor whole; /* the room for it */
    int part;          /* the dimension of which only so much may be in use; -1: none */
} attn__cache_entry;

/* How much of it is in use: over all sequences, and over the pool. */
typedef struct attn__cache_use {
    int64_t places, pages;
} attn__cache_use;

enum { ATTN__CACHE_ENTRIES = 15 };
attn__cache_entry attn__cache_entry_get(const attn_cache *c, attn__cache_use use, int i);
/* The spec and the numbers of its head. */
void attn__cache_head_write(const attn_cache_spec *spec, int64_t head[ATTN__CACHE_HEAD]);
attn_status attn__cache_head_read(attn_cache_spec *spec, const attn_tensor *t,
                                  attn_error *error);

/* ---- cache_check.c ---------------------------------------------------------------------- */

/* Alive, and the sequence is one of its. */
attn_status attn__cache_seq_check(const attn_cache *c, int64_t seq, const char *where,
                                  attn_error *error);
/* The same, and positions first .. first + n are below its length. */
attn_status attn__cache_range_check(const attn_cache *c, int64_t seq, int64_t first, int64_t n,
                                    attn_error *error);
/* The spec with its defaults filled in. */
attn_status attn__cache_spec_check(attn_cache_spec *out, const attn_cache_spec *spec,
                                   attn_error *error);

#endif
