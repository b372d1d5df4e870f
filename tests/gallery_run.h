/* SPDX-License-Identifier: MIT
 * What the programs test_gallery_* do with one mechanism: draw a call from the text of a case,
 * give it to the oracle and to the library, and compare. support/gallery.c. */
#ifndef ATTN_TESTS_GALLERY_RUN_H
#define ATTN_TESTS_GALLERY_RUN_H

#include "gallery_case.h"

typedef struct gallery_row {
    const char *family, *name;
    const attn_mech *mech;
    const gallery_oracle *oracle;
} gallery_row;

/* Calls fn for every mechanism, or for that of ATTN_MECH (a name or a family) alone; under
 * ATTN_SHARE=n for every n-th. */
void gallery_each(void (*fn)(const gallery_row *row));

/* A call: what is given lies in the tensors (any layout, f64 values that are floats), the
 * oracle's arrays are made from it by gallery_spread. */
typedef struct gallery_draw {
    const gallery_row *row;
    test_arena arena;
    gallery_call call;
    attn_tensor given[ATTN_MAX_SLOTS]; /* inputs: dense f64; outputs: absent */
    bool absent[ATTN_MAX_SLOTS];
} gallery_draw;

/* narrow: what broadcasts gets random sizes of 1. */
void gallery_draw_case(gallery_draw *d, const gallery_row *row, const char *text, uint64_t seed,
                       bool narrow);
/* The same without anything optional and without arrays for the oracle: for large calls. */
void gallery_draw_bare(gallery_draw *d, const gallery_row *row, const char *text,
                       uint64_t seed);
void gallery_draw_optional(gallery_draw *d, int slot, test_rng *rng); /* now it is given */
void gallery_free(gallery_draw *d);
void gallery_spread(gallery_draw *d); /* given -> call.at; outputs back to 0 */

/* Tensors for the library: inputs of this dtype in random layouts, outputs filled with 0xFF. */
void gallery_tensors(gallery_draw *d, attn_dtype real, test_rng *rng, attn_tensor *slots);
/* Gradients: those of outputs normal, those of inputs that have one filled with 0xFF. */
void gallery_gradients(gallery_draw *d, attn_dtype real, test_rng *rng,
                       const attn_tensor *slots, attn_tensor *d_slots);
int64_t gallery_below(const gallery_draw *d, int slot);        /* ids of it are below this */
bool gallery_differentiable(const gallery_row *row, int slot); /* an input with a gradient */

/* Norm of t - at over that of at, or that of as many 1e-3 where at is smaller than this. */
double gallery_error(const attn_tensor *t, const double *at);
bool gallery_untouched(const attn_tensor *t); /* still 0xFF everywhere */

#endif
