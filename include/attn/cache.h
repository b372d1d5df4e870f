/* SPDX-License-Identifier: MIT
 * Keys and values of tokens already seen, for decoding: many sequences in one cache.
 *
 *     attn_cache_create(&cache, ctx, &ATTN_CACHE(.kind = ATTN_CACHE_PAGED, .sequences = 8,
 *                       .heads = G, .key_width = D, .value_width = E, .page = 16,
 *                       .pages = 4096), &error);
 *     attn_cache_append(cache, &ATTN_CACHE_NEW(.k = k, .v = v), &error);     B G T D, B G T E
 *     attn_forward(ctx, &ATTN_SPEC(.causal = true, .align = ATTN_ALIGN_BOTTOM_RIGHT),
 *                  &ATTN_ARGS(.q = q, .cache = cache, .out = o), &error);
 *
 * A key stands at the position at which it was appended, 0, 1, 2 ..., for as long as it is held.
 * To forget it is to mask it: attention over a cache has the bits of attention over all keys
 * ever appended, with the forgotten ones forbidden, whatever the kind, the page size, and
 * however it was cut into appends. Elements kept in fewer bits count as the numbers that
 * attn_cache_read gives back.
 *
 * All memory is taken when the cache is created. Calls that only read (attention, length, read)
 * may run at once in several threads; a call that changes the cache must be alone. */
#ifndef ATTN_CACHE_H
#define ATTN_CACHE_H

#include "attn/attention.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum attn_cache_kind {
    ATTN_CACHE_CONTIGUOUS, /* room for `capacity` keys, each sequence for itself */
    ATTN_CACHE_RING, /* the first `sinks` keys and the last capacity - sinks; an append forgets
                         the others */
    ATTN_CACHE_PAGED /* pages of `page` keys from one pool; forks share them until one writes */
} attn_cache_kind;

/* How an element is kept. I8 and I4 are coded: q stands for fma(q, scale, zero) in f32. */
typedef enum attn_cache_type {
    ATTN_CACHE_F32,
    ATTN_CACHE_F64,
    ATTN_CACHE_BF16,
    ATTN_CACHE_F16,
    ATTN_CACHE_I8,
    ATTN_CACHE_I4
} attn_cache_type;

typedef struct attn_cache_format {
    attn_cache_type type;
    bool asymmetric; /* coded: a zero beside each scale */
    /* G width, f32 each: scales (and zeros) by column, given once. Absent: a scale (and zero)
     * for each token and head, found from its row when it comes. */
    attn_tensor columns, offsets;
} attn_cache_format;

typedef struct attn_cache_spec {
    size_t size; /* sizeof(attn_cache_spec); ATTN_CACHE() fills it */
    attn_cache_kind kind;
    int64_t sequences;              /* 0 .. sequences - 1 */
    int64_t heads;                  /* G */
    int64_t key_width, value_width; /* D, E */
    int64_t capacity;               /* CONTIGUOUS, RING: keys of a sequence held at most */
    int64_t sinks;                  /* RING */
    int64_t page, pages;            /* PAGED: keys of a page, pages in all */
    int64_t longest; /* positions of a sequence at most, forgotten ones counted; 0: capacity
                        (CONTIGUOUS), page * pages (PAGED), 2^40 (RING) */
    attn_cache_format key, value;
    bool latent; /* values are columns value_from .. value_from + E of the keys (MLA):
                             value is ignored, appends take no v */
    int64_t value_from;
} attn_cache_spec;

#ifndef __cplusplus
#    define ATTN_CACHE(...)     ((attn_cache_spec){.size = sizeof(attn_cache_spec), __VA_ARGS__})
#    define ATTN_CACHE_NEW(...) ((attn_cache_new){.size = sizeof(attn_cache_new), __VA_ARGS__})
#endif

/* ctx must outlive the cache; NULL is legal. */
ATTN_API attn_status attn_cache_create(attn_cache **cache, attn_ctx *ctx,
                                       const attn_cache_spec *spec, attn_error *error);
