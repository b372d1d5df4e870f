/* SPDX-License-Identifier: MIT
 * The gallery's private door: the table of mechanisms and how a tensor is made to fit a slot.
 * A mechanism's run receives its slots already lifted to the rank of their shape strings. */
#ifndef ATTN__MECH_H
#define ATTN__MECH_H

#include "attn/mech.h"
#include "base/base.h"

#define MECH(name) extern const attn_mech attn__mech_##name;
#include "mech/mechs.def"
#undef MECH

/* ---- lift.c: what a caller may leave out, and what packing changes ---------------------- */

/* How many of the dimensions batch and heads a tensor of this rank leaves out: 0 none, 1 the
 * heads, 2 both; -1 when the rank does not serve. */
int attn__mech_missing(const char *shape, int rank);
/* The same memory with the missing dimensions put in, of size 1. Other tensors pass as they
 * are. */
attn_tensor attn__mech_lift(const char *shape, attn_tensor t);
/* Takes missing dimensions out of dims again and returns the rank that is left. */
int attn__mech_drop(const char *shape, int missing, int rank, int64_t *dims);

/* Whether this tensor, lifted, is one batch of keys or values for every sequence. */
bool attn__mech_shared(const char *shape, const attn_tensor *full);

/* What the letters of a shape string mean when sequences are packed behind each other. */
typedef struct attn__mech_shape {
    char text[32];
} attn__mech_shape;
attn__mech_shape attn__mech_packed(const char *shape);

#endif
