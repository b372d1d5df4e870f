/* SPDX-License-Identifier: MIT
 * Inside the case generator: what has been decided so far. Order of drawing: sizes, sequences,
 * alignment, then every operand and option on top of those. */
#ifndef SUPPORT_DRAW_H
#define SUPPORT_DRAW_H

#include "support/support.h"

typedef struct draw_side {
    bool packed, cut;    /* cumulative lengths; start and length */
    int64_t rows, batch; /* of the tensor */
    int64_t longest;     /* sequence */
    int64_t extent;      /* what operands B H T S have in this dimension */
    int64_t start[TEST_MAX_SEQ], len[TEST_MAX_SEQ];
} draw_side;

typedef struct draw {
    test_rng rng;
    test_case *c;
    uint64_t want;
    int64_t N, H, G, D, E, pairs;
    int rank;
    draw_side q, k;
    int64_t offset[TEST_MAX_SEQ];
    int64_t positions; /* more than the largest position of query or key */
} draw;

/* Whether the option is wanted; noted as on by draw_on. */
bool draw_wants(const draw *d, test_option_index option);
void draw_on(draw *d, test_option_index option);
void draw_off(draw *d, test_option_index option);
attn_dtype draw_float(draw *d); /* f32, or any when DTYPES is on */
attn_dtype draw_int(draw *d);   /* i64 or i32 */
/* In a random layout when LAYOUT is on. */
attn_tensor draw_input(draw *d, attn_dtype dtype, int rank, const int64_t *shape);

/* draw_shape.c */
void draw_sizes(draw *d, const test_profile *profile);
void draw_sequences(draw *d);
/* draw_position.c */
void draw_positions(draw *d);
/* draw_operand.c */
void draw_tensors(draw *d);
void draw_masks(draw *d);
void draw_biases(draw *d);
/* draw_score.c: last, from a stream of its own */
void draw_scores(draw *d);
/* callback.c */
void draw_callbacks(draw *d);

#endif
