/* SPDX-License-Identifier: MIT
 * A panel against a block of 64 keys, and the block against the panels of a step.
 *
 *   p_ij = 2^(s_ij - lse_i),  dp_ij = g_i . v_j (+ g_i . rel_v),  ds_ij = p_ij (dp_ij -
 * delta_i) dv_j += p_ij g_i, and back_score.c takes ds to the queries and the keys.
 *
 * Scores are made by the very functions of the forward pass. A pair that is forbidden has p =
 * -0 and ds = 0, so with finite rows the products may run over it; where a row holds a NaN or
 * an infinity the plain loops of some.c leave such pairs out, in the same order. */
#include <string.h>

#include "engine/back.h"
#include "engine/norm.h"
#include "engine/some.h"

static bool back_bit(const uint64_t *words, int64_t j, int l)
{
    return words[j] >> l & 1;
}

/* ---- a panel against a block ------------------------------------------------------------- */

/* dp = g . v, and g . rel_v by distance. */
static void back_products(const attn__tile *t, const attn__back_panel *panel,
                          const attn__staged *staged, int64_t chunk0)
{
    const attn__back_plan *b = &t->r->plan->back;
    const attn__kernels *k = t->r->plan->kernels;
    const int64_t real = (int64_t)attn__real_size(k);
    const char *values = (const char *)staged->v + (t->j0 - chunk0) * staged->v_stride * real;
    attn__tile_product(t, values, staged->v_stride, t->r->p->E, panel->memory + b->gt, t->ds);
    if (attn__present(&t->r->p->at.rel_v)) attn__shaw_add(t, panel->memory + b->gr, t->ds);
}

/* Keys of the block that the tile was narrowed away from count as forbidden. */
static void back_fill(const attn__tile *t, char *memory, int64_t j0, int64_t n)
{
    const size_t row = (size_t)t->panel->w * attn__real_size(t->r->plan->kernels);
    const size_t before = (size_t)(t->j0 - j0), after = (size_t)(j0 + n - t->j0 - t->n);
    memset(memory, 0, before * row);
    memset(memory + (before + (size_t)t->n) * row, 0, after * row);
}

/* allowed, and what of it was kept by the dropout, as words for the whole block. */
static void back_words(const attn__tile *t, const uint64_t *keep, uint64_t *allowed,
                       uint64_t *kept, int64_t j0, int64_t n)
{
    const int64_t first = t->j0 - j0;
    for (int64_t j = n - 1; j >= 0; j--) {
        const bool inside = j >= first && j < first + t->n;
        allowed[j] = !inside ? 0 : t->masked ? t->allowed[j - first] : ~(uint64_t)0;
        kept[j] = keep && inside ? allowed[j] & keep[j - first] : allowed[j];
    }
}

/* Weights by distance, for the relative tables. */
static void back_bucket(const attn__tile *t, const void *x, const uint64_t *words, int64_t j0,
                        double *sum, uint64_t *seen)
{
    const attn__panel *panel = t->panel;
    for (int64_t j = 0; j < t->n; j++)
        for (int l = 0; l < panel->n; l++) {
            if (!back_bit(words, t->j0 - j0 + j, l)) continue;
            const int64_t entry = attn__shaw_index(t->r->p, panel->p[l], t->j0 + j);
            sum[entry * panel->w + l] +=
                attn__real_get(t->r->plan->kernels, x, j * panel->w + l);
            seen[entry] |= (uint64_t)1 << l;
        }
}

static void back_buckets(const attn__tile *t, const attn__back_panel *panel, int64_t j0,
                         const void *p)
{
    const attn__back_plan *b = &t->r->plan->back;
    const attn_args *a = &t->r->p->at;
    char *m = panel->memory;
    if (attn__present(&a->rel_k) && (attn__present(&a->d_q) || attn__present(&a->d_rel_k)))
        back_bucket(t, t->ds, (uint64_t *)(void *)(m + b->allowed), j0,
                    (double *)(void *)(m + b->bucket_s), (uint64_t *)(void *)(m + b->seen_s));
    if (attn__present(&a->d_rel_v))
        back_bucket(t, p, (uint64_t *)(void *)(m + b->held), j0,
                    (double *)(void *)(m + b->bucket_p), (uint64_t *)(void *)(m + b->seen_p));
}

/* Asks for what the next block reads of dense operands and adds to their sums: rows too far
 * apart for the hardware to see them coming. */
