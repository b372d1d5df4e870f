/* SPDX-License-Identifier: MIT
 * What a plan holds for a backward call: sizes that are part of the recipe, where the sums lie,
 * what units wait for. The story is in back.h. */
#ifndef ATTN__ENGINE_BACK_PLAN_H
#define ATTN__ENGINE_BACK_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "kernel/kernel.h"

enum {
    ATTN__BACK_CHUNK = ATTN__CHUNK, /* keys of a unit: part of the numeric contract, as are */
    ATTN__BACK_STEP = ATTN__PARTS,  /* panels summed in one chain, and */
    ATTN__BACK_RANGE = 16,          /* steps of a unit */
    ATTN__BACK_LOOKED = 1,
    ATTN__BACK_ROWS = ATTN__BACK_RANGE * ATTN__BACK_STEP * ATTN__PANEL
};

/* ---- back_sums.c: gradients that several pairs share ------------------------------------ */

/* How the sums of a gradient come together. */
typedef enum attn__sum_mode {
    ATTN__SUM_NONE,   /* not asked for */
    ATTN__SUM_DIRECT, /* a pair an element: written where it belongs at once */
    ATTN__SUM_STEP,   /* elements are met once a unit, in the same step: reals shared by all */
    ATTN__SUM_SERIAL, /* met more often: the same, one unit at a time */
    ATTN__SUM_UNIT    /* f64 sums of the unit, added to those of all when it ends */
} attn__sum_mode;

/* sums.def, in its order. */
typedef enum attn__sum_index {
#define SUM(name, ...) ATTN__SUM_##name,
#include "engine/sums.def"
#undef SUM
    ATTN__N_SUMS
} attn__sum_index;

typedef struct attn__sum {
    attn__sum_mode mode;
    bool in_time; /* STEP: the first and the last unit at a tile are known */
    int64_t batch, heads, rows, keys; /* its dimensions; 1: summed over, or of that size */
    int64_t width;             /* numbers an element: entries of a table, times its row */
    int64_t count, unit_count; /* numbers of all, of a unit */
    int64_t all, unit;         /* offsets in the workspace, in a thread's scratch */
} attn__sum;

/* ---- back_plan.c ------------------------------------------------------------------------- */

typedef struct attn__back_plan {
    double factor; /* the scale, as the gradients of q and k see it */
    double gain;   /* what a weight that dropout keeps is worth */
    bool ordered_steps, ordered_units, serial; /* what units wait for besides q and k */
    /* heads whose units of a chunk run one after the other; 0: no such bunches */
    int64_t bunch;
    bool near;                 /* units wait for nothing else: their order is free */
    bool look_late;            /* a panel is looked at when its first chunk opens it */
    int64_t q_wide, g_wide;    /* D and E rounded up to vectors */
    bool collect_k, collect_v; /* several units meet at a key: f64 rows of all */
    int ring;
    attn__sum sum[ATTN__N_SUMS];
    /* offsets into the workspace; dq_done, at the first panel of a step: 0, then LOOKED and how
     * many chunks have joined since */
    int64_t chunks_max, by_chunk, order, panel0, chunk0, kept, sink, alpha, dq, dq_done, dk_all,
        dv_all, dk_done, progress;
    /* offsets into what is kept of a panel from its first look to the end: the keys that some
     * lane may see [2], f64 top [48] and delta [48], both as reals, and rows of q [48][D] and g
     * [48][E] where they are not reals already */
    int64_t keys, top_sum, delta_sum, top, delta, q_rows, g_rows, norm, kept_bytes;
    /* offsets into a thread's scratch; those with a * inside one of four panels */
    int64_t dk, dv, panel, panel_bytes;
    int64_t gt, gr;                             /* * [E][w], [2R+1][w] */
    int64_t q_laid, g_laid;                     /* * [w][D], [w][E], rounded up to vectors */
    int64_t acc, state;                         /* * [D][w] reals, [D][w] f64 */
    int64_t p, ds, allowed, held;               /* * [64][w], [64][w], [64] words, [64] words */
    int64_t bucket_s, bucket_p, seen_s, seen_p; /* * [2R+1][w] f64, [2R+1] words */
    int64_t capped, slope, look;                /* [64][w] */
    int64_t weight;                             /* [D][w], ADDITIVE */
} attn__back_plan;

#endif
