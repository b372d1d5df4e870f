/* SPDX-License-Identifier: MIT
 * The parts of `attn demo`: the picture and the check. */
#ifndef ATTN_CLI_DEMO_H
#define ATTN_CLI_DEMO_H

#include "cli.h"

enum { DEMO_WORDS = 10, DEMO_HEADS = 2 };

/* ---- heatmap.c -------------------------------------------------------------------------- */

void demo_draw(const char *title, const char *const words[DEMO_WORDS],
               float weights[DEMO_WORDS][DEMO_WORDS]);

/* ---- reference.c ------------------------------------------------------------------------ */

typedef struct demo_error {
    double most; /* largest |out - reference| */
    int rows;    /* that were compared */
} demo_error;

/* Rows sampled over heads and queries of plain attention on dense f32 tensors. */
demo_error demo_check(const attn_args *args);

#endif
