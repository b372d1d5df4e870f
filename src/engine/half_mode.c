/* SPDX-License-Identifier: MIT
 * precision = half: both products of a tile in 16-bit integers with exact sums, everything
 * between them as ever (docs/numerics.md, section 17).
 *
 * Every row of q, k and v is rounded by itself: its integers and what one of them is worth
 * depend on nothing else, so no key that a query may not see shows in its result. Keys and values
 * are rounded once a call, into the workspace, before any task; queries when their panel opens.
 *
 * A row that integers cannot hold - not finite, larger or smaller than any sound model makes
 * them - is marked, and what it takes part in is computed as without this mode, pair by pair. */
#include <math.h>
#include <string.h>

#include "engine/half_mode.h"
#include "engine/norm.h"

#define HALF_LEAST 0x1p-40 /* the largest number of a row that is rounded, at least */
#define HALF_MOST  0x1p40

enum {
    HALF_ROWS = 32, /* that are rounded at a time, while they are warm; a part of a block */
    HALF_WARM = 8   /* rows of queries and results asked for with every product */
};

/* ---- plan -------------------------------------------------------------------------------- */

/* Normalisers whose weights are at most 1. */
static const bool half_norms[] = {[ATTN_NORM_SOFTMAX] = true,
                                  [ATTN_NORM_SIGMOID] = true,
                                  [ATTN_NORM_ENTMAX] = true,
                                  [ATTN_NORM_TOP_K] = true};

static bool half_fits(const attn_plan *plan)
{
    const attn__problem *p = &plan->problem;
    const size_t n = sizeof half_norms / sizeof half_norms[0];
    return p->spec.precision == ATTN_PRECISION_HALF && p->call == ATTN__FORWARD &&
           p->source == ATTN__SOURCE_TENSORS && plan->score == ATTN_SCORE_DOT &&
           (size_t)p->spec.normaliser < n && half_norms[p->spec.normaliser] &&
           p->D <= ATTN__HALF_DEPTH;
}

static int64_t half_blocks(int64_t n)
{
    return attn__ceil_div(n, ATTN__HALF_BLOCK) * ATTN__HALF_BLOCK;
}

void attn__half_choose(attn_plan *plan)
{
    if (half_fits(plan)) plan->half.kernels = attn__half_pick(plan->kernels);
}

bool attn__half_plan_make(attn_plan *plan)
{
    const attn__problem *p = &plan->problem;
    attn__half_plan *half = &plan->half;
    int64_t more = 0;
    if (!half->kernels) return true;
    half->pairs = (p->D + 1) / 2;
    /* Packed sequences begin at a block each. */
    if (p->packed_k && !attn__mul(p->N + 1, ATTN__HALF_BLOCK, &more)) return false;
    return attn__add(p->S, more + ATTN__HALF_BLOCK, &half->rows) &&
           (half->rows = half_blocks(half->rows), true) &&
           attn__mul(p->packed_k ? 1 : p->N, p->G, &half->all) &&
           attn__mul(half->all, half->rows, &half->all);
}

/* ---- rows -------------------------------------------------------------------------------- */

/* Key j of a sequence in the arrays of keys. */
static int64_t half_row(const attn__run *r, const attn__seq *seq, int64_t g, int64_t j)
{
    const attn__problem *p = r->p;
    const int64_t head = (p->packed_k ? 0 : seq->b) * p->G + g;
    const int64_t first = p->packed_k ? half_blocks(seq->k0) + seq->b * ATTN__HALF_BLOCK : 0;
    return head * r->plan->half.rows + first + j;
}

static int16_t *half_keys(const attn__run *r, int64_t row)
{
    const attn__half_plan *half = &r->plan->half;
    return (int16_t *)(void *)(r->workspace + half->keys) + 2 * row * half->pairs;
}

/* Of a row that begins a block. */
static int16_t *half_values(const attn__run *r, int64_t row)
{
    return (int16_t *)(void *)(r->workspace + r->plan->half.values) + row * r->p->E;
}

static float *half_unit(const attn__run *r, int64_t units, int64_t row)
{
    return (float *)(void *)(r->workspace + units) + row;
}

/* The word of a row that begins a block. */
static uint64_t *half_bad(const attn__run *r, int64_t words, int64_t row)
{
    return (uint64_t *)(void *)(r->workspace + words) + row / ATTN__BLOCK;
}

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
    *half_bad(r, words, row) |= (uint64_t)1 << row % ATTN__BLOCK;
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
        half_lanes(r, (int)n, w, r->p->D, lanes, factor, half_unit(r, half->k_unit, row));
    for (int64_t j = 0; j < n; j++)
        if (bad >> j & 1) half_mark(r, half->k_bad, row + j);
    half->kernels->keys(n, r->p->D, rows->k, rows->k_stride, factor, half_keys(r, row));
}