static void back_warm_block(attn__back_step *s, const attn__panel *panel, int64_t j)
{
    const attn__back_unit *u = s->u;
    const attn_args *a = &u->r->p->at;
    const attn_tensor *dense[] = {&a->bias_pre, &a->bias, &a->mask};
    const int64_t n = attn__min(ATTN__BLOCK, u->j0 + u->n - j);
    if (n <= 0 || panel->h[0] != panel->h[panel->n - 1]) return;
    for (int i = 0; i < 3; i++)
        attn__warm_block(&s->warm, dense[i], u->seq.b, panel->h[0], u->seq.iq + panel->i[0],
                         panel->n, u->seq.jk + j, n);
    attn__back_lanes_warm(s, panel, j, n);
}

/* p takes the place of the scores, ds that of dp. */
static void back_grade(const attn__tile *t, const attn__back_panel *panel)
{
    const attn__back_plan *b = &t->r->plan->back;
    const attn__kernels *k = t->r->plan->kernels;
    const uint64_t *allowed = t->masked ? t->allowed : NULL;
    const int op = attn__norm_of(t->r->p)->op;
    if (op < 0)
        k->grade(t->n, t->panel->w, t->coef, t->s, allowed, panel->kept + b->top,
                 panel->kept + b->delta, t->ds);
    else
        k->norm_grade[op](t->n, t->panel->w, &t->panel->norm->rows, t->s, allowed, t->ds);
}

bool attn__back_tile(attn__back_step *s, int x, int64_t j0, int64_t n)
{
    attn__back_unit *u = s->u;
    attn__back_panel *panel = &s->panel[x];
    const attn_plan *plan = u->r->plan;
    const attn__back_plan *b = u->b;
    const attn__kernels *k = plan->kernels;
    char *m = panel->memory;
    const int64_t row = panel->lanes.w * (int64_t)attn__real_size(k);
    struct attn__back_tile back = {s, x};
    uint64_t keep[ATTN__BLOCK], narrow[ATTN__BLOCK];
    attn__tile tile = {.r = u->r,
                       .seq = &u->seq,
                       .panel = &panel->lanes,
                       .scratch = u->scratch,
                       .g = u->g,
                       .j0 = j0,
                       .n = n,
                       .s = m + b->p,
                       .allowed = narrow,
                       .capped = u->scratch + b->capped,
                       .back = &back,
                       .warm = &s->warm};
    attn__tile *t = &tile;
    if (plan->problem.spec.tile) t->slope = u->scratch + b->slope;
    back_warm_block(s, &panel->lanes, j0 + ATTN__BLOCK);
    if (!attn__tile_prepare(t, u->j0, &u->staged) || !attn__norm_select(t)) return false;
    t->ds = m + b->ds + (t->j0 - j0) * row;
    back_products(t, panel, &u->staged, u->j0);
    const bool dropped = plan->problem.spec.dropout > 0;
    if (dropped) attn__tile_keep(t, 0, t->n, keep);
    if (dropped) k->drop(t->n, t->panel->w, keep, t->ds);
    back_grade(t, panel);
    attn__terms_grad(t);
    attn__back_score_tile(t, panel, u);
    if (dropped) k->drop(t->n, t->panel->w, keep, t->s);
    panel->some_lanes = t->masked || t->n < n;
    if (panel->some_lanes || plan->problem.shaw_n || !s->finite) {
        back_words(t, dropped ? keep : NULL, (uint64_t *)(void *)(m + b->allowed),
                   (uint64_t *)(void *)(m + b->held), j0, n);
        back_buckets(t, panel, j0, t->s);
    }
    back_fill(t, m + b->p, j0, n);
    back_fill(t, m + b->ds, j0, n);
    return true;
}

/* ---- a block against the panels of a step ------------------------------------------------ */

/* acc of the block's keys += what the panels send: weights at `a` of their memory, times rows.
 */
static void back_send(const attn__back_step *s, const bool *some, int64_t n, int64_t width,
                      bool keys, double *acc)
{
    const attn__back_plan *b = s->u->b;
    const attn__kernels *k = s->u->r->plan->kernels;
    attn__part part[ATTN__BACK_STEP];
    const uint64_t *words[ATTN__BACK_STEP];
    bool finite = true;
    int parts = 0;
    for (int x = 0; x < s->n; x++) {
        const attn__back_panel *panel = &s->panel[x];
        if (!some[x]) continue;
        words[parts] =
            (const uint64_t *)(const void *)(panel->memory + (keys ? b->allowed : b->held));
        part[parts] = (attn__part){.a = panel->memory + (keys ? b->ds : b->p),
                                   .rows = keys ? panel->q_rows : panel->g_rows,
                                   .laid = keys ? panel->q_laid : panel->g_laid,
                                   .n = panel->lanes.n,
                                   .ld = panel->lanes.w,
                                   .lanes = panel->some_lanes ? words[parts] : NULL};
        parts++;
        finite = finite && (keys ? panel->q_finite : panel->g_finite);
    }
    if (finite)
        k->spread(n, width, parts, part, acc);
    else
        attn__spread_some(k, n, width, parts, part, words, acc);
}

