/* SPDX-License-Identifier: MIT
 * Forward mode: tangents go through a forward pass beside the values, tile by tile.
 *
 *   ts_ij    = slope_ij (scale (t_q_i . k_j + q_i . t_k_j) + t_bias_pre_ij) + t_bias_ij
 *   t_lse_i  = sum_j p_ij ts_ij
 *   t_out_i  = sum_j p_ij (ts_ij v_j + t_v_j) - t_lse_i out_i
 *
 * A chunk sums p ts and p (ts v + t_v) as it sums p and p v, and they are folded by the same
 * weights into a state of their own. run.c does not know; panels and tiles call in here. */
#include <math.h>
#include <string.h>

#include "engine/jvp.h"
#include "engine/norm.h"
#include "engine/rotate.h"
#include "engine/score.h"
#include "engine/some.h"

static const attn__layout *jvp_layout(const attn__tile *t)
{
    return &t->r->plan->at;
}

static double *jvp_doubles(const attn__panel *panel, int64_t at)
{
    return (double *)(void *)(panel->memory + at);
}

/* ---- panels ------------------------------------------------------------------------------ */

void attn__jvp_open(const attn__run *r, char *scratch, const attn__seq *seq, attn__panel *panel)
{
    const attn_plan *plan = r->plan;
    const attn_args *a = &r->p->at;
    const void *rows[ATTN__PANEL];
    char *qt = panel->memory + plan->at.t_qt;
    if (!attn__present(&a->t_q)) return;
    attn__panel_stage(r, seq, panel, &a->t_q, r->p->R > 0, scratch + plan->at.rows, rows);
    plan->kernels->pack(panel->n, panel->w, r->p->D, rows, plan->q_factor, qt);
    if (attn__present(&a->rel_k))
        attn__panel_table(r, panel, &a->rel_k, qt, scratch + plan->at.rel_k,
                          panel->memory + plan->at.t_rq);
}

void attn__jvp_reset(const attn__run *r, attn__panel *panel)
{
    const attn__layout *at = &r->plan->at;
    double *m = jvp_doubles(panel, at->t_sm), *l = jvp_doubles(panel, at->t_sl);
    for (int x = 0; x < panel->w; x++) m[x] = -(double)INFINITY, l[x] = 0;
    memset(jvp_doubles(panel, at->t_so), 0, (size_t)(r->p->E * panel->w) * sizeof(double));
}

void attn__jvp_fold(const attn__run *r, const char *acc, attn__panel *panel)
{
    const attn__layout *at = &r->plan->at;
    r->plan->kernels->fold(panel->w, r->p->E, panel->fresh, acc + (at->m - at->acc),
                           acc + (at->t_l - at->acc), acc + (at->t_acc - at->acc),
                           jvp_doubles(panel, at->t_sm), jvp_doubles(panel, at->t_sl),
                           jvp_doubles(panel, at->t_so));
}

void attn__jvp_close(const attn__run *r, char *scratch, const attn__seq *seq,
                     attn__panel *panel, const double *mean, const double *inv)
{
    const attn_args *a = &r->p->at;
    const attn__layout *at = &r->plan->at;
    const double *sum = jvp_doubles(panel, at->t_sl);
    double *so = jvp_doubles(panel, at->t_so);
    const bool final = attn__norm_of(r->p)->op >= 0; /* no lse has to be taken away */
    for (int l = 0; l < panel->n; l++) {
        const double t_lse = sum[l] * mean[l];
        for (int64_t e = 0; e < r->p->E && !final; e++)
            so[e * panel->w + l] -= t_lse * panel->so[e * panel->w + l];
        if (attn__present(&a->t_lse))
            attn__put(a->t_lse.dtype,
                      attn__at(&a->t_lse, seq->qb, panel->h[l], seq->q0 + panel->i[l], 0), 0,
                      t_lse);
    }
    attn__panel_write(r, scratch, seq, panel, &a->t_out, so, inv);
}

/* ---- the tangents of the scores ---------------------------------------------------------- */

void attn__jvp_begin(attn__tile *t)
{
    t->capped = t->scratch + jvp_layout(t)->capped;
    if (t->r->p->spec.tile) t->slope = t->scratch + jvp_layout(t)->slope;
}

