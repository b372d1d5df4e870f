/* SPDX-License-Identifier: MIT
 * precision = half: rows as integers. Every row of q, k and v is rounded by itself: its integers and
 * what one of them is worth depend on nothing else, so no key that a query may not see shows in its
 * result. Keys and values are rounded once a call, into the workspace, before any task; queries when
 * their panel opens.
 *
 * A row that integers cannot hold - not finite, larger or smaller than any sound model makes
 * them - is marked, and what it takes part in is computed as without this mode, pair by pair. */
#include <math.h>
#include <string.h>

#include "engine/half_rows.h"

#define HALF_LEAST 0x1p-40 /* the largest number of a row that is rounded, at least */
#define HALF_MOST  0x1p40

/* Rounded at a time, while they are warm; a part of a block. */
enum { HALF_ROWS = 32 };

/* What a row is multiplied by, so that its largest number and, as far as length says, its norm
 * stay in reach; what one is worth then. False: it is not to be rounded. */
static bool half_scale(double most, double length, float *factor, float *unit)
{
    *factor = *unit = 0;
    if (most == 0) return true;
    if (!(most >= HALF_LEAST && most <= HALF_MOST)) return false;
    const double largest = ATTN__HALF_MOST / most;
    *factor = (float)(length < largest ? length : largest);
    *unit = (float)(1 / (double)*factor);
    return true;
}

/* Lanes of t [width][w], which meet others in a product of all their numbers: their factors and
 * units; bits of those that are not to be rounded. */
static uint64_t half_lanes(const attn__run *r, int n, int w, int64_t width, const void *t,
                           float *factor, float *unit)
{
    float most[ATTN__PANEL], square[ATTN__PANEL];
    uint64_t bad = 0;
    r->plan->half.kernels->sizes(width, w, t, most, square);
    for (int l = 0; l < n; l++) {
        const double length = ATTN__HALF_NORM / sqrt((double)square[l]);
        if (!half_scale((double)most[l], length, &factor[l], &unit[l])) bad |= (uint64_t)1 << l;
    }
    return bad;
}

/* ---- keys and values --------------------------------------------------------------------- */

static void half_mark(const attn__run *r, int64_t words, int64_t row)
{
    *attn__half_bad(r, words, row) |= (uint64_t)1 << row % ATTN__BLOCK;
}

/* A few rows of a chunk, k_stride and v_stride apart; row: of the first. */
static void half_round_keys(const attn__run *r, char *scratch, const attn__staged *rows,
                            int64_t n, int64_t row)
{
    const attn__kernels *k = r->plan->kernels;
    const attn__half_plan *half = &r->plan->half;
    const int w = ((int)n + k->step - 1) / k->step * k->step;
    const void *at[ATTN__PANEL];
    float factor[ATTN__PANEL];
    char *lanes = scratch + r->plan->at.rows;
    for (int64_t j = 0; j < n; j++) at[j] = (const float *)rows->k + j * rows->k_stride;
    k->pack((int)n, w, r->p->D, at, 1, lanes);
    const uint64_t bad =
        half_lanes(r, (int)n, w, r->p->D, lanes, factor, attn__half_unit(r, half->k_unit, row));
    float *largest = attn__half_largest(r, row), *unit = attn__half_unit(r, half->k_unit, row);
    for (int64_t j = 0; j < n; j++) {
        if (bad >> j & 1) half_mark(r, half->k_bad, row + j);
        if (unit[j] > *largest) *largest = unit[j];
    }
    half->kernels->keys(n, r->p->D, rows->k, rows->k_stride, factor, attn__half_keys(r, row));
}