ATTN_API void attn_cache_destroy(attn_cache *cache); /* NULL is legal */

/* ---- what changes a cache: wholly, or not at all ---------------------------------------- */

/* Tokens to append: any float type, any strides, lower ranks as in attn_args. Rows are rotated
 * on the way in when rope is given, as attn_rope would do it, each at its position. */
typedef struct attn_cache_new {
    size_t size;      /* sizeof(attn_cache_new); ATTN_CACHE_NEW() fills it */
    attn_tensor k, v; /* B G T D, B G T E; packed: 1 G T D */
    attn_tensor seq;  /* B, integers, none twice: their sequences; absent: 0 .. B - 1 */
    attn_tensor len;  /* B, integers: rows that count; absent: T */
    attn_tensor cu;   /* B + 1, integers, packed: sequence b brings rows cu[b] .. cu[b+1] */
    attn_rope_spec rope;
    attn_tensor rope_cos, rope_sin; /* P R/2, in place of the base */
    attn_tensor rope_pos; /* B T, integers: in place of the positions, for the angles */
} attn_cache_new;

ATTN_API attn_status attn_cache_append(attn_cache *cache, const attn_cache_new *rows,
                                       attn_error *error);
/* Sequence `to`, which must be empty, becomes what `from` is. PAGED: no page is copied now. */
ATTN_API attn_status attn_cache_fork(attn_cache *cache, int64_t from, int64_t to,
                                     attn_error *error);
/* Rolls back: keys at positions length and beyond are gone, as if they had never come; what
 * they pushed out of a ring stays forgotten. */
ATTN_API attn_status attn_cache_truncate(attn_cache *cache, int64_t seq, int64_t length,
                                         attn_error *error);
/* Forgets the keys at positions first .. first + n. Pages without a key left return to the pool. */
ATTN_API attn_status attn_cache_evict(attn_cache *cache, int64_t seq, int64_t first, int64_t n,
                                      attn_error *error);
/* Empties a sequence: its length is 0 again. */
ATTN_API attn_status attn_cache_clear(attn_cache *cache, int64_t seq, attn_error *error);

/* ---- what reads it ---------------------------------------------------------------------- */

ATTN_API int64_t attn_cache_length(const attn_cache *cache,
                                   int64_t seq); /* next position; -1 */
ATTN_API bool attn_cache_holds(const attn_cache *cache, int64_t seq, int64_t position);
/* Keys and values at positions first .. first + n of a sequence into k, v of G n D, G n E (or
 * absent), any float type. E_POSITION when one of them is not held. */
ATTN_API attn_status attn_cache_read(const attn_cache *cache, int64_t seq, int64_t first,
                                     int64_t n, attn_tensor k, attn_tensor v,
                                     attn_error *error);

typedef struct attn_cache_info {
    attn_cache_spec spec;             /* with its defaults filled in */
    size_t bytes;                     /* of all its memory */
    size_t key_bytes, value_bytes;    /* of one key, one value, of one head, scales included */
    int64_t pages_free, pages_shared; /* PAGED */
    int64_t held;                     /* keys, over all sequences */
} attn_cache_info;
ATTN_API void attn_cache_describe(const attn_cache *cache, attn_cache_info *info);

/* A cache as named tensors, for attn_archive_save, and back. Entry i of the cache: its name and
 * a view that lives as long as the cache does not change; NULL past the end. */
ATTN_API const char *attn_cache_entry(const attn_cache *cache, int64_t i, attn_tensor *view);
/* limit: E_LIMIT when it would need more bytes, as a file from a stranger may say; 0: none.
 * Tensors of other names are passed over. */
ATTN_API attn_status attn_cache_restore(attn_cache **cache, attn_ctx *ctx, size_t limit,
                                        int64_t n, const char *const *names,
                                        const attn_tensor *tensors, attn_error *error);

#ifdef __cplusplus
}
#endif
#endif
