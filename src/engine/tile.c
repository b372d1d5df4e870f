/* SPDX-License-Identifier: MIT
 * One panel against one chunk of keys: scores, terms, maximum, weights, weighted sum. All that
 * a chunk produces (m, l, acc) is a function of its own scores; attn__tile_fold adds it to the
 * state of the panel. Weights are made and used a block of 64 keys at a time, while they are
 * warm; blocks lie at multiples of 64, wherever masks let a tile begin. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "engine/few.h"
#include "engine/half_mode.h"
#include "engine/jvp.h"
#include "engine/late.h"
#include "engine/norm.h"
#include "engine/score.h"
#include "engine/some.h"

static void *tile_part(const attn__tile *t, int64_t at)
{
    return t->scratch + at;
}

static void tile_scores(attn__tile *t, const attn__staged *staged, int64_t chunk0)
{
    const int64_t real = (int64_t)attn__real_size(t->r->plan->kernels);
    if (staged->few) {
        attn__few_scores(t, staged, chunk0);
        return;
    }
    if (staged->late) {
        attn__late_scores(t, staged, chunk0);
        return;
    }
    if (t->r->plan->half.kernels) {
        attn__half_scores(t);
        return;
    }
    const char *keys = (const char *)staged->k + (t->j0 - chunk0) * staged->k_stride * real;
    attn__score_tile(t, keys, staged->k_stride);
}

const void *attn__operand_row(const attn__tile *t, const attn_tensor *operand, int l)
{
    return attn__at(operand, t->seq->b, t->panel->h[l], t->seq->iq + t->panel->i[l],
                    t->seq->jk + t->j0);
}

/* Word (j & 3) of the Philox block at (j / 4, i, h, b) decides, so neither layout nor order
 * matters. */
void attn__tile_keep(const attn__tile *t, int64_t first, int64_t n, uint64_t *keep)
{
    const attn_spec *spec = &t->r->p->spec;
    const attn__panel *panel = t->panel;
    const uint32_t key[2] = {(uint32_t)spec->seed, (uint32_t)(spec->seed >> 32)};
    const uint64_t limit = (uint64_t)(spec->dropout * 0x1p32);
    memset(keep, 0, (size_t)n * sizeof *keep);
    for (int l = 0; l < panel->n; l++) {
        uint32_t words[4];
        for (int64_t x = 0; x < n; x++) {
            const int64_t j = t->j0 + first + x;
            const uint32_t counter[4] = {(uint32_t)(j >> 2), (uint32_t)panel->i[l],
                                         (uint32_t)panel->h[l], (uint32_t)t->seq->b};
            if (x == 0 || (j & 3) == 0) attn__philox(counter, key, words);
            if (words[j & 3] >= limit) keep[x] |= (uint64_t)1 << l;
        }
    }
}

/* Dropped weights are marked like forbidden ones. */
static void tile_drop(attn__tile *t, int64_t first, int64_t n, char *s)
{
    uint64_t *keep = tile_part(t, t->r->plan->at.keep);
    attn__tile_keep(t, first, n, keep);
    for (int64_t j = 0; j < n && t->counts; j++) t->counts[first + j] &= keep[j];
    t->r->plan->kernels->drop(n, t->panel->w, keep, s);
}

static bool tile_finite(const attn__kernels *k, int64_t n, int64_t width, const char *rows,
                        int64_t stride)
{
    bool finite = true;
    for (int64_t j = 0; j < n && finite; j++)
        finite = k->finite(width, rows + j * stride * (int64_t)attn__real_size(k));
    return finite;
}

/* Only stairs say where the first lane stops; else it may be anywhere. */
void attn__tile_stops(const attn__tile *t, int64_t j, int64_t n, int64_t *stop, int64_t *to)
{
    int64_t reach = attn__max(0, t->panel->all_hi - (t->j0 + j));
    for (int x = 0; x < ATTN__SLICES; x++) {
        if (to) to[x] = t->stairs ? attn__min(reach, n) : 0;
        reach = attn__max(reach, t->panel->reach[x] - (t->j0 + j));
        stop[x] = attn__min(reach, n);
    }
}

