/* SPDX-License-Identifier: MIT
 * precision = half: both products of a tile in 16-bit integers with exact sums, everything
 * between them as ever (docs/numerics.md, section 17). Rows become integers in half_rows.c.
 *
 * What integers would make too coarse is computed as without this mode, pair by pair: what a row
 * takes part in that was not rounded, and scores that could be far off, because a query and a key
 * are long. That depends on the two of them alone. */
#include <math.h>
#include <string.h>

#include "engine/half_rows.h"
#include "engine/norm.h"

/* Of a pair, 46000 units of a query times as many of a key, scaled: at most this. Their lengths
 * come to no more. */
#define HALF_REACH 96.0

enum { HALF_WARM = 8 }; /* rows of queries and results asked for with every product */

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
           (half->rows = attn__half_blocks(half->rows), true) &&
           attn__mul(p->packed_k ? 1 : p->N, p->G, &half->all) &&
           attn__mul(half->all, half->rows, &half->all);
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
        const int64_t row = attn__half_row(r, t->seq, t->g, j);
        const uint64_t bad = *attn__half_bad(r, r->plan->half.k_bad, row) >> row % ATTN__BLOCK;
        next = bad ? j + 1 : j / ATTN__BLOCK * ATTN__BLOCK + ATTN__BLOCK;
        if (!(bad & 1)) continue;
        const attn__staged one = attn__stage_reals(r, t->scratch, t->seq, t->g, j, j + 1);
        k->scores(1, w, r->p->D, one.k, one.k_stride, t->panel->qt, w,
                  (float *)t->s + (j - t->j0) * w);
        any = true;
    }
    return any;
}

/* What a unit of a query times one of a key may be. */
static float half_reach(const attn__run *r)
{
    const double scale = r->plan->coef * ATTN__LN2;
    return (float)(HALF_REACH / (scale * ATTN__HALF_NORM * ATTN__HALF_NORM));
}

/* Which pairs of a tile integers are too coarse for: those whose units come to more than reach. */
typedef struct half_range {
    float reach, unit[ATTN__PANEL]; /* of a lane; infinite where one was not rounded */
    bool some, all;
} half_range;

/* The smallest and the largest unit of the lanes. */
static void half_lane_units(const attn__panel *panel, half_range *range, float *least,
                            float *most)
{
    *least = INFINITY, *most = 0;
    for (int l = 0; l < panel->w; l++) {
        const float unit = panel->h_bad >> l & 1 ? INFINITY : panel->hq_unit[l];
        range->unit[l] = unit;
        *most = unit > *most ? unit : *most;
        *least = unit < *least && l < panel->n ? unit : *least;
    }
}

static half_range half_range_of(const attn__tile *t)
{
    half_range range = {.reach = half_reach(t->r)};
    const int64_t row = attn__half_row(t->r, t->seq, t->g, t->j0);
    const float *unit = attn__half_unit(t->r, t->r->plan->half.k_unit, row);
    float least, most, keys = 0;
    half_lane_units(t->panel, &range, &least, &most);
    for (int64_t x = row & -ATTN__BLOCK; x < row + t->n; x += ATTN__BLOCK) {
        const float largest = *attn__half_largest(t->r, x);
        keys = largest > keys ? largest : keys;
    }
    range.some = range.all = !(most * keys <= range.reach);
    for (int64_t j = 0; j < t->n && range.all; j++) range.all = least * unit[j] > range.reach;
    return range;
}

typedef float half_lanes __attribute__((vector_size(16)));
typedef int32_t half_words __attribute__((vector_size(16)));

/* s takes the exact scores of the lanes whose unit, times that of the key, is beyond reach, or no
 * number. */
static void half_take(int w, const float *unit, float key, float reach, const float *exact,
                      float *s)
{
    const half_lanes keys = {key, key, key, key}, most = {reach, reach, reach, reach};
    for (int l = 0; l < w; l += 4) {
        half_lanes units;
        half_words own, theirs;
        memcpy(&units, unit + l, sizeof units);
        memcpy(&own, s + l, sizeof own);
        memcpy(&theirs, exact + l, sizeof theirs);
        const half_words stays = units * keys <= most;
        own = (own & stays) | (theirs & ~stays);
        memcpy(s + l, &own, sizeof own);
    }
}