static void jvp_add(const attn__tile *t, const void *term)
{
    t->r->plan->kernels->add(t->n, t->panel->w, term, 1, t->ds);
}

/* Rows of the tile's keys of t_k or t_v. */
static const void *jvp_rows(const attn__tile *t, const attn_tensor *of, int64_t *stride)
{
    return attn__stage_rows(t->r->plan->kernels, of, t->seq->kb, t->g, t->seq->k0 + t->j0, t->n,
                            t->scratch + jvp_layout(t)->t_rows, stride);
}

static void jvp_products(attn__tile *t, const attn__staged *staged, int64_t chunk0)
{
    const attn__run *r = t->r;
    const attn__problem *p = r->p;
    const attn__panel *panel = t->panel;
    const int64_t real = (int64_t)attn__real_size(r->plan->kernels), j = t->j0 - chunk0;
    attn__pairs pairs = {.n = t->n,
                         .depth = p->D,
                         .w = panel->w,
                         .ld = panel->w,
                         .k = (const char *)staged->k + j * staged->k_stride * real,
                         .k_stride = staged->k_stride,
                         .q = panel->qt,
                         .weight = panel->wt,
                         .t_k_stride = p->D};
    if (attn__present(&p->at.t_q)) pairs.t_q = panel->memory + jvp_layout(t)->t_qt;
    if (attn__present(&p->at.t_k))
        pairs.t_k = p->turns_keys ? attn__rotated_tangent(r, t->seq, t->g, t->j0)
                                  : jvp_rows(t, &p->at.t_k, &pairs.t_k_stride);
    attn__score_tangents(t, &pairs, t->scratch + jvp_layout(t)->term);
}

/* A dense operand as a tile of its own, then added. */
static void jvp_dense(attn__tile *t, const attn_tensor *operand)
{
    const attn__kernels *k = t->r->plan->kernels;
    const attn__panel *panel = t->panel;
    const void *rows[ATTN__PANEL];
    char *memory = t->scratch + jvp_layout(t)->rows, *term = t->scratch + jvp_layout(t)->term;
    if (!attn__present(operand)) return;
    for (int l = 0; l < panel->n; l++) {
        char *row = memory + l * t->n * (int64_t)attn__real_size(k);
        attn__stage_row(k, operand->dtype, attn__operand_row(t, operand, l), operand->stride[3],
                        t->n, row);
        rows[l] = row;
    }
    k->pack(panel->n, panel->w, t->n, rows, 1, term);
    jvp_add(t, term);
}

/* What a forbidden pair holds must not count: its weight is 0, and so is its tangent here. */
static void jvp_forbid(attn__tile *t)
{
    const attn__kernels *k = t->r->plan->kernels;
    for (int64_t j = 0; t->masked && j < t->n; j++)
        for (int l = 0; l < t->panel->w; l++)
            if (!(t->allowed[j] >> l & 1)) attn__real_put(k, t->ds, j * t->panel->w + l, 0);
}

void attn__jvp_scores(attn__tile *t, const attn__staged *staged, int64_t chunk0)
{
    const attn__problem *p = t->r->p;
    const attn__kernels *k = t->r->plan->kernels;
    t->ds = t->scratch + jvp_layout(t)->ts;
    jvp_products(t, staged, chunk0);
    if (attn__present(&p->at.rel_k) && attn__present(&p->at.t_q))
        attn__shaw_add(t, t->panel->memory + jvp_layout(t)->t_rq, t->ds);
    k->scale(t->n, t->panel->w, t->r->plan->slope, t->ds);
    jvp_dense(t, &p->at.t_bias_pre);
    if (attn__term_on(ATTN__TERM_softcap, p))
        k->bend(t->n, t->panel->w, p->spec.softcap * ATTN__LOG2E, t->capped, t->ds);
    jvp_dense(t, &p->at.t_bias);
    if (t->slope) k->times(t->n, t->panel->w, t->slope, t->ds);
    jvp_forbid(t);
}

/* ---- their sums -------------------------------------------------------------------------- */

