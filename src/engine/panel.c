/* SPDX-License-Identifier: MIT
 * A panel: up to 48 queries that share one key/value head, in the lanes of vectors. When a
 * sequence has fewer queries than lanes, the query heads of the group lie side by side, so that
 * decoding one token reads K and V once for the whole group. */
#include <math.h>
#include <string.h>

#include "engine/half_mode.h"
#include "engine/jvp.h"
#include "engine/norm.h"
#include "engine/rotate.h"
#include "engine/rows.h"
#include "engine/score.h"

/* Query heads that fit side by side, at least 1. Relative tables of each head keep them apart,
 * because a panel looks into one table. */
static int64_t panel_heads(const attn__problem *p, int64_t T)
{
    if (p->at.rel_k.shape[0] > 1 || p->at.rel_v.shape[0] > 1) return 1;
    return attn__max(1, attn__min(p->H / p->G, T > 0 ? ATTN__PANEL / T : 1));
}

int64_t attn__panels_count(const attn__problem *p, int64_t T)
{
    if (T == 0 || p->G == 0) return 0;
    const int64_t group = p->H / p->G, heads = panel_heads(p, T);
    return heads > 1 ? attn__ceil_div(group, heads) : group * attn__ceil_div(T, ATTN__PANEL);
}

int64_t attn__panel_head(const attn__problem *p, int64_t g, int64_t member)
{
    return p->spec.head_map == ATTN_HEADS_TILED ? g + member * p->G
                                                : g * (p->H / p->G) + member;
}

double attn__center_at(const attn__problem *p, const attn__seq *seq, int64_t h, int64_t i)
{
    const attn_tensor *t = &p->at.center;
    return attn__get(t->dtype, attn__at(t, seq->b, h, seq->iq + i, 0), 0);
}

/* ---- the keys a query may see by causal, prefix, window, chunk and centre: one interval -- */

static void panel_causal(const attn__seq *seq, attn__panel *panel)
{
    for (int l = 0; l < panel->n; l++)
        panel->hi[l] = attn__min(panel->hi[l], attn__max(panel->p[l] + 1, seq->prefix));
}

static void panel_window(const attn_spec *s, attn__panel *panel)
{
    for (int l = 0; l < panel->n && s->window.left >= 0; l++)
        panel->lo[l] = attn__max(panel->lo[l], panel->p[l] - s->window.left);
    for (int l = 0; l < panel->n && s->window.right >= 0; l++)
        panel->hi[l] = attn__min(panel->hi[l], panel->p[l] + s->window.right + 1);
}

static void panel_chunk(const attn_spec *s, attn__panel *panel)
{
    for (int l = 0; l < panel->n; l++) {
        int64_t first = panel->p[l] / s->chunk * s->chunk;
        if (first > panel->p[l]) first -= s->chunk;
        panel->lo[l] = attn__max(panel->lo[l], first);
        panel->hi[l] = attn__min(panel->hi[l], first + s->chunk);
    }
}

/* The keys around the centre; around a NaN there are none. */
static void panel_center(const attn__problem *p, const attn__seq *seq, attn__panel *panel)
{
    const double width = p->spec.center_width;
    for (int l = 0; l < panel->n; l++) {
        const double center = attn__center_at(p, seq, panel->h[l], panel->i[l]);
        const double first = ceil(center - width), last = floor(center + width);
        if (!(last >= 0 && first < (double)seq->S)) {
            panel->hi[l] = 0;
            continue;
        }
        if (first > (double)panel->lo[l]) panel->lo[l] = (int64_t)first;
        if (last < (double)panel->hi[l])
            panel->hi[l] = attn__min(panel->hi[l], (int64_t)last + 1);
    }
}

static void panel_ranges(const attn__problem *p, const attn__seq *seq, attn__panel *panel)
{
    const attn_spec *s = &p->spec;
    for (int l = 0; l < panel->n; l++) panel->lo[l] = 0, panel->hi[l] = seq->S;
    if (s->causal) panel_causal(seq, panel);
    if (s->window.on) panel_window(s, panel);
    if (s->chunk > 0) panel_chunk(s, panel);
    if (s->center_width != 0) panel_center(p, seq, panel);
}

