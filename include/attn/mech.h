/* SPDX-License-Identifier: MIT
 * The gallery: mechanisms by name, described as data. A mechanism has slots (tensors) and
 * params (numbers and words); this one description is its documentation, its validation, its
 * command line and its Python signature. */
#ifndef ATTN_MECH_H
#define ATTN_MECH_H

#include "attn/ctx.h"

#ifdef __cplusplus
extern "C" {
#endif

enum attn_slot_kind {
    ATTN_IN = 1,
    ATTN_PARAM = 2,
    ATTN_OUT = 4,
    ATTN_OPTIONAL = 8,
    ATTN_GRAD = 16, /* has a gradient: of an input or parameter where it holds floats */
    ATTN_IDS = 32,  /* integers; else floats, or what the mechanism says */
    ATTN_FLAGS = 64 /* bool or u8: 0 or not */
};

/* shape: dimensions separated by blanks, "B H T D": equal letters are equal sizes; "4D" and
 * "2R+1" are sizes made from a letter. A leading '*' means the tensor broadcasts against it.
 * below: ids are 0 .. below - 1, a size written as in a shape ("V", "S+1"); NULL: any. Tables
 * of slots end with a zero entry. */
typedef struct attn_slot {
    const char *name;
    int kind; /* attn_slot_kind bits */
    const char *shape;
    const char *about;
    const char *below;
} attn_slot;

/* kind: 'f' number, 'i' integer, 'b' true/false, 'e' one word of choices ("a|b|c", its value is
 * the index). fallback is the default, as text. letter: the integer is the size of that letter
 * in the shapes of the slots ('H' for heads); 0: of none. Tables end with a zero entry. */
typedef struct attn_param {
    const char *name;
    char kind;
    const char *fallback;
    const char *choices;
    const char *about;
    char letter;
} attn_param;

typedef struct attn_value {
    double f;  /* kind 'f' */
    int64_t i; /* kinds 'i', 'b', 'e' */
} attn_value;

/* Promises that generic tests hold a mechanism to. */
enum attn_trait {
    ATTN_ROWS_SUM_1 = 1,      /* with v all 1, out is 1 */
    ATTN_KEY_PERMUTABLE = 2,  /* keys and values reordered together change nothing */
    ATTN_SHIFT_INVARIANT = 4, /* a constant added to a row of scores changes nothing */
    ATTN_LINEAR_IN_V = 8,
    ATTN_BATCH_FREE = 16,      /* each batch entry as if alone */
    ATTN_MASKED_ROW_ZERO = 32, /* nothing allowed: 0 */
    ATTN_STREAMS = 64,         /* never holds an n x n matrix */
    ATTN_CAUSAL = 128,         /* what comes later along T changes nothing before; with
                                  causal=true where there is such a parameter */
    ATTN_STEPS = 256           /* and the first rows have the bits they have alone */
};

enum { ATTN_MAX_SLOTS = 64, ATTN_MAX_PARAMS = 64 };

typedef struct attn_mech attn_mech;
struct attn__build;

/* One run: slots[i] belongs to mech->slots[i] (absent when not given), params[i] likewise; and
 * so does d_slots[i], NULL when no gradients are asked for. */
typedef struct attn_mech_call {
    const attn_tensor *slots, *d_slots;
    const attn_value *params;
} attn_mech_call;

struct attn_mech {
    const char *name, *family;
    const char *about;   /* one line */
    const char *formula; /* plain text */
    const char *cost;    /* "time T S (D + E), memory T" */
    const char *source;  /* where it was defined: a paper's number */
    const char *sizes;   /* of a small call: "B=1,T=6,D=4" */
    const char *grows;   /* the letters that are the length of the data: "TS" */
    const char *example; /* a command that runs as it stands after `attn`; NULL:
                            compute NAME --random SIZES */
    const attn_slot *slots;
    const attn_param *params;
    uint32_t traits;
    /* Private, one of the two. build: puts its operations on a tape, which also finds the
     * gradients. run: checks what the shape strings cannot say, then runs; with d_slots,
     * backwards too. */
    void (*build)(const struct attn__build *b);
    attn_status (*run)(attn_ctx *ctx, const attn_mech_call *call, attn_error *error);
};

/* A branch of the tree that mechanisms are listed by. */
typedef struct attn_family {
    const char *name, *branch, *about;
} attn_family;

/* Another name of the same formula; set: "parameter=value" where its default is another. */
typedef struct attn_alias {
    const char *name, *of, *why, *set;
} attn_alias;

ATTN_API int attn_mech_count(void);
ATTN_API const attn_mech *attn_mech_at(int i); /* NULL past the end */
ATTN_API const attn_mech *
attn_mech_find(const char *name); /* also by an alias; NULL: unknown */
ATTN_API int attn_mech_slot(const attn_mech *mech, const char *name);  /* -1 when unknown */
ATTN_API int attn_mech_param(const attn_mech *mech, const char *name); /* -1 when unknown */

ATTN_API const attn_family *attn_family_at(int i); /* in the order of the tree; NULL past it */
ATTN_API const attn_alias *attn_alias_at(int i);   /* NULL past the end */

/* Fills params with the defaults; with those of a name, which may be an alias that sets one
 * otherwise (masked is self with causal=true); sets one from text ("causal", "true"). */
ATTN_API void attn_mech_defaults(const attn_mech *mech, attn_value *params);
ATTN_API attn_status attn_mech_defaults_of(const char *name, attn_value *params,
                                           attn_error *error);
ATTN_API attn_status attn_mech_set(const attn_mech *mech, attn_value *params, const char *name,
                                   const char *text, attn_error *error);
/* Binds the letters of params (NULL: the defaults) and of every present slot and gives the
 * shape of slot i, which need not be present: what an output must have. */
ATTN_API attn_status attn_mech_shape(const attn_mech *mech, const attn_tensor *slots,
                                     const attn_value *params, int i, int *rank, int64_t *shape,
                                     attn_error *error);
/* Checks slots against the shape strings, then runs. Optional outputs are computed when
 * present. On failure no output has been touched. */
ATTN_API attn_status attn_mech_run(attn_ctx *ctx, const attn_mech *mech,
                                   const attn_tensor *slots, const attn_value *params,
                                   attn_error *error);
/* The same, and gradients: d_slots[i] of an output comes in (absent: 0; at least one is there),
 * of an input or parameter it goes out (absent: not wanted), each of the shape of slots[i].
 * Outputs need not be present themselves. */
ATTN_API attn_status attn_mech_run_grad(attn_ctx *ctx, const attn_mech *mech,
                                        const attn_tensor *slots, const attn_tensor *d_slots,
                                        const attn_value *params, attn_error *error);

#ifdef __cplusplus
}
#endif
#endif