/* acc += weights of keys first .. first + n times their values, or = in the first block of a
 * tile. The block is one chain for every lane. */
static void tile_weigh(const attn__tile *t, const attn__staged *staged, int64_t chunk0,
                       int64_t first, int64_t n, bool masked)
{
    const attn__kernels *k = t->r->plan->kernels;
    const int64_t real = (int64_t)attn__real_size(k), E = t->r->p->E, j = t->j0 + first;
    const int w = t->w;
    char *acc = tile_part(t, t->r->plan->at.acc);
    int64_t stop[ATTN__SLICES], clean[ATTN__SLICES], stride = staged->v_stride;
    const char *values = staged->late ? attn__late_values(t, staged, chunk0, j, n, &stride)
                                      : (const char *)staged->v + (j - chunk0) * stride * real;
    if (masked && t->counts && !tile_finite(k, n, E, values, stride)) {
        attn__weigh_some(k, n, w, E, (char *)t->s + first * w * real, values, stride,
                         t->counts + first, first == 0, acc);
        return;
    }
    attn__soon soon;
    attn__tile_stops(t, first, n, stop, clean);
    k->weigh_steps(stop, masked && !t->counts ? clean : stop, w, E,
                   (char *)t->s + first * w * real, w, values, stride, first == 0, acc,
                   attn__warm_take(t->warm, n, &soon));
}

/* The same for weights of either sign: entries that no weight meets are left out. */
static void tile_rel_v_some(const attn__tile *t, const void *bucket, const char *rows)
{
    const attn__problem *p = t->r->p;
    const attn__panel *panel = t->panel;
    uint64_t *seen = tile_part(t, t->r->plan->at.seen);
    memset(seen, 0, (size_t)p->shaw_n * sizeof *seen);
    for (int64_t j = 0; j < t->n; j++)
        for (int l = 0; l < panel->n; l++)
            seen[attn__shaw_index(p, panel->p[l], t->j0 + j)] |= t->counts[j] & (uint64_t)1
                                                                                    << l;
    attn__weigh_some(t->r->plan->kernels, p->shaw_n, panel->w, p->E, bucket, rows, p->E, seen,
                     false, tile_part(t, t->r->plan->at.acc));
}

/* Relative values: the weights of each distance are summed, then weigh the table. */
static void tile_rel_v(const attn__tile *t)
{
    const attn__problem *p = t->r->p;
    const attn__kernels *k = t->r->plan->kernels;
    const attn__panel *panel = t->panel;
    const int w = panel->w;
    if (!attn__present(&p->at.rel_v)) return;
    double *sum = tile_part(t, t->r->plan->at.bucket);
    void *bucket = sum, *rows = tile_part(t, t->r->plan->at.rel_v);
    for (int64_t i = 0; i < p->shaw_n * w; i++) sum[i] = -0.0;
    for (int64_t j = 0; j < t->n; j++)
        for (int l = 0; l < panel->n; l++) {
            const double x = attn__real_get(k, t->s, j * w + l);
            const int64_t at = attn__shaw_index(p, panel->p[l], t->j0 + j) * w + l;
            if (t->counts ? t->counts[j] >> l & 1 : !signbit(x)) sum[at] += x;
        }
    for (int64_t i = 0; i < p->shaw_n * w; i++) attn__real_put(k, bucket, i, sum[i]);
    attn__stage_table(k, &p->at.rel_v, panel->h[0], rows);
    if (t->counts && !tile_finite(k, p->shaw_n, p->E, rows, p->E))
        tile_rel_v_some(t, bucket, rows);
    else
        k->weigh(p->shaw_n, w, p->E, bucket, w, rows, p->E, !t->counts, false,
                 tile_part(t, t->r->plan->at.acc));
}

