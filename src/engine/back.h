/* SPDX-License-Identifier: MIT
 * The backward pass, for the files that make it up.
 *
 * A sequence and one key/value head have panels (48 queries, as in the forward pass); four
 * panels are a step, sixteen steps a range, 512 keys a chunk. A unit is one chunk against one
 * range: it holds the gradients of its keys and values in f64 in its scratch, and walks the
 * steps of its range, block of 64 keys by block:
 *
 *   units (back_run.c) -> steps (back_step.c) -> tiles (back_tile.c, terms_grad.c)
 *                      -> keys and values (back_keys.c), shared sums (back_sums.c)
 *
 * Units are taken in a fixed order by any number of threads. Where two of them add to one
 * number, the later one waits for the earlier one, so sums have one order: the gradient of a
 * query takes its chunks in ascending order, that of a key its ranges. A unit waits for lower
 * ones only, and those run already, so there is always one that can go on. */
#ifndef ATTN__ENGINE_BACK_H
#define ATTN__ENGINE_BACK_H

#include "engine/engine.h"

/* ---- back_run.c -------------------------------------------------------------------------- */

typedef struct attn__back_unit {
    const attn__run *r;
    const attn__back_plan *b;
    char *scratch;
    attn__seq seq;
    int64_t index, c, range, g;
    int64_t j0, n;  /* keys */
    int64_t panel0; /* number of the first panel of (sequence, head) among all */
    int64_t panels; /* of (sequence, head) */
    int64_t chunks; /* of the sequence */
    attn__staged staged;
    bool k_finite[ATTN__BACK_CHUNK / ATTN__BLOCK]; /* blocks of k without NaN and infinity */
} attn__back_unit;

void attn__back_go(const attn_plan *plan, const attn__problem *p, void *workspace);
void attn__back_plan_units(attn_plan *plan); /* how many there can be; threads */
bool attn__back_plan_make(attn_plan *plan);  /* the layout */

/* The unit that this thread is likely to run next. False: it cannot be told. */
bool attn__back_next(const attn__back_unit *u, attn__back_unit *next);

/* Waits until *at has reached value; lower units run already. */
void attn__back_wait(_Atomic int64_t *at, int64_t value);

/* ---- back_look.c ------------------------------------------------------------------------- */

/* The first look at panel index of everything, and where its results are kept. */
void attn__back_look(const attn__run *r, char *scratch, int64_t index);
/* The same for a panel whose lanes are known, if the normaliser needs no look of its own. */
void attn__back_look_at(const attn__run *r, char *scratch, const attn__seq *seq,
                        attn__panel *panel, char *kept);
char *attn__back_kept(const attn__run *r, int64_t index);
void attn__back_sinks(const attn__run *r); /* d_sink, from what is kept */

/* ---- back_norm.c ------------------------------------------------------------------------- */

/* What the normaliser knows of the rows of a panel, and the parts of their gradients that take
 * the whole row. */
void attn__back_norm(const attn__run *r, char *scratch, const attn__seq *seq, int64_t g,
                     int64_t index, struct attn__norm *norm);

/* ---- back_step.c ------------------------------------------------------------------------- */

typedef struct attn__back_panel {
    attn__panel lanes;
    int64_t index;                   /* of (sequence, head) */
    const void *q_rows[ATTN__PANEL]; /* of reals, turned */
    const void *g_rows[ATTN__PANEL];
    const void *q_laid, *g_laid;    /* the same for spread */
    bool q_finite, g_finite, fresh; /* fresh: nothing added to acc yet */
    bool some_lanes;                /* of the last block: some pair is not allowed */
    char *memory;                   /* the parts of attn__back_plan marked * */
    char *kept;                     /* the parts that are kept of a panel */
} attn__back_panel;