static void half_round_values(const attn__run *r, const attn__staged *rows, int64_t n,
                              int64_t row)
{
    const attn__half_plan *half = &r->plan->half;
    float most[ATTN__PANEL], factor[ATTN__PANEL], *unit = attn__half_unit(r, half->v_unit, row);
    half->kernels->most(n, r->p->E, rows->v, rows->v_stride, most);
    for (int64_t j = 0; j < n; j++)
        if (!half_scale((double)most[j], (double)INFINITY, &factor[j], &unit[j]))
            half_mark(r, half->v_bad, row + j);
    const int64_t first = row % ATTN__HALF_BLOCK;
    half->kernels->values(first, n, r->p->E, rows->v, rows->v_stride, factor,
                          attn__half_values(r, row - first));
}

/* What lies behind the last key of a chunk, to the end of its block, takes no part. */
static void half_clear(const attn__run *r, int64_t n, int64_t row)
{
    const attn__half_plan *half = &r->plan->half;
    const int64_t blocks = attn__half_blocks(n), units = (blocks - n) * (int64_t)sizeof(float);
    memset(attn__half_bad(r, half->k_bad, row), 0, (size_t)(blocks / ATTN__BLOCK) * 8);
    memset(attn__half_bad(r, half->v_bad, row), 0, (size_t)(blocks / ATTN__BLOCK) * 8);
    memset(attn__half_largest(r, row), 0, (size_t)(blocks / ATTN__BLOCK) * sizeof(float));
    memset(attn__half_unit(r, half->k_unit, row + n), 0, (size_t)units);
    memset(attn__half_unit(r, half->v_unit, row + n), 0, (size_t)units);
}

/* Asks for the rows that come next, as they lie with the caller. */
static void half_ask(const attn__run *r, const attn__seq *seq, int64_t g, int64_t j, int64_t n)
{
    attn__warm warm = {0};
    if (n <= 0) return;
    attn__warm_add(&warm, &r->p->at.v, seq->kb, g, seq->k0 + j, n);
    if (!r->p->turns_keys) attn__warm_add(&warm, &r->p->at.k, seq->kb, g, seq->k0 + j, n);
    attn__warm_some(&warm, 2 * n);
}

/* One chunk of one head of one sequence, a few rows at a time, while they are warm. */
static void half_chunk(attn__run *r, char *scratch, int64_t index)
{
    const attn__problem *p = r->p;
    const int64_t chunks = attn__ceil_div(p->S, ATTN__CHUNK), j0 = index % chunks * ATTN__CHUNK;
    const int64_t g = index / chunks % p->G;
    const attn__seq *seq = &r->seqs[index / chunks / p->G];
    const int64_t end = attn__min(j0 + ATTN__CHUNK, seq->S);
    if (end <= j0) return;
    half_clear(r, end - j0, attn__half_row(r, seq, g, j0));
    for (int64_t j = j0, n; j < end; j += n) {
        n = attn__min(HALF_ROWS, end - j);
        half_ask(r, seq, g, j + n, attn__min(HALF_ROWS, seq->S - j - n));
        const attn__staged rows = attn__stage_reals(r, scratch, seq, g, j, j + n);
        half_round_keys(r, scratch, &rows, n, attn__half_row(r, seq, g, j));
        half_round_values(r, &rows, n, attn__half_row(r, seq, g, j));
    }
}

void attn__half_rows(attn__run *r)
{
    const attn__problem *p = r->p;
    if (r->plan->half.kernels && r->n_tasks > 0)
        attn__run_all(r, half_chunk, p->N * p->G * attn__ceil_div(p->S, ATTN__CHUNK));
}

/* ---- queries ----------------------------------------------------------------------------- */

void attn__half_queries(const attn__run *r, attn__panel *panel)
{
    const attn__half_plan *half = &r->plan->half;
    float factor[ATTN__PANEL];
    if (!half->kernels) return;
    panel->hq = (int16_t *)(void *)(panel->memory + half->q);
    panel->hq_unit = (float *)(void *)(panel->memory + half->q_unit);
    panel->h_bad =
        half_lanes(r, panel->w, panel->w, r->p->D, panel->qt, factor, panel->hq_unit);
    half->kernels->queries(r->p->D, panel->w, panel->qt, factor, panel->hq);
}