/* acc += a rows, over the pairs whose weight is not marked, or where counts says so. */
static void jvp_weigh(const attn__tile *t, const char *a, const char *marks,
                      const uint64_t *counts, int64_t n, int64_t width, const char *rows,
                      int64_t stride, bool fresh, void *acc)
{
    const attn__kernels *k = t->r->plan->kernels;
    const int w = t->panel->w;
    const int64_t real = (int64_t)attn__real_size(k);
    uint64_t words[ATTN__BLOCK] = {0};
    bool finite = true;
    for (int64_t j = 0; j < n; j++)
        finite = finite && k->finite(width, rows + j * stride * real);
    if (finite) {
        k->weigh(n, w, width, a, w, rows, stride, false, fresh, acc);
        return;
    }
    for (int64_t j = 0; j < n && !counts; j++)
        for (int l = 0; l < t->panel->n; l++)
            words[j] |= (uint64_t)!signbit(attn__real_get(k, marks, j * w + l)) << l;
    attn__weigh_some(k, n, w, width, a, rows, stride, counts ? counts : words, fresh, acc);
}

void attn__jvp_block(attn__tile *t, const attn__staged *staged, int64_t chunk0, int64_t first,
                     int64_t n)
{
    const attn__kernels *k = t->r->plan->kernels;
    const attn__layout *at = jvp_layout(t);
    const int64_t E = t->r->p->E, real = (int64_t)attn__real_size(k), j = t->j0 + first;
    const int64_t offset = first * t->panel->w * real;
    char *p = (char *)t->s + offset, *ts = (char *)t->ds + offset;
    char *acc = t->scratch + at->t_acc, *l = t->scratch + at->t_l;
    uint64_t keep[ATTN__BLOCK], *counts = t->counts ? t->counts + first : NULL;
    int64_t stride;
    if (first == 0) memset(l, 0, (size_t)(t->panel->w * real));
    if (attn__norm_of(t->r->p)->op < 0) k->tilt(n, t->panel->w, p, ts, l);
    if (t->r->p->spec.dropout > 0) {
        attn__tile_keep(t, first, n, keep);
        k->drop(n, t->panel->w, keep, ts);
        k->drop(n, t->panel->w, keep, p);
        for (int64_t x = 0; x < n && counts; x++) counts[x] &= keep[x];
    }
    jvp_weigh(t, ts, p, counts, n, E,
              (const char *)staged->v + (j - chunk0) * staged->v_stride * real,
              staged->v_stride, first == 0, acc);
    if (!attn__present(&t->r->p->at.t_v)) return;
    const char *rows = jvp_rows(t, &t->r->p->at.t_v, &stride);
    jvp_weigh(t, p, p, counts, n, E, rows + first * stride * real, stride, false, acc);
}

/* sum by distance of the tangents, times the relative values; an entry that no weight of a lane
 * meets is not used there, whatever it holds. */
void attn__jvp_tables(attn__tile *t)
{
    const attn__problem *p = t->r->p;
    const attn__kernels *k = t->r->plan->kernels;
    const attn__layout *at = jvp_layout(t);
    const attn__panel *panel = t->panel;
    const int w = panel->w;
    if (!attn__present(&p->at.rel_v)) return;
    double *sum = (double *)(void *)(t->scratch + at->bucket);
    uint64_t *seen = (uint64_t *)(void *)(t->scratch + at->t_seen);
    char *rows = t->scratch + at->rel_v, *acc = t->scratch + at->t_acc;
    memset(sum, 0, (size_t)(p->shaw_n * w) * sizeof *sum);
    memset(seen, 0, (size_t)p->shaw_n * sizeof *seen);
    for (int64_t j = 0; j < t->n; j++)
        for (int l = 0; l < panel->n; l++) {
            if (t->counts ? !(t->counts[j] >> l & 1)
                          : signbit(attn__real_get(k, t->s, j * w + l)))
                continue;
            const int64_t entry = attn__shaw_index(p, panel->p[l], t->j0 + j);
            sum[entry * w + l] += attn__real_get(k, t->ds, j * w + l);
            seen[entry] |= (uint64_t)1 << l;
        }
    for (int64_t i = 0; i < p->shaw_n * w; i++) attn__real_put(k, sum, i, sum[i]);
    attn__stage_table(k, &p->at.rel_v, panel->h[0], rows);
    if (k->finite(p->shaw_n * p->E, rows))
        k->weigh(p->shaw_n, w, p->E, sum, w, rows, p->E, false, false, acc);
    else
        attn__weigh_some(k, p->shaw_n, w, p->E, sum, rows, p->E, seen, false, acc);
}