bool attn__tile_prepare(attn__tile *t, int64_t chunk0, const attn__staged *staged)
{
    const int64_t real = (int64_t)attn__real_size(t->r->plan->kernels), j0 = t->j0;
    t->coef = t->r->plan->coef;
    t->held = staged->held;
    t->held0 = chunk0;
    t->w = staged->few ? attn__few_width(t) : t->panel->w;
    if (!attn__masks_apply(t)) return false;
    if (t->masked && t->top) attn__tile_grid(t);
    t->s = (char *)t->s + (t->j0 - j0) * t->w * real;
    tile_scores(t, staged, chunk0);
    if (!t->r->plan->plain) attn__terms_apply(t, ATTN__AT_MASKED);
    return true;
}

/* In the scratch of the thread, where a forward pass works. Stairs tell where weights are marked
 * unless something else marks some. */
static bool tile_prepare(attn__tile *t, int64_t chunk0, const attn__staged *staged)
{
    const attn__run *r = t->r;
    t->s = tile_part(t, t->r->plan->at.s);
    t->allowed = tile_part(t, t->r->plan->at.allowed);
    if (t->r->p->call == ATTN__JVP) attn__jvp_begin(t);
    if (t->r->plan->plain && !staged->few) {
        t->top = tile_part(t, t->r->plan->at.m);
        attn__tile_max_begin(t, t->top);
    }
    const bool some = attn__tile_prepare(t, chunk0, staged);
    t->stairs = t->stairs && t->top && r->p->spec.dropout == 0 && attn__norm_of(r->p)->op < 0;
    return some;
}

/* Whether weights of keys first .. first + n may be marked as forbidden. Those of the softmax
 * are when a bit is clear. */
static bool tile_marked(const attn__tile *t, int64_t first, int64_t n)
{
    const int64_t end = first + n;
    int64_t j = first;
    if (!t->masked || attn__norm_on(t->r->p)) return t->masked;
    if (t->top && t->j0 + first >= t->open) j = attn__max(j, attn__min(end, t->shut - t->j0));
    return !attn__tile_open(t, j, end - j);
}

/* Nobody reads weights of keys behind those that a slice of lanes sees. */
static bool tile_stops_early(const attn__tile *t)
{
    const attn__problem *p = t->r->p;
    return t->top && p->call == ATTN__FORWARD && !t->r->plan->half.kernels &&
           !attn__present(&p->at.rel_v);
}

/* The weights of keys first .. first + n take the place of their scores. Those that are final
 * as they are stand beside a maximum of 0 and no sum, and take their tangents along. */
static void tile_weights(const attn__tile *t, int64_t first, int64_t n, bool marked,
                         const void *m, void *l)
{
    const attn__kernels *k = t->r->plan->kernels;
    const int w = t->w, op = attn__norm_of(t->r->p)->op;
    char *s = (char *)t->s + first * w * (int64_t)attn__real_size(k);
    const uint64_t *allowed = marked ? t->allowed + first : NULL;
    int64_t stop[ATTN__SLICES], clean[ATTN__SLICES];
    attn__tile_stops(t, first, n, stop, clean);
    const bool early = marked && tile_stops_early(t);
    for (int x = 0; x < ATTN__SLICES && !early; x++) stop[x] = n;
    if (op < 0)
        k->exp_sum(stop, clean, w, t->coef, s, allowed, m, w < k->step ? NULL : l);
    else if (t->r->p->call == ATTN__JVP)
        k->norm_grade[op](n, w, &t->panel->norm->rows, s, allowed,
                          (char *)t->ds + (s - (char *)t->s));
    else
        k->norm[op](n, w, &t->panel->norm->rows, s, allowed);
}

/* Before the first weights: the maximum, and which pairs count where no sign will say it. */
static void tile_begin(attn__tile *t, uint64_t *counts, void *m, void *l)
{
    const attn__norm_kind *kind = attn__norm_of(t->r->p);
    const size_t bytes = (size_t)t->panel->w * attn__real_size(t->r->plan->kernels);
    memset(l, 0, bytes);
    if (kind->op < 0)
        attn__tile_max(t, m);
    else
        memset(m, 0, bytes);
    if (!kind->negative) return;
    t->counts = counts;
    for (int64_t j = 0; j < t->n; j++)
        counts[j] = t->masked ? t->allowed[j] : attn__low_bits(t->panel->n);
}

