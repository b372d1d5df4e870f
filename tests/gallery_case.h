/* SPDX-License-Identifier: MIT
 * The gallery's oracles. tests/oracle/mech/<name>.c holds the mechanism a second time, as plain
 * loops in double over dense arrays, and says on which calls it is to be compared:
 *
 *     static void dot_oracle(gallery_call *c) { ... gallery_at(c, "q")[...] ... }
 *     static const char *const dot_cases[] = {"B=2,T=5,S=7,D=4", "T=1,S=1;causal=true", NULL};
 *     const gallery_oracle gallery_oracle_dot = {.cases = dot_cases, .run = dot_oracle};
 *
 * It shares no code with the library. Programs test_gallery_* walk mechs.def and need one for
 * every line: a mechanism without an oracle does not link. */
#ifndef ATTN_TESTS_GALLERY_CASE_H
#define ATTN_TESTS_GALLERY_CASE_H

#include <math.h>

#include "attn/mech.h"
#include "support/support.h"

#define GALLERY_INF ((double)INFINITY)

/* One call as an oracle sees it: every slot dense, row major, of the full shape of its string
 * (what broadcasts is repeated); ids and flags as whole numbers. */
typedef struct gallery_call {
    const attn_mech *mech;
    int64_t size[26]; /* of the letters */
    attn_value params[ATTN_MAX_PARAMS];
    double *at[ATTN_MAX_SLOTS]; /* NULL: an optional input that is not given. Outputs are all
                                   there, filled with 0, for the oracle to fill */
    int64_t count[ATTN_MAX_SLOTS];
    int rank[ATTN_MAX_SLOTS];
    int64_t shape[ATTN_MAX_SLOTS][ATTN_MAX_RANK];
    test_arena *arena; /* for arrays of the oracle's own: test_alloc(c->arena, bytes) */
} gallery_call;

double *gallery_at(const gallery_call *c, const char *slot);
int64_t gallery_size(const gallery_call *c, char letter);
double gallery_f(const gallery_call *c, const char *param);
int64_t gallery_i(const gallery_call *c, const char *param); /* integers, truths, words */
double *gallery_new(const gallery_call *c, int64_t count);   /* zeros */

/* Values to six digits from the literature or by hand. Lists of slots end with a zero entry. */
typedef struct gallery_values {
    const char *slot;
    const double *at;
} gallery_values;

typedef struct gallery_gold {
    const char *call; /* as in cases: optional inputs that stand in no list are left out */
    gallery_values in[12], out[4];
} gallery_gold;

typedef struct gallery_oracle {
    /* "sizes;parameters;-slots": sizes over those of the mechanism's table, parameters over the
     * defaults, optional slots left out (otherwise all are given). Ends with NULL. */
    const char *const *cases;
    const char *vary;              /* letters that take any size; NULL: B and mech->grows */
    void (*run)(gallery_call *c);  /* fills the outputs */
    void (*soft)(gallery_call *c); /* whose derivative the gradient is; NULL: run */
    /* Moves random inputs to where they make sense (probabilities, distinct values). */
    void (*prepare)(gallery_call *c, test_rng *rng);
    const gallery_gold *gold;        /* ends with a zero entry; may be NULL */
    double f64, f32, grad64, grad32; /* norm errors allowed; 0: 1e-12, 1e-5, 1e-6, 1e-4 */
    double terms;                    /* how large those are that cancel in a gradient */
} gallery_oracle;

#define MECH(family, name) extern const gallery_oracle gallery_oracle_##name;
#include "../src/mech/mechs.def"
#undef MECH

#endif
