/* SPDX-License-Identifier: MIT
 * Rows of 16 bits, of codes or out of order become reals late: some of them at a time, right
 * before the product that reads them, so they are still in the first cache and no chunk of reals
 * is ever written to the second. For tasks of one panel, as in verifying a few tokens, which
 * read every row once; more panels share what stage.c lays out for all of them. What comes from
 * memory meanwhile are the rows as they lie, asked for by the products before. */
#include "engine/late.h"
#include "engine/rotate.h"
#include "engine/score.h"
#include "engine/source.h"

/* Whole tiles of scores with every instruction set; beside the queries they fit. */
enum { LATE_KEYS = 48 };

/* Keys that are turned where they were gathered are turned once, a chunk at a time. */
bool attn__late_plan(const attn_plan *plan)
{
    const attn__problem *p = &plan->problem;
    const attn__kernels *k = plan->kernels;
    if (p->call != ATTN__FORWARD || plan->half.kernels) return false;
    if (p->source != ATTN__SOURCE_TENSORS) return !p->turns_keys;
    return !attn__stage_direct(k, &p->at.v) ||
           (!p->turns_keys && !attn__stage_direct(k, &p->at.k));
}

static void late_source(const attn__run *r, char *scratch, const attn__seq *seq, int64_t g,
                        int64_t j0, int64_t j1, attn__staged *staged)
{
    const attn__cache_look *look =
        (const attn__cache_look *)(void *)(scratch + r->plan->at.look);
    const int64_t n = j1 - j0;
    if (!attn__source_rows(r, scratch, seq, g, j0, n, &staged->k_rows, &staged->v_rows))
        staged->held = look->held;
    staged->n_next = attn__max(0, attn__min(ATTN__CHUNK, seq->S - j1));
    attn__source_behind(r, scratch, seq, g, j0, n, staged->n_next);
}

attn__staged attn__late_stage(const attn__run *r, char *scratch, const attn__seq *seq,
                              int64_t g, int64_t j0, int64_t j1)
{
    attn__staged staged = {.late = true, .n_rows = j1 - j0};
    if (r->p->source != ATTN__SOURCE_TENSORS) late_source(r, scratch, seq, g, j0, j1, &staged);
    return staged;
}

static int64_t late_bytes(attn__row_kind kind, int64_t width)
{
    return attn__ceil_div(width * attn__row_form_of(kind).bits, 8);
}

void attn__late_warm(const attn__run *r, const attn__staged *staged, attn__warm *warm)
{
    const int64_t k = late_bytes(staged->k_rows.kind, r->p->D);
    const int64_t v = late_bytes(staged->v_rows.kind, r->p->E);
    attn__warm_rows(warm, staged->v_rows.row + staged->n_rows, k, staged->n_next);
    attn__warm_rows(warm, staged->v_rows.row, v, staged->n_rows);
}

/* ---- blocks of rows ---------------------------------------------------------------------- */

/* Rows j .. j + n of the sequence, of a tensor or of what a cache or pages hold. */
static const void *late_rows(const attn__tile *t, const attn_tensor *x, const attn__rows *held,
                             int64_t chunk0, int64_t j, int64_t n, int64_t width, char *memory,
                             int64_t *stride)
{
    const attn__run *r = t->r;
    if (r->p->source != ATTN__SOURCE_TENSORS)
        return attn__source_reals(r, held, j - chunk0, n, width, memory, stride);
    return attn__stage_rows(r->plan->kernels, x, t->seq->kb, t->g, t->seq->k0 + j, n, memory,
                            stride);
}

static const void *late_keys(const attn__tile *t, const attn__staged *staged, int64_t chunk0,
                             int64_t j, int64_t n, int64_t *stride)
{
    const attn__problem *p = t->r->p;
    if (p->turns_keys) { /* they wait as reals */
        *stride = p->D;
        return attn__rotated_key(t->r, t->seq, t->g, j);
    }
    return late_rows(t, &p->at.k, &staged->k_rows, chunk0, j, n, p->D,
                     t->scratch + t->r->plan->at.k, stride);
}

const void *attn__late_values(const attn__tile *t, const attn__staged *staged, int64_t chunk0,
                              int64_t j, int64_t n, int64_t *stride)
{
    const attn__problem *p = t->r->p;
    return late_rows(t, &p->at.v, &staged->v_rows, chunk0, j, n, p->E,
                     t->scratch + t->r->plan->at.v, stride);
}

void attn__late_scores(const attn__tile *t, const attn__staged *staged, int64_t chunk0)
{
    const int64_t row = t->panel->w * (int64_t)attn__real_size(t->r->plan->kernels);
    attn__tile part = *t;
    for (int64_t j = 0; j < t->n; j += LATE_KEYS) {
        int64_t stride;
        part.j0 = t->j0 + j;
        part.n = attn__min(LATE_KEYS, t->n - j);
        part.s = (char *)t->s + j * row;
        const void *keys = late_keys(t, staged, chunk0, part.j0, part.n, &stride);
        attn__score_tile(&part, keys, stride);
    }
}