/* The weights of the tile and what they weigh, a block at a time, in integers. */
static void tile_half(attn__tile *t, void *m, void *l)
{
    const bool dropped = t->r->p->spec.dropout > 0;
    for (int64_t j = 0, n; j < t->n; j += n) {
        attn__half_sums sums;
        n = attn__min(ATTN__HALF_BLOCK - (t->j0 + j) % ATTN__HALF_BLOCK, t->n - j);
        const bool known = attn__half_weights(t, j, n, m, l, &sums);
        if (!known) tile_weights(t, j, n, tile_marked(t, j, n), m, l);
        if (dropped)
            tile_drop(t, j, n, (char *)t->s + j * t->panel->w * (int64_t)sizeof(float));
        attn__half_weigh(t, j, n, known && !dropped ? &sums : NULL);
    }
}

bool attn__tile_run(const attn__tile *panel_at, int64_t chunk, const attn__staged *staged)
{
    attn__tile tile = *panel_at, *t = &tile;
    const attn_plan *plan = t->r->plan;
    const int64_t real = (int64_t)attn__real_size(plan->kernels);
    const bool dropped = t->r->p->spec.dropout > 0, jvp = t->r->p->call == ATTN__JVP;
    void (*const weigh)(const attn__tile *, const attn__staged *, int64_t, int64_t, int64_t,
                        bool) = staged->few ? attn__few_weigh : tile_weigh;
    uint64_t counts[ATTN__CHUNK];
    if (!tile_prepare(t, chunk, staged) || !attn__norm_select(t)) return false;
    void *m = tile_part(t, plan->at.m), *l = tile_part(t, plan->at.l);
    if (jvp) attn__jvp_scores(t, staged, chunk);
    tile_begin(t, counts, m, l);
    if (plan->half.kernels) tile_half(t, m, l);
    for (int64_t j = 0, n; j < t->n && !plan->half.kernels; j += n) {
        n = attn__min(ATTN__BLOCK - (t->j0 + j) % ATTN__BLOCK, t->n - j);
        char *s = (char *)t->s + j * t->w * real;
        const bool marked = tile_marked(t, j, n);
        tile_weights(t, j, n, marked, m, l);
        if (jvp) attn__jvp_block(t, staged, chunk, j, n);
        if (dropped) tile_drop(t, j, n, s);
        weigh(t, staged, chunk, j, n, marked || dropped);
    }
    if (staged->few) attn__few_turn(t);
    tile_rel_v(t);
    if (jvp) attn__jvp_tables(t);
    return true;
}

void attn__tile_fold(const attn__run *r, const char *acc, attn__panel *panel)
{
    const attn__layout *at = &r->plan->at;
    r->plan->kernels->fold(panel->w, r->p->E, panel->fresh, acc + (at->m - at->acc),
                           acc + (at->l - at->acc), acc, panel->sm, panel->sl, panel->so);
    if (r->p->call == ATTN__JVP) attn__jvp_fold(r, acc, panel);
    panel->fresh = false;
}

/* ---- the second look, when whole weights or scores were asked for ----------------------- */

/* factor[l] times element (j, l), or `forbidden` where it is that, into the output. */
static void tile_emit(const attn__tile *t, const attn_tensor *out, const double *factor,
                      double forbidden)
{
    const attn__kernels *k = t->r->plan->kernels;
    const attn__panel *panel = t->panel;
    for (int l = 0; l < panel->n; l++) {
        void *row =
            attn__at(out, t->seq->b, panel->h[l], t->seq->iq + panel->i[l], t->seq->jk + t->j0);
        for (int64_t j = 0; j < t->n; j++) {
            const bool ok = !t->masked || (t->allowed[j] >> l & 1);
            const double x = attn__real_get(k, t->s, j * panel->w + l) * factor[l];
            attn__put(out->dtype, row, j * out->stride[3], ok ? x : forbidden);
        }
    }
}

