/* SPDX-License-Identifier: MIT
 * Where what a call needs lies in its memory: what plan.c decides once and everybody reads. A part of
 * engine.h. */
#ifndef ATTN__ENGINE_LAYOUT_H
#define ATTN__ENGINE_LAYOUT_H

#include "base/base.h"

/* Offsets in bytes into one thread's scratch; what is not needed takes none. */
typedef struct attn__layout {
    int64_t k, v;               /* staged keys [chunk][D], values [chunk][E] */
    int64_t look;               /* an attn__cache_look */
    int64_t rows;               /* a row per lane, [48][max(D, E, chunk)] */
    int64_t s, term;            /* [chunk][w] */
    int64_t acc;                /* [E][w] */
    int64_t m, l;               /* [w] */
    int64_t allowed, keep;      /* [chunk] words */
    int64_t rel_k, rel_v;       /* staged tables [2R+1][D], [2R+1][E] */
    int64_t bucket;             /* [2R+1][w] */
    int64_t panels;             /* panels_per_task times panel_bytes */
    int64_t qt, rq, sm, sl, so; /* inside a panel: [D][w], [2R+1][w], f64 [w], [w], [E][w] */
    int64_t wt;                 /* [D][w]: weights of the features, ADDITIVE */
    /* attn_jvp: tangents of the tile [chunk][w], what the softcap and the callback left, staged
     * rows, sums of the tangents beside acc and l; in a panel: lanes of t_q, its products with
     * rel_k, the state of the tangents */
    int64_t ts, capped, slope, t_rows, t_seen, t_acc, t_l;
    int64_t t_qt, t_rq, t_sm, t_sl, t_so;
    int64_t seen;     /* [2R+1] words */
    int64_t whole;    /* all scores of a panel, [S][w], for normalisers that need them first */
    int64_t norm;     /* inside a panel: an attn__norm */
    int64_t few_rows; /* a chunk of keys, of values, and what to ask for behind them */
    int64_t few_acc;  /* [few lanes][E, whole vectors] */
    int64_t panel_bytes, bytes;
} attn__layout;

/* A piece of memory in a layout: where it begins goes to *where. */
typedef struct attn__plan_part {
    int64_t *where, count, size;
} attn__plan_part;
/* Lays pieces behind *at, each at a cache line, and moves it on. False on overflow. */
bool attn__plan_parts(int64_t *at, const attn__plan_part *parts, size_t n);

#endif