/* What the intervals have in common, and what they cover. */
static void panel_bounds(attn__panel *panel)
{
    int64_t any_lo = INT64_MAX, any_hi = 0, all_lo = 0, all_hi = INT64_MAX;
    for (int l = 0; l < panel->n; l++) {
        int64_t *lo = &panel->lo[l], *hi = &panel->hi[l];
        if (*hi <= *lo) *lo = *hi = 0;
        all_lo = attn__max(all_lo, *lo);
        all_hi = attn__min(all_hi, *hi);
        if (*lo == *hi) continue;
        any_lo = attn__min(any_lo, *lo);
        any_hi = attn__max(any_hi, *hi);
    }
    panel->any_lo = any_lo, panel->any_hi = any_hi;
    panel->all_lo = all_lo, panel->all_hi = all_hi;
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
    *h = attn__panel_head(p, g, member);
}

/* Queries i0 .. of one head, and keys 0 .. hi where hi never falls: all there is unless an option
 * says otherwise. Every lane is filled, which is shorter than counting those in use. */
static void panel_head(const attn__problem *p, const attn__seq *seq, int64_t h, int64_t i0,
                       attn__panel *panel)
{
    const int64_t p0 = i0 + seq->offset;
    for (int l = 0; l < ATTN__PANEL; l++) {
        panel->h[l] = h;
        panel->i[l] = i0 + l;
        panel->p[l] = p0 + l;
        panel->lo[l] = 0;
        panel->hi[l] = p0 + l + 1;
    }
    if (!p->spec.causal)
        for (int l = 0; l < ATTN__PANEL; l++) panel->hi[l] = seq->S;
    else if (p0 + 1 < seq->prefix || p0 + panel->n > seq->S)
        for (int l = 0; l < panel->n; l++)
            panel->hi[l] = attn__min(seq->S, attn__max(panel->hi[l], seq->prefix));
}

/* What attn__panel_reach and panel_bounds would find there; false if some lane sees nothing. */
static bool panel_stairs(attn__panel *panel)
{
    const int last = panel->n - 1;
    if (panel->hi[0] <= 0) return false;
    panel->any_lo = panel->all_lo = 0;
    panel->any_hi = panel->hi[last];
    panel->all_hi = panel->hi[0];
    for (int x = 0; x < ATTN__SLICES; x++) {
        const int end = (x + 1) * ATTN__SLICE - 1;
        panel->reach[x] = x * ATTN__SLICE > last ? 0 : panel->hi[end < last ? end : last];
    }
    return true;
}

/* Whether the keys of a query are those in front of it, at most. */
static bool panel_ahead(const attn_spec *s)
{
    return !s->window.on && s->chunk <= 0 && s->center_width == 0;
}

void attn__panel_lanes(const attn__run *r, const attn__seq *seq, int64_t g, int64_t index,
                       attn__panel *panel)
{
    const attn__problem *p = r->p;
    const int step = r->plan->kernels->step;
    int64_t first, i0;
    panel_place(p, seq->T, index, &first, &i0);
    const int64_t rows = attn__min(ATTN__PANEL, seq->T - i0);
    const int64_t members = attn__min(panel_heads(p, seq->T), p->H / p->G - first);
    panel->n = (int)(members * rows);
    panel->w = (panel->n + step - 1) / step * step;
    panel->stairs = members == 1 && panel_ahead(&p->spec);
    if (panel->stairs) {
        panel_head(p, seq, attn__panel_head(p, g, first), i0, panel);
        if (panel_stairs(panel)) return;
    }
    panel->n = 0;
    for (int64_t member = 0; member < members; member++) {
        const int64_t h = attn__panel_head(p, g, first + member);
        for (int64_t i = 0; i < rows; i++) {
            const int l = panel->n++;
            panel->h[l] = h;
            panel->i[l] = i0 + i;
            panel->p[l] = i0 + i + seq->offset;
        }
    }
    panel_ranges(p, seq, panel);
    panel_bounds(panel);
    attn__panel_reach(panel);
}

void attn__panel_reach(attn__panel *panel)
{
    panel->stairs = false;
    for (int x = 0, l = 0; x < ATTN__SLICES; x++) {
        const int end = panel->n < (x + 1) * ATTN__SLICE ? panel->n : (x + 1) * ATTN__SLICE;
        int64_t reach = 0;
        for (; l < end; l++) reach = attn__max(reach, panel->hi[l]);
        panel->reach[x] = reach;
    }
}