/* weights = exp2(s - m) exp2(m - M) / L with the state's M and L: the first factor is the very
 * number that weighed v. A row of NaN has NaN weights. */
static double tile_weight_factor(const attn__panel *panel, int l, double m)
{
    const double sum = panel->sl[l];
    if (sum != sum) return sum;
    return m < -DBL_MAX || sum == 0 ? 0 : attn__exp2(m - panel->sm[l]) / sum;
}

static void tile_write_weights(attn__tile *t)
{
    const attn__kernels *k = t->r->plan->kernels;
    const attn__panel *panel = t->panel;
    void *m = tile_part(t, t->r->plan->at.m), *l = tile_part(t, t->r->plan->at.l);
    const bool final = attn__norm_of(t->r->p)->op >= 0;
    double factor[ATTN__PANEL];
    if (!final) attn__tile_max(t, m);
    tile_weights(t, 0, t->n, tile_marked(t, 0, t->n), m, l);
    for (int i = 0; i < panel->n; i++)
        factor[i] = final ? 1 : tile_weight_factor(panel, i, attn__real_get(k, m, i));
    tile_emit(t, &t->r->p->at.weights, factor, 0);
}

/* Keys that a cache has forgotten have scores as little as those that no sequence reaches. */
static void tile_emit_forgotten(const attn__tile *t, const attn_tensor *out,
                                const uint64_t *held)
{
    for (int64_t j = 0; j < t->n; j++)
        for (int l = 0; l < t->panel->n && !(held[j / 64] >> j % 64 & 1); l++)
            attn__put(out->dtype,
                      attn__at(out, t->seq->b, t->panel->h[l], t->seq->iq + t->panel->i[l],
                               t->seq->jk + t->j0 + j),
                      0, 0);
}

/* Scores before the masks are written for every pair, so no lane may be left out. */
static void tile_write_scores(const attn__tile *panel_at, int64_t chunk,
                              const attn__staged *staged)
{
    const attn_spec *spec = &panel_at->r->p->spec;
    attn__panel whole = *panel_at->panel;
    attn__tile tile = *panel_at, *t = &tile;
    double factor[ATTN__PANEL];
    t->s = tile_part(t, t->r->plan->at.s);
    t->allowed = tile_part(t, t->r->plan->at.allowed);
    t->panel = &whole;
    for (int l = 0; l < whole.n; l++) whole.hi[l] = t->seq->S;
    attn__panel_reach(&whole);
    t->coef = t->r->plan->coef;
    tile_scores(t, staged, chunk);
    attn__terms_apply(t, spec->scores_stage == ATTN_SCORES_SCALED ? ATTN__AT_SCALED
                                                                  : ATTN__AT_CAPPED);
    for (int l = 0; l < whole.n; l++) factor[l] = t->coef * ATTN__LN2;
    tile_emit(t, &t->r->p->at.scores, factor, -(double)INFINITY);
    if (staged->held) tile_emit_forgotten(t, &t->r->p->at.scores, staged->held);
}

void attn__tile_write(const attn__tile *panel_at, int64_t chunk, const attn__staged *staged)
{
    const attn__problem *p = panel_at->r->p;
    const bool weights = attn__present(&p->at.weights), scores = attn__present(&p->at.scores);
    const bool early = p->spec.scores_stage != ATTN_SCORES_MASKED;
    double factor[ATTN__PANEL];
    if (scores && early) tile_write_scores(panel_at, chunk, staged);
    attn__tile tile = *panel_at;
    if (!(weights || (scores && !early)) || !tile_prepare(&tile, chunk, staged)) return;
    for (int l = 0; l < tile.panel->n; l++) factor[l] = tile.coef * ATTN__LN2;
    if (scores && !early) tile_emit(&tile, &p->at.scores, factor, -(double)INFINITY);
    if (weights && attn__norm_select(&tile)) tile_write_weights(&tile);
}
