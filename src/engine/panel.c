/* SPDX-License-Identifier: MIT
 * A panel: up to 48 queries that share one key/value head, in the lanes of vectors. When a
 * sequence has fewer queries than lanes, the query heads of the group lie side by side, so that
 * decoding one token reads K and V once for the whole group. */
#include <math.h>
#include <string.h>

#include "engine/engine.h"

/* Query heads that fit side by side, at least 1. Relative tables that differ by head keep them
 * apart, because a panel looks into one table. */
static int64_t panel_heads(const attn__problem *p, int64_t T)
{
    if (p->shaw_n && (p->at.rel_k.stride[0] != 0 || p->at.rel_v.stride[0] != 0)) return 1;
    return attn__max(1, attn__min(p->H / p->G, T > 0 ? ATTN__PANEL / T : 1));
}

int64_t attn__panels_count(const attn__problem *p, int64_t T)
{
    const int64_t group = p->H / p->G, heads = panel_heads(p, T);
    if (T == 0) return 0;
    return heads > 1 ? attn__ceil_div(group, heads) : group * attn__ceil_div(T, ATTN__PANEL);
}

static int64_t panel_head(const attn__problem *p, int64_t g, int64_t member)
{
    return p->spec.head_map == ATTN_HEADS_TILED ? g + member * p->G
                                                : g * (p->H / p->G) + member;
}

/* The keys a query at p may see by causal, prefix, window and chunk: one interval. */
static void panel_range(const attn__problem *p, const attn__seq *seq, int64_t pos, int64_t *lo,
                        int64_t *hi)
{
    const attn_spec *s = &p->spec;
    *lo = 0;
    *hi = seq->S;
    if (s->causal) *hi = attn__min(*hi, attn__max(pos + 1, seq->prefix));
    if (s->window.on && s->window.left >= 0) *lo = attn__max(*lo, pos - s->window.left);
    if (s->window.on && s->window.right >= 0) *hi = attn__min(*hi, pos + s->window.right + 1);
    if (s->chunk > 0) {
        int64_t first = pos / s->chunk * s->chunk;
        if (first > pos) first -= s->chunk;
        *lo = attn__max(*lo, first);
        *hi = attn__min(*hi, first + s->chunk);
    }
    if (*hi <= *lo) *lo = *hi = 0;
}

/* Where panel index begins: member of the group, and query. */
static void panel_place(const attn__problem *p, int64_t T, int64_t index, int64_t *member,
                        int64_t *i0)
{
    const int64_t heads = panel_heads(p, T), tall = attn__ceil_div(T, ATTN__PANEL);
    *member = heads > 1 ? index * heads : index / tall;
    *i0 = heads > 1 ? 0 : index % tall * ATTN__PANEL;
}

void attn__panel_first(const attn__problem *p, const attn__seq *seq, int64_t g, int64_t index,
                       int64_t *h, int64_t *i)
{
    int64_t member;
    panel_place(p, seq->T, index, &member, i);
    *h = panel_head(p, g, member);
}

static void panel_lanes(const attn__problem *p, const attn__seq *seq, int64_t g, int64_t index,
                        attn__panel *panel)
{
    int64_t first, i0;
    panel_place(p, seq->T, index, &first, &i0);
    const int64_t rows = attn__min(ATTN__PANEL, seq->T - i0);
    const int64_t members = attn__min(panel_heads(p, seq->T), p->H / p->G - first);
    panel->n = 0;
    panel->any_lo = INT64_MAX, panel->any_hi = 0, panel->all_lo = 0, panel->all_hi = INT64_MAX;
    for (int64_t member = 0; member < members; member++)
        for (int64_t i = 0; i < rows; i++) {
            const int l = panel->n++;
            panel->h[l] = panel_head(p, g, first + member);
            panel->i[l] = i0 + i;
            panel->p[l] = i0 + i + seq->offset;
            panel_range(p, seq, panel->p[l], &panel->lo[l], &panel->hi[l]);
            panel->all_lo = attn__max(panel->all_lo, panel->lo[l]);
            panel->all_hi = attn__min(panel->all_hi, panel->hi[l]);
            if (panel->lo[l] == panel->hi[l]) continue;
            panel->any_lo = attn__min(panel->any_lo, panel->lo[l]);
            panel->any_hi = attn__max(panel->any_hi, panel->hi[l]);
        }
}

void attn__panel_rows(const attn__seq *seq, const attn__panel *panel, const attn_tensor *t,
                      char **rows)
{
    const int64_t size = (int64_t)attn_dtype_size(t->dtype), step = t->stride[2] * size;
    for (int l = 0; l < panel->n; l++)
        rows[l] = l > 0 && t->data && panel->h[l] == panel->h[l - 1]
                      ? rows[l - 1] + step
                      : attn__at(t, seq->qb, panel->h[l], seq->q0 + panel->i[l], 0);
}

/* Queries as lanes. */
static void panel_queries(const attn__run *r, char *scratch, const attn__seq *seq,
                          attn__panel *panel)
{
    const attn_plan *plan = r->plan;
    const attn__problem *p = r->p;
    const attn__kernels *k = plan->kernels;
    const attn_tensor *q = &p->at.q;
    const bool direct = attn__stage_direct(k, q) && !p->R;
    char *rows[ATTN__PANEL];
    attn__panel_rows(seq, panel, q, rows);
    for (int l = 0; l < panel->n && !direct; l++) {
        char *staged = scratch + plan->at.rows + l * p->D * (int64_t)attn__real_size(k);
        attn__stage_row(k, q->dtype, rows[l], q->stride[3], p->D, staged);
        if (p->R) attn__rotate_row(r, attn__rotate_q_position(r, seq, panel->i[l]), staged);
        rows[l] = staged;
    }
    k->pack(panel->n, panel->w, p->D, (const void *const *)rows, plan->q_factor, panel->qt);
}

/* rq[r][l] = q_l . rel_k[r]: what the relative keys add, for every distance. */
static void panel_relative(const attn__run *r, char *scratch, attn__panel *panel)
{
    const attn_plan *plan = r->plan;
    const attn__problem *p = r->p;
    if (!attn__present(&p->at.rel_k)) return;
    char *rows = scratch + plan->at.rel_k;
    attn__stage_table(plan->kernels, &p->at.rel_k, panel->h[0], rows);
    plan->kernels->scores(p->shaw_n, panel->w, p->D, rows, p->D, panel->qt, panel->w,
                          panel->rq);
}

void attn__panel_reset(const attn__run *r, attn__panel *panel)
{
    panel->fresh = false;
    const attn__problem *p = r->p;
    for (int l = 0; l < panel->w; l++) panel->sm[l] = -(double)INFINITY, panel->sl[l] = 0;
    memset(panel->so, 0, (size_t)(p->E * panel->w) * sizeof(double));
}

void attn__panel_open(const attn__run *r, char *scratch, const attn__seq *seq, int64_t g,
                      int64_t index, attn__panel *panel, char *memory)
{
    const attn_plan *plan = r->plan;
    const int step = plan->kernels->step;
    panel_lanes(r->p, seq, g, index, panel);
    panel->fresh = true;
    panel->w = (panel->n + step - 1) / step * step;
    panel->qt = memory + plan->at.qt;
    panel->rq = memory + plan->at.rq;
    panel->sm = (double *)(void *)(memory + plan->at.sm);
    panel->sl = (double *)(void *)(memory + plan->at.sl);
    panel->so = (double *)(void *)(memory + plan->at.so);
    panel_queries(r, scratch, seq, panel);
    panel_relative(r, scratch, panel);
}