void attn__panel_rows(const attn__seq *seq, const attn__panel *panel, const attn_tensor *t,
                      char **rows)
{
    const int64_t step = t->data ? t->stride[2] * (int64_t)attn_dtype_size(t->dtype) : 0;
    for (int l = 0, end; l < panel->n; l = end) {
        const int64_t h = panel->h[l];
        for (end = panel->stairs ? panel->n : l + 1; end < panel->n && panel->h[end] == h;)
            end++;
        const char *row = attn__at(t, seq->qb, h, seq->q0 + panel->i[l], 0);
        attn__rows_list((const void **)rows + l, row, step, end - l);
    }
}

void attn__panel_stage(const attn__run *r, const attn__seq *seq, const attn__panel *panel,
                       const attn_tensor *t, bool turn, char *memory, const void **rows)
{
    const attn__kernels *k = r->plan->kernels;
    const int64_t width = t->shape[3];
    attn__panel_rows(seq, panel, t, (char **)rows);
    if (attn__stage_direct(k, t) && !turn) return;
    for (int l = 0; l < panel->n; l++) {
        char *staged = memory + l * width * (int64_t)attn__real_size(k);
        attn__stage_row(k, t->dtype, rows[l], t->stride[3], width, staged);
        if (turn) attn__rotate_row(r, attn__rotate_q_position(r, seq, panel->i[l]), staged);
        rows[l] = staged;
    }
}

/* rq[r][l] = q_l . rel_k[r]: what the relative keys add, for every distance. */
void attn__panel_relative(const attn__run *r, char *scratch, attn__panel *panel)
{
    const attn_tensor *table = &r->p->at.rel_k;
    if (attn__present(table))
        attn__panel_table(r, panel, table, panel->qt, scratch + r->plan->at.rel_k, panel->rq);
}

void attn__panel_table(const attn__run *r, const attn__panel *panel, const attn_tensor *table,
                       const void *lanes, void *memory, void *dst)
{
    const attn__kernels *k = r->plan->kernels;
    const int64_t width = table->shape[2];
    attn__stage_table(k, table, panel->h[0], memory);
    k->scores(r->p->shaw_n, panel->w, width, memory, width, lanes, panel->w, dst);
}

void attn__panel_queries(const attn__run *r, char *scratch, const attn__seq *seq,
                         attn__panel *panel, char *memory, const void **rows)
{
    attn__panel_stage(r, seq, panel, &r->p->at.q, r->p->R > 0, memory, rows);
    attn__panel_pack(r, scratch, panel, memory, rows);
}

void attn__panel_pack(const attn__run *r, char *scratch, attn__panel *panel, char *memory,
                      const void **rows)
{
    const attn_plan *plan = r->plan;
    plan->kernels->pack(panel->n, panel->w, r->p->D, rows, plan->q_factor, panel->qt);
    attn__panel_relative(r, scratch, panel);
    attn__score_weights(r, memory, panel);
}

void attn__panel_reset(const attn__run *r, attn__panel *panel)
{
    panel->fresh = false;
    const attn__problem *p = r->p;
    for (int l = 0; l < panel->w; l++) panel->sm[l] = -(double)INFINITY, panel->sl[l] = 0;
    memset(panel->so, 0, (size_t)(p->E * panel->w) * sizeof(double));
    if (p->call == ATTN__JVP) attn__jvp_reset(r, panel);
}

void attn__panel_memory(const attn_plan *plan, attn__panel *panel, char *memory)
{
    panel->memory = memory;
    panel->qt = memory + plan->at.qt;
    panel->rq = memory + plan->at.rq;
    panel->wt = memory + plan->at.wt;
    panel->sm = (double *)(void *)(memory + plan->at.sm);
    panel->sl = (double *)(void *)(memory + plan->at.sl);
    panel->so = (double *)(void *)(memory + plan->at.so);
    panel->norm = (attn__norm *)(void *)(memory + plan->at.norm);
}

void attn__panel_open(const attn__run *r, char *scratch, const attn__seq *seq, int64_t g,
                      int64_t index, attn__panel *panel, char *memory)
{
    const attn_plan *plan = r->plan;
    const void *rows[ATTN__PANEL];
    attn__panel_lanes(r, seq, g, index, panel);
    panel->fresh = true;
    panel->closed = false;
    attn__panel_memory(plan, panel, memory);
    attn__norm_open(r->p, panel);
    attn__panel_queries(r, scratch, seq, panel, scratch + plan->at.rows, rows);
    attn__half_queries(r, panel);
    if (r->p->call == ATTN__JVP) attn__jvp_open(r, scratch, seq, panel);
}
