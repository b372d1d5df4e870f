/* SPDX-License-Identifier: MIT
 * Pieces of sparse attention: rows that attend within groups, and who may see whom. A part of
 * mech.h. */
#ifndef ATTN__MECH_PATTERN_H
#define ATTN__MECH_PATTERN_H

#include "mech/mech.h"

/* ---- piece_groups.c: rows that attend within groups -------------------------------------- */

/* Writes the rows of a group, unless rows is NULL, and returns how many there are. */
typedef int64_t (*attn__rows_fn)(const void *user, int64_t group, int64_t *rows);

/* flags[j] = whether row q of the group sees row k[j], j in [0, n); all are 0 before. */
typedef void (*attn__sees_fn)(const void *user, int64_t group, int64_t q, int64_t n,
                              const int64_t *k, uint8_t *flags);

typedef struct attn__groups {
    int64_t n, per;     /* groups, and how many of them each batch entry has */
    attn__rows_fn q, k; /* what asks and what is asked; a row may be in several groups */
    attn__sees_fn sees; /* NULL: every pair */
    const void *user;
    const uint8_t *visible; /* by row of k; NULL: all */
} attn__groups;

/* rows: q N D, k M D, v M E. Gives out (E wide) and lse (may be NULL), in the order in which
 * the groups list their queries. Positions of the spec are those in the lists. user and visible
 * live as long as the tape. */
attn_var attn__attend_groups(attn_tape *t, const attn_spec *spec,
                             const attn_attention_vars *rows, const attn__groups *g,
                             attn_var *lse);
/* Row n of x, as listed, goes to the n-th place that `place` lists; every place of shape is
 * there once. */
attn_var attn__rows_back(attn_tape *t, attn_var x, const attn__groups *g, attn__rows_fn place,
                         attn_dims shape);

/* ---- piece_blocks.c, _classes.c, _merge.c, _neighbours.c, _pattern.c: sparse patterns ---- */

/* Tokens attend to those a multiple of step away, as a sequence of their own: spec counts in
 * steps. q k v B H T *, mask B T or empty; out B H T E, lse B H T (may be NULL). */
attn_var attn__attend_classes(attn_tape *t, const attn_spec *spec,
                              const attn_attention_vars *vars, attn_var mask, int64_t step,
                              attn_var *lse);
/* Blocks of queries that see blocks of keys: q B H T D, k B H S D, v B H S E, mask B S or
 * empty. */
typedef struct attn__blocks {
    int64_t T, S, H, size_q, size_k; /* of a block */
    bool (*listed)(const void *user, int64_t h, int64_t y, int64_t x);
    const void *user; /* lives as long as the tape */
    bool causal;      /* no pair with key > query either */
} attn__blocks;
attn_var attn__attend_blocks(attn_tape *t, const attn_attention_vars *vars, attn_var mask,
                             const attn__blocks *blocks);
/* The block mask (args.block_mask) 1 1 n_y n_x of those blocks that are seen; a mask of keys
 * still counts in them. */
attn_tensor attn__blocks_where(attn_tape *t, int64_t n_y, int64_t n_x,
                               bool (*seen)(int64_t y, int64_t x));
/* Neighbourhoods on a grid: a token sees size[0] x size[1] tokens around it, `dilation` apart,
 * and windows at a border are moved inside. q k v B H Y X *, mask B Y X; or B H X * for Y = 1.
 */
typedef struct attn__neighbours {
    int64_t grid[2], size[2], dilation[2], tile[2]; /* tile: queries that are done together */
} attn__neighbours;
attn__neighbours attn__neighbours_of(int64_t height, int64_t width, int64_t size,
                                     int64_t dilation); /* a series: height 1 */
attn_var attn__attend_neighbours(attn_tape *t, const attn_attention_vars *vars, attn_var mask,
                                 const attn__neighbours *n);
/* Whether token i sees token j along one dimension. */
bool attn__neighbours_see(const attn__neighbours *n, int dim, int64_t i, int64_t j);
/* The softmax over all keys of parts over different ones: n of outs ... E and lses ..., or
 * along a dimension of lses. */
attn_var attn__merge(attn_tape *t, int n, const attn_var *outs, const attn_var *lses);
attn_var attn__merge_along(attn_tape *t, attn_var outs, attn_var lses, int dim);
/* Every other head of q k v of B H ..., from the first one on (0) or the second (1); and back.
 */
attn_attention_vars attn__heads_every_other(attn_tape *t, const attn_attention_vars *vars,
                                            int64_t first);
attn_var attn__heads_alternate(attn_tape *t, attn_var even, attn_var odd);
/* Output slot i of flags, when it is wanted; at: an index into its shape. */
void attn__build_flags(const attn__build *b, int i,
                       bool (*flag)(const void *user, const int64_t *at), const void *user);

#endif
