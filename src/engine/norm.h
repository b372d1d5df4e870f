/* SPDX-License-Identifier: MIT
 * Normalisers other than the softmax, for the files of the engine that meet them. */
#ifndef ATTN__ENGINE_NORM_H
#define ATTN__ENGINE_NORM_H

#include "engine/engine.h"

/* check_norm.c: the normaliser and what belongs to it. */
attn_status attn__norm_check(attn__problem *p, attn_error *error);
attn_status attn__norm_check_data(const attn__problem *p, attn_error *error);

/* ---- norm.c, norm_entmax.c, norm_top.c: what makes weights of scores --------------------- */

typedef struct attn__norm_look {
    const attn__run *r;
    char *scratch;
    const attn__seq *seq;
    int64_t g;
    const attn__panel *panel;
    int64_t first, n; /* keys that may matter, first a multiple of a chunk */
    char *scores;     /* [n][w], -inf where forbidden, without forgotten chunks */
} attn__norm_look;

/* ORDER attn_norm_kind */
typedef struct attn__norm_kind {
    int op;         /* of norm.def; -1: exp(s - lse), with lse as input and output */
    bool threshold; /* a row needs all its scores before the first weight */
    bool negative;  /* weights may be: their sign is no mark */
    void (*find)(const attn__norm_look *look); /* the threshold */
} attn__norm_kind;
extern const attn__norm_kind attn__norm_kinds[];
static inline const attn__norm_kind *attn__norm_of(const attn__problem *p)
{
    return &attn__norm_kinds[p->spec.normaliser];
}

static inline bool attn__norm_on(const attn__problem *p)
{
    return p->spec.normaliser != ATTN_NORM_SOFTMAX;
}

/* What is known of each row of a panel; not there for the softmax. */
typedef struct attn__norm {
    attn__norm_rows rows;
    int64_t limit[ATTN__PANEL]; /* TOP_K: of keys with the score rows.shift, those below it */
    double d_sink[ATTN__PANEL], d_alpha[ATTN__PANEL]; /* the gradients of a row */
} attn__norm;

bool attn__norm_looks(const attn__problem *p); /* at whole rows, before the weights */
double attn__norm_alpha(const attn__problem *p, int64_t h);
void attn__norm_open(const attn__problem *p, attn__panel *panel);
/* Fills panel->norm; the panel is open. */
attn__norm_look attn__norm_look_at(const attn__run *r, char *scratch, const attn__seq *seq,
                                   int64_t g, attn__panel *panel);
/* Clears the bits of pairs that TOP_K leaves out; false: none is left. */
bool attn__norm_select(attn__tile *t);
/* Scores of the sinks of a head in units of log 2: how many. */
int attn__norm_sinks(const attn__problem *p, const attn__seq *seq, int64_t h, double sinks[2]);
/* max(y, 0)^power and its slope as entmax_total has them. */
double attn__norm_power(double y, double power, double *slope);
/* y of a sink of lane l, and the slope of its weight. */
double attn__norm_sink_y(const attn__norm_rows *rows, int l, double sink);
double attn__norm_sink_slope(const attn__norm_rows *rows, int l, double sink);
/* Keys j0 on, at most a chunk, as a tile without scores. */
attn__tile attn__norm_tile(const attn__norm_look *look, int64_t j0);
/* The key that row x of the scores is about. */
int64_t attn__norm_key(const attn__norm_look *look, int64_t x);
void attn__norm_tangents(const attn__norm_look *look); /* norm_jvp.c: rows.mean */
void attn__norm_entmax(const attn__norm_look *look);
void attn__norm_top(const attn__norm_look *look);

#endif