typedef struct attn__back_step {
    attn__back_unit *u;
    int64_t step;    /* of the range */
    attn__warm warm; /* what the next step reads */
    int n;
    bool finite; /* all rows of q and g: one that is not makes the words of every panel count */
    attn__back_panel panel[ATTN__BACK_STEP];
} attn__back_step;

void attn__back_step_run(attn__back_unit *u, int64_t step);

/* ---- back_tile.c ------------------------------------------------------------------------- */

/* A panel against a block of keys: p and ds; dq. False: nothing allowed. */
bool attn__back_tile(attn__back_step *s, int x, int64_t j0, int64_t n);
/* A block of keys against the panels of a step: dk and dv. */
void attn__back_block(attn__back_step *s, const bool *some, int64_t j0, int64_t n);
/* The keys' share of a block in acc, ds^T q. */
void attn__back_send_keys(const attn__back_step *s, const bool *some, int64_t j0, int64_t n,
                          double *acc);
/* The relative tables' share, when the step has met all keys of the unit. */
void attn__back_tables(attn__back_step *s, int x);

/* ---- back_score.c: by attn_score_kind ---------------------------------------------------- */

/* What the gradients of queries and keys are multiplied by at the end. */
double attn__back_factor(const attn_plan *plan);
/* From t->ds to the queries, and to everything else that the kind takes a tile at a time. */
void attn__back_score_tile(attn__tile *t, attn__back_panel *panel, const attn__back_unit *u);
/* A block of keys against the panels of a step: acc of the block. */
void attn__back_score_keys(const attn__back_step *s, const bool *some, int64_t j0, int64_t n,
                           double *acc);

/* ---- terms_grad.c: terms.def backwards --------------------------------------------------- */

struct attn__back_tile {
    attn__back_step *s;
    int x;
};
void attn__terms_grad(attn__tile *t);

/* ---- back_keys.c ------------------------------------------------------------------------- */

void attn__back_keys_end(attn__back_unit *u); /* dk, dv of the unit leave it */
void attn__back_keys_settle(attn__run *r);    /* those that units collected */

/* ---- back_sums.c ------------------------------------------------------------------------- */

bool attn__back_sums_plan(attn_plan *plan);
/* The place in the sums of the unit for head member of its group, panel x lane l of the step,
 * and key j of the unit: whichever of these the gradient has. */
double *attn__back_sum_at(const attn__back_step *s, attn__sum_index sum, int x, int l,
                          int64_t j);
void attn__back_sums_begin(const attn__back_unit *u); /* zero */
void attn__back_sums_end(const attn__back_unit *u);   /* to those of all */
/* A dense tile of ds joins the gradient number sum. */
void attn__back_sums_tile(attn__tile *t, attn__sum_index sum);
/* At the beginning or end of a step. */
void attn__back_sums_step(attn__back_unit *u, int64_t step, bool end);
/* Before all units; whether there are any. */
void attn__back_sums_zero(attn__run *r, bool units);
void attn__back_sums_settle(attn__run *r); /* to the caller's tensors */

/* ---- back_lanes.c ------------------------------------------------------------------------ */

bool attn__back_in_lanes(const attn__sum *sum);
void attn__back_lanes_tile(attn__tile *t, attn__sum_index sum, const attn_tensor *out);
void attn__back_lanes_step(const attn__back_unit *u, const attn__sum *sum, const attn_tensor *t,
                           int64_t step, bool end);
/* Asks for the tile that panel adds to at keys j .. j + n of the unit. */
void attn__back_lanes_warm(attn__back_step *s, const attn__panel *panel, int64_t j, int64_t n);
void attn__back_lanes_settle(attn__run *r, const attn__sum *sum, const attn_tensor *t);
/* Keys, up to 48 rows of lanes step bytes apart, become rows of keys in memory, [lanes][w]
 * reals without -0 and with the one quiet NaN. Returns w. */
int attn__back_turn(const attn__run *r, const char *from, int64_t step, int64_t keys, int lanes,
                    void *memory);

#endif
