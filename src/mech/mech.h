/* SPDX-License-Identifier: MIT
 * The gallery's private door: the table of mechanisms and how a tensor is made to fit a slot.
 * A mechanism's run receives its slots already lifted to the rank of their shape strings. */
#ifndef ATTN__MECH_H
#define ATTN__MECH_H

#include "attn/mech.h"
#include "base/base.h"
#include "tape/tape.h"

#define MECH(family, name) extern const attn_mech attn__mech_##name;
#include "mech/mechs.def"
#undef MECH

/* For mechanisms without parameters. (param.c) */
extern const attn_param attn__no_params[];

/* ---- contents.c: what slots and parameters hold ------------------------------------------ */

attn_status attn__mech_contents(const attn_mech *mech, const attn_mech_call *call,
                                const attn__sizes *sizes, attn_error *error);

/* ---- build.c: a mechanism on a tape ------------------------------------------------------ */

/* What a build function gets. It reads in and params, puts operations on t and leaves what they
 * give in out. It need not look at errors: the first one sticks to the tape, everything after
 * it gives the empty variable, and no output of the caller is touched. */
typedef struct attn__build {
    attn_tape *t;
    const attn_mech *mech;
    const attn_var *in; /* by slot; empty: not given. Broadcast ones have their full rank */
    attn_var *out;      /* by slot */
    const attn_value *params;
    const attn__sizes *sizes;
    const bool *wanted; /* by slot: this output, or its gradient, is there */
} attn__build;

/* The size of a letter, in the shape of a slot that was given. */
int64_t attn__build_size(const attn__build *b, char letter);
bool attn__given(attn_var x);
/* False, and the tape has failed, when ok is not true: "where: what, want, got". */
bool attn__build_need(const attn__build *b, bool ok, attn_status status, const char *where,
                      const char *what, int64_t want, int64_t got);
/* A dense tensor of the shape of output slot i for an engine to write (weights): it becomes
 * out[i], without a gradient. Absent when nobody wants it. */
attn_tensor attn__build_output(const attn__build *b, int i);

/* Runs mech->build between the caller's tensors, backwards too where call has d_slots. */
attn_status attn__mech_build(attn_ctx *ctx, const attn_mech *mech, const attn_mech_call *call,
                             const attn__sizes *sizes, attn_error *error);

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

#include "mech/piece.h"

#endif