void attn__back_send_keys(const attn__back_step *s, const bool *some, int64_t j0, int64_t n,
                          double *acc)
{
    (void)j0;
    back_send(s, some, n, s->u->r->p->D, true, acc);
}

void attn__back_block(attn__back_step *s, const bool *some, int64_t j0, int64_t n)
{
    const attn__problem *p = s->u->r->p;
    const attn__back_plan *b = s->u->b;
    double *dk = (double *)(void *)(s->u->scratch + b->dk) + (j0 - s->u->j0) * p->D;
    double *dv = (double *)(void *)(s->u->scratch + b->dv) + (j0 - s->u->j0) * p->E;
    bool any = false;
    for (int x = 0; x < s->n; x++) any = any || some[x];
    if (!any) return;
    if (attn__present(&p->at.d_k)) attn__back_score_keys(s, some, j0, n, dk);
    if (attn__present(&p->at.d_v)) back_send(s, some, n, p->E, false, dv);
}

/* ---- relative tables --------------------------------------------------------------------- */

/* The f64 sums of each distance as reals, in place of them. */
static const void *back_bucket_reals(const attn__kernels *k, double *sum, int64_t n)
{
    for (int64_t i = 0; i < n; i++) attn__real_put(k, sum, i, sum[i]);
    return sum;
}

/* d_rel += sums^T rows, panel by panel: of q for the keys, of g for the values. */
static void back_table(attn__back_step *s, int x, attn__sum_index sum, const void *reals,
                       const uint64_t *seen, bool keys)
{
    const attn__problem *p = s->u->r->p;
    const attn__kernels *k = s->u->r->plan->kernels;
    const attn__back_panel *panel = &s->panel[x];
    const int64_t width = keys ? p->D : p->E;
    const attn__part part = {.a = reals,
                             .rows = keys ? panel->q_rows : panel->g_rows,
                             .laid = keys ? panel->q_laid : panel->g_laid,
                             .n = panel->lanes.n,
                             .ld = panel->lanes.w};
    double *acc = attn__back_sum_at(s, sum, x, 0, 0);
    if (keys ? panel->q_finite : panel->g_finite)
        k->spread(p->shaw_n, width, 1, &part, acc);
    else
        attn__spread_some(k, p->shaw_n, width, 1, &part, &seen, acc);
}

void attn__back_tables(attn__back_step *s, int x)
{
    const attn__run *r = s->u->r;
    const attn__problem *p = r->p;
    const attn__back_plan *b = s->u->b;
    const attn__kernels *k = r->plan->kernels;
    attn__back_panel *panel = &s->panel[x];
    char *m = panel->memory;
    const int w = panel->lanes.w;
    if (attn__present(&p->at.rel_k)) {
        const void *reals =
            back_bucket_reals(k, (double *)(void *)(m + b->bucket_s), p->shaw_n * w);
        const uint64_t *seen = (const uint64_t *)(const void *)(m + b->seen_s);
        char *table = s->u->scratch + r->plan->at.rel_k;
        if (attn__present(&p->at.d_rel_k)) back_table(s, x, ATTN__SUM_rel_k, reals, seen, true);
        if (attn__present(&p->at.d_q)) {
            attn__stage_table(k, &p->at.rel_k, panel->lanes.h[0], table);
            if (k->finite(p->shaw_n * p->D, table))
                k->weigh(p->shaw_n, w, p->D, reals, w, table, p->D, false, panel->fresh,
                         m + b->acc);
            else
                attn__weigh_some(k, p->shaw_n, w, p->D, reals, table, p->D, seen, panel->fresh,
                                 m + b->acc);
            panel->fresh = false;
        }
    }
    if (attn__present(&p->at.d_rel_v))
        back_table(s, x, ATTN__SUM_rel_v,
                   back_bucket_reals(k, (double *)(void *)(m + b->bucket_p), p->shaw_n * w),
                   (const uint64_t *)(const void *)(m + b->seen_p), false);
}