static void half_round_values(const attn__run *r, const attn__staged *rows, int64_t n,
                              int64_t row)
{
    const attn__half_plan *half = &r->plan->half;
    float most[ATTN__PANEL], factor[ATTN__PANEL], *unit = half_unit(r, half->v_unit, row);
    half->kernels->most(n, r->p->E, rows->v, rows->v_stride, most);
    for (int64_t j = 0; j < n; j++)
        if (!half_scale((double)most[j], (double)INFINITY, &factor[j], &unit[j]))
            half_mark(r, half->v_bad, row + j);
    const int64_t first = row % ATTN__HALF_BLOCK;
    half->kernels->values(first, n, r->p->E, rows->v, rows->v_stride, factor,
                          half_values(r, row - first));
}

/* What lies behind the last key of a chunk, to the end of its block, takes no part. */
static void half_clear(const attn__run *r, int64_t n, int64_t row)
{
    const attn__half_plan *half = &r->plan->half;
    const int64_t blocks = half_blocks(n), units = (blocks - n) * (int64_t)sizeof(float);
    memset(half_bad(r, half->k_bad, row), 0, (size_t)(blocks / ATTN__BLOCK) * 8);
    memset(half_bad(r, half->v_bad, row), 0, (size_t)(blocks / ATTN__BLOCK) * 8);
    memset(half_unit(r, half->k_unit, row + n), 0, (size_t)units);
    memset(half_unit(r, half->v_unit, row + n), 0, (size_t)units);
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
    half_clear(r, end - j0, half_row(r, seq, g, j0));
    for (int64_t j = j0, n; j < end; j += n) {
        n = attn__min(HALF_ROWS, end - j);
        half_ask(r, seq, g, j + n, attn__min(HALF_ROWS, seq->S - j - n));
        const attn__staged rows = attn__stage_reals(r, scratch, seq, g, j, j + n);
        half_round_keys(r, scratch, &rows, n, half_row(r, seq, g, j));
        half_round_values(r, &rows, n, half_row(r, seq, g, j));
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

/* ---- scores ------------------------------------------------------------------------------ */

/* Those of keys that were not rounded; whether there are any. */
static bool half_bad_keys(const attn__tile *t)
{
    const attn__run *r = t->r;
    const attn__kernels *k = r->plan->kernels;
    const int w = t->panel->w;
    bool any = false;
    for (int64_t j = t->j0, next; j < t->j0 + t->n; j = next) {
        const int64_t row = half_row(r, t->seq, t->g, j);
        const uint64_t bad = *half_bad(r, r->plan->half.k_bad, row) >> row % ATTN__BLOCK;
        next = bad ? j + 1 : j / ATTN__BLOCK * ATTN__BLOCK + ATTN__BLOCK;
        if (!(bad & 1)) continue;
        const attn__staged one = attn__stage_reals(r, t->scratch, t->seq, t->g, j, j + 1);
        k->scores(1, w, r->p->D, one.k, one.k_stride, t->panel->qt, w,
                  (float *)t->s + (j - t->j0) * w);
        any = true;
    }
    return any;
}

/* Those of queries that were not; whether there are any. */
static bool half_bad_lanes(const attn__tile *t)
{
    const attn__run *r = t->r;
    const attn__panel *panel = t->panel;
    const int w = panel->w;
    float *s = t->s, *exact = (float *)(void *)(t->scratch + r->plan->at.term);
    if (!panel->h_bad) return false;
    const attn__staged staged =
        attn__stage_reals(r, t->scratch, t->seq, t->g, t->j0, t->j0 + t->n);
    r->plan->kernels->scores(t->n, w, r->p->D, staged.k, staged.k_stride, panel->qt, w, exact);
    for (int64_t j = 0; j < t->n; j++)
        for (int l = 0; l < w; l++)
            if (panel->h_bad >> l & 1) s[j * w + l] = exact[j * w + l];
    return true;
}

void attn__half_scores(attn__tile *t)
{
    const attn__run *r = t->r;
    const attn__half_plan *half = &r->plan->half;
    const attn__panel *panel = t->panel;
    const int w = panel->w;
    const int64_t first = half_row(r, t->seq, t->g, t->j0);
    float rest[ATTN__PANEL]; /* largest scores that nobody asked for */
    for (int l = 0; l < w; l++) rest[l] = -INFINITY;
    for (attn__slice s = attn__tile_slices(t); attn__tile_next(t, &s);) {
        const int64_t row = first + s.j - t->j0;
        if (t->warm) attn__warm_some(t->warm, HALF_WARM);
        float *top = t->top && s.j >= t->open && s.j < t->shut ? (float *)t->top : rest;
        half->kernels->scores(s.n, w - s.lane, half->pairs, half_keys(r, row),
                              half_unit(r, half->k_unit, row), panel->hq + 2 * s.lane,
                              panel->hq_unit + s.lane, w,
                              (float *)t->s + (s.j - t->j0) * w + s.lane, top + s.lane);
    }
    const bool keys = half_bad_keys(t), lanes = half_bad_lanes(t);
    if (keys || lanes) t->top = NULL; /* those of rows that were not rounded came later */
}

/* ---- values ------------------------------------------------------------------------------ */

/* Values that were not rounded, each for itself behind its block. */
static void half_bad_values(const attn__tile *t, int64_t first, int64_t n)
{
    const attn__run *r = t->r;
    const int w = t->panel->w;
    for (int64_t x = first, next; x < first + n; x = next) {
        const int64_t j = t->j0 + x, row = half_row(r, t->seq, t->g, j);
        const uint64_t bad = *half_bad(r, r->plan->half.v_bad, row) >> row % ATTN__BLOCK;
        next = bad ? x + 1 : x + ATTN__BLOCK - j % ATTN__BLOCK;
        if (!(bad & 1)) continue;
        const attn__staged one = attn__stage_reals(r, t->scratch, t->seq, t->g, j, j + 1);
        r->plan->kernels->weigh(1, w, r->p->E, (float *)t->s + x * w, w, one.v, one.v_stride,
                                true, false, t->scratch + r->plan->at.acc);
    }
}

/* Whether a whole block is weighed and then forgotten: nobody asks for its weights again. */
static bool half_alone(const attn__tile *t, int64_t first, int64_t n)
{
    const attn__run *r = t->r;
    if (n < ATTN__HALF_BLOCK || r->p->spec.dropout > 0 || attn__present(&r->p->at.rel_v))
        return false;
    const int64_t row = half_row(r, t->seq, t->g, t->j0 + first);
    const uint64_t *bad = half_bad(r, r->plan->half.v_bad, row);
    return !(bad[0] | bad[1]) && attn__tile_open(t, first, n);
}

bool attn__half_weights(const attn__tile *t, int64_t first, int64_t n, const void *m, void *l,
                        attn__half_sums *sums)
{
    const attn__run *r = t->r;
    const int w = t->panel->w;
    if (attn__norm_of(r->p)->op >= 0) return false;
    *sums = (attn__half_sums){.times = half_alone(t, first, n)};
    if (sums->times) {
        const float *unit =
            half_unit(r, r->plan->half.v_unit, half_row(r, t->seq, t->g, t->j0 + first));
        r->plan->half.kernels->exp_block(w, t->coef, (float *)t->s + first * w, unit, m, l,
                                         sums->sum, sums->most);
        return true;
    }
    for (int64_t x = first, some; x < first + n; x += some) {
        const int64_t j = t->j0 + x, inside = j % ATTN__BLOCK;
        some = attn__min(ATTN__BLOCK - inside, first + n - x);
        const float *unit =
            half_unit(r, r->plan->half.v_unit, half_row(r, t->seq, t->g, j - inside));
        r->plan->half.kernels->exp((int)inside, (int)some, w, t->coef, (float *)t->s + x * w,
                                   attn__tile_open(t, x, some) ? NULL : t->allowed + x, unit, m,
                                   l, sums->sum, sums->most);
    }
    return true;
}

void attn__half_weigh(const attn__tile *t, int64_t first, int64_t n, attn__half_sums *sums)
{
    const attn__run *r = t->r;
    const int64_t E = r->p->E, j = t->j0 + first, inside = j % ATTN__HALF_BLOCK;
    const int64_t row = half_row(r, t->seq, t->g, j - inside);
    const int w = t->panel->w;
    float *acc = (float *)(void *)(t->scratch + r->plan->at.acc);
    int64_t until;
    const int lane = attn__tile_first_lane(t, j, &until);
    const attn__half_block block = {
        .first = (int)inside,
        .n = (int)n,
        .v = half_values(r, row),
        .unit = sums && sums->times ? NULL : half_unit(r, r->plan->half.v_unit, row),
        .sum = sums ? sums->sum + lane : NULL,
        .most = sums ? sums->most + lane : NULL};
    if (t->warm) attn__warm_some(t->warm, HALF_WARM);
    if (first == 0 && lane > 0) memset(acc, 0, (size_t)(E * w) * sizeof *acc);
    r->plan->half.kernels->weigh(&block, w - lane, E, (float *)t->s + first * w + lane, w,
                                 first == 0 && lane == 0, acc + lane);
    if (!sums || !sums->times) half_bad_values(t, first, n);
}
