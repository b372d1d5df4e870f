/* SPDX-License-Identifier: MIT
 * Operands seen as the result sees them: elements in the row-major order of a shape, whatever
 * the operand's own strides are and whatever it broadcasts over, handed out in short blocks
 * (walk.c); functions of such operands, block by block (each.c); and a tensor seen as rows
 * along some of its dimensions (rows.c). Used by the families that go element by element or
 * along lines. */
#ifndef ATTN__TAPE_WALK_H
#define ATTN__TAPE_WALK_H

#include "tape/tape.h"

enum { ATTN__WALK_BLOCK = 512 }; /* elements of a block */

/* ---- walk.c ------------------------------------------------------------------------------ */

typedef struct attn__walk {
    const char *data;
    int64_t width; /* bytes of an element: 1, 4 or 8 */
    int rank;      /* of the dimensions left after joining, at least 1; outermost first */
    int64_t size[ATTN_MAX_RANK], step[ATTN_MAX_RANK]; /* step in bytes */
} attn__walk;

/* t, which broadcasts to shape. */
attn__walk attn__walk_of(const attn_tensor *t, const attn_tensor *shape);
/* Elements [from, from + n), n at most a block: where they lie if they lie side by side, else
 * copied to room. */
const void *attn__walk_block(const attn__walk *w, int64_t from, int64_t n, void *room);
/* Element i. */
const void *attn__walk_at(const attn__walk *w, int64_t i);

/* t with the rank and sizes of shape, stride 0 where it broadcasts. */
attn_tensor attn__spread(const attn_tensor *t, const attn_tensor *shape);

/* ---- each.c ------------------------------------------------------------------------------ */

/* y[i] = f(x[0][i], x[1][i], x[2][i]) for i < n; the operands in the order they were named. */
typedef void (*attn__each_row)(const attn__call *c, int64_t n, const void *const *x, void *y);

/* A function of up to three operands over the elements of a shape:
 *
 *     attn__each e = attn__each_of(c, K(mul_row), &c->out[0]);
 *     ATTN_TRY(attn__each_operand(&e, &c->in[0]));
 *     ATTN_TRY(attn__each_operand(&e, &c->in[1]));
 *     attn__each_fill(&e, &c->out[0]);
 *
 * row NULL: the one operand is the result. */
typedef struct attn__each {
    attn__call *c;
    attn__each_row row;
    const attn_tensor *shape;
    int n;
    attn__walk x[3];
    const attn_tensor *y; /* of fill */
} attn__each;

enum { ATTN__EACH_GRAIN = 1 << 13 }; /* elements worth a thread's attention */

attn__each attn__each_of(attn__call *c, attn__each_row row, const attn_tensor *shape);
/* Floats are read as reals, integers as int64_t, bools as bytes (not 0: true). */
attn_status attn__each_operand(attn__each *e, const attn_tensor *t);
attn_status attn__each_bools(attn__each *e, const attn_tensor *t); /* u8 as bytes, too */
/* Elements [from, from + n), n at most a block: in room, or where the operand has them. */
const void *attn__each_block(const attn__each *e, int64_t from, int64_t n, void *room);
void attn__each_fill(attn__each *e, const attn_tensor *y); /* y dense, of the shape */

/* ---- rows.c ------------------------------------------------------------------------------ */

/* A tensor as [n_rows][n]: the dimensions named by bits are a row, in their order, the others
 * count the rows. data is the tensor's own memory where that lies so; else it is a temp that
 * attn__rows_store copies back to it, and that looks like the tensor through back. */
typedef struct attn__tape_rows {
    int64_t n_rows, n;
    void *data;
    attn_tensor to, back;
} attn__tape_rows;

/* t with the dimensions of bits moved behind the others. */
attn_tensor attn__rows_view(const attn_tensor *t, uint32_t bits);
/* How many rows, and how long; without data. */
attn__tape_rows attn__rows_count(const attn_tensor *t, uint32_t bits);
/* For writing: t is dense; a temp is zeroed. */
attn_status attn__rows_open(attn__call *c, const attn_tensor *t, uint32_t bits,
                            attn__tape_rows *r);
void attn__rows_store(const attn__tape_rows *r);

#endif