/* The scores of pairs that integers are too coarse for. */
static void half_far_pairs(const attn__tile *t, const half_range *range)
{
    const attn__run *r = t->r;
    const int w = t->panel->w;
    float *s = t->s;
    float *exact = range->all ? s : (float *)(void *)(t->scratch + r->plan->at.term);
    const float *key =
        attn__half_unit(r, r->plan->half.k_unit, attn__half_row(r, t->seq, t->g, t->j0));
    const attn__staged staged =
        attn__stage_reals(r, t->scratch, t->seq, t->g, t->j0, t->j0 + t->n);
    r->plan->kernels->scores(t->n, w, r->p->D, staged.k, staged.k_stride, t->panel->qt, w,
                             exact);
    for (int64_t j = 0; j < t->n && !range->all; j++)
        half_take(w, range->unit, key[j], range->reach, exact + j * w, s + j * w);
}

/* All of them by integers, and the largest where top is wanted. */
static void half_near_pairs(const attn__tile *t)
{
    const attn__run *r = t->r;
    const attn__half_plan *half = &r->plan->half;
    const attn__panel *panel = t->panel;
    const int w = panel->w;
    const int64_t first = attn__half_row(r, t->seq, t->g, t->j0);
    float rest[ATTN__PANEL]; /* largest scores that nobody asked for */
    for (int l = 0; l < w; l++) rest[l] = -INFINITY;
    for (attn__slice s = attn__tile_slices(t); attn__tile_next(t, &s);) {
        const int64_t row = first + s.j - t->j0;
        if (t->warm) attn__warm_some(t->warm, HALF_WARM);
        float *top = t->top && s.j >= t->open && s.j < t->shut ? (float *)t->top : rest;
        half->kernels->scores(s.n, w - s.lane, half->pairs, attn__half_keys(r, row),
                              attn__half_unit(r, half->k_unit, row), panel->hq + 2 * s.lane,
                              panel->hq_unit + s.lane, w,
                              (float *)t->s + (s.j - t->j0) * w + s.lane, top + s.lane);
    }
}

void attn__half_scores(attn__tile *t)
{
    const half_range range = half_range_of(t);
    if (!range.all) half_near_pairs(t);
    if (range.some) half_far_pairs(t, &range);
    if (half_bad_keys(t) || range.some) t->top = NULL; /* exact ones came later */
}

/* ---- values ------------------------------------------------------------------------------ */

/* Values that were not rounded, each for itself behind its block. */
static void half_bad_values(const attn__tile *t, int64_t first, int64_t n)
{
    const attn__run *r = t->r;
    const int w = t->panel->w;
    for (int64_t x = first, next; x < first + n; x = next) {
        const int64_t j = t->j0 + x, row = attn__half_row(r, t->seq, t->g, j);
        const uint64_t bad = *attn__half_bad(r, r->plan->half.v_bad, row) >> row % ATTN__BLOCK;
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
    const int64_t row = attn__half_row(r, t->seq, t->g, t->j0 + first);
    const uint64_t *bad = attn__half_bad(r, r->plan->half.v_bad, row);
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
        const float *unit = attn__half_unit(r, r->plan->half.v_unit,
                                            attn__half_row(r, t->seq, t->g, t->j0 + first));
        r->plan->half.kernels->exp_block(w, t->coef, (float *)t->s + first * w, unit, m, l,
                                         sums->sum, sums->most);
        return true;
    }
    for (int64_t x = first, some; x < first + n; x += some) {
        const int64_t j = t->j0 + x, inside = j % ATTN__BLOCK;
        some = attn__min(ATTN__BLOCK - inside, first + n - x);
        const float *unit = attn__half_unit(r, r->plan->half.v_unit,
                                            attn__half_row(r, t->seq, t->g, j - inside));
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
    const int64_t row = attn__half_row(r, t->seq, t->g, j - inside);
    const int w = t->panel->w;
    float *acc = (float *)(void *)(t->scratch + r->plan->at.acc);
    int64_t until;
    const int lane = attn__tile_first_lane(t, j, &until);
    const attn__half_block block = {
        .first = (int)inside,
        .n = (int)n,
        .v = attn__half_values(r, row),
        .unit = sums && sums->times ? NULL : attn__half_unit(r, r->plan->half.v_unit, row),
        .sum = sums ? sums->sum + lane : NULL,
        .most = sums ? sums->most + lane : NULL};
    if (t->warm) attn__warm_some(t->warm, HALF_WARM);
    if (first == 0 && lane > 0) memset(acc, 0, (size_t)(E * w) * sizeof *acc);
    r->plan->half.kernels->weigh(&block, w - lane, E, (float *)t->s + first * w + lane, w,
                                 first == 0 && lane == 0, acc + lane);
    if (!sums || !sums->times) half_bad_values(t, first, n);
}
