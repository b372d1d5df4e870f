/* SPDX-License-Identifier: MIT
 * A step of a unit: four panels are opened - queries and gradients in lanes and as rows - and
 * walk the unit's keys block by block. Then what the unit adds to the gradients of these
 * queries goes to their f64 sums, chunk after chunk; the last chunk turns the sums into rows
 * for the caller. */
#include <string.h>

#include "engine/back.h"
#include "engine/norm.h"
#include "engine/rotate.h"
#include "engine/score.h"

static double *back_doubles(char *memory, int64_t at)
{
    return (double *)(void *)(memory + at);
}

/* ---- opening ----------------------------------------------------------------------------- */

static void back_open_tables(const attn__back_unit *u, attn__back_panel *panel)
{
    const attn_args *a = &u->r->p->at;
    const int64_t W = u->r->p->shaw_n;
    char *m = panel->memory;
    if (W == 0) return;
    memset(m + u->b->bucket_s, 0, (size_t)(W * panel->lanes.w) * sizeof(double));
    memset(m + u->b->bucket_p, 0, (size_t)(W * panel->lanes.w) * sizeof(double));
    memset(m + u->b->seen_s, 0, (size_t)W * sizeof(uint64_t));
    memset(m + u->b->seen_p, 0, (size_t)W * sizeof(uint64_t));
    if (attn__present(&a->rel_v))
        attn__panel_table(u->r, &panel->lanes, &a->rel_v, m + u->b->gt,
                          u->scratch + u->r->plan->at.rel_v, m + u->b->gr);
}

/* Rows of the lanes: the caller's, or as they were staged. */
static void back_rows(const attn__back_unit *u, const attn__panel *lanes, const attn_tensor *t,
                      bool staged, const char *kept, const void **rows)
{
    const attn__kernels *k = u->r->plan->kernels;
    if (!staged && attn__stage_direct(k, t)) {
        attn__panel_rows(&u->seq, lanes, t, (char **)rows);
        return;
    }
    const int64_t width = t == &u->r->p->at.q ? u->r->p->D : u->r->p->E;
    for (int l = 0; l < lanes->n; l++) rows[l] = kept + l * width * (int64_t)attn__real_size(k);
}

/* Rows side by side: those of the caller may lie so far apart that they fight for one place in
 * the cache. */
static void back_lay(const attn__back_unit *u, attn__back_panel *panel)
{
    const attn__problem *p = u->r->p;
    const attn__kernels *k = u->r->plan->kernels;
    char *q = panel->memory + u->b->q_laid, *g = panel->memory + u->b->g_laid;
    k->lay(panel->lanes.n, p->D, panel->q_rows, q);
    k->lay(panel->lanes.n, p->E, panel->g_rows, g);
    panel->q_finite = k->finite(panel->lanes.n * u->b->q_wide, q);
    panel->g_finite = k->finite(panel->lanes.n * u->b->g_wide, g);
    panel->q_laid = q;
    panel->g_laid = g;
}

static void back_open_panel(const attn__back_unit *u, int64_t index, char *memory,
                            attn__back_panel *panel)
{
    const attn__run *r = u->r;
    const attn__kernels *k = r->plan->kernels;
    const attn__back_plan *b = u->b;
    attn__panel *lanes = &panel->lanes;
    panel->index = index;
    panel->memory = memory;
    panel->fresh = true;
    panel->kept = attn__back_kept(r, u->panel0 + index);
    attn__panel_lanes(r, &u->seq, u->g, index, lanes);
    lanes->qt = memory + r->plan->at.qt;
    lanes->rq = memory + r->plan->at.rq;
    lanes->wt = memory + r->plan->at.wt;
    lanes->norm = (attn__norm *)(void *)(panel->kept + b->norm);
    back_rows(u, lanes, &r->p->at.q, r->p->R > 0, panel->kept + b->q_rows, panel->q_rows);
    back_rows(u, lanes, &r->p->at.d_out, !attn__present(&r->p->at.d_out),
              panel->kept + b->g_rows, panel->g_rows);
    back_lay(u, panel);
    k->pack(lanes->n, lanes->w, r->p->D, panel->q_rows, r->plan->q_factor, lanes->qt);
    k->pack(lanes->n, lanes->w, r->p->E, panel->g_rows, b->gain, memory + b->gt);
    attn__panel_relative(r, u->scratch, lanes);
    attn__score_weights(r, u->scratch + r->plan->at.rows, lanes);
    back_open_tables(u, panel);
}

/* Whether some pair of the panel may be allowed in the unit. */
static bool back_needed(const attn__back_unit *u, int64_t index)
{
    attn__panel lanes;
    attn__panel_lanes(u->r, &u->seq, u->g, index, &lanes);
    return lanes.any_lo < u->j0 + u->n && lanes.any_hi > u->j0;
}

static bool back_open(attn__back_step *s)
{
    attn__back_unit *u = s->u;
    const int64_t first = (u->range * ATTN__BACK_RANGE + s->step) * ATTN__BACK_STEP;
    bool needed = false;
    s->n = (int)attn__min(ATTN__BACK_STEP, u->panels - first);
    for (int x = 0; x < s->n; x++) {
        if (u->b->look_late) attn__back_look(u->r, u->scratch, u->panel0 + first + x);
        needed = needed || back_needed(u, first + x);
    }
    s->finite = true;
    for (int x = 0; x < s->n && needed; x++) {
        back_open_panel(u, first + x, u->scratch + u->b->panel + x * u->b->panel_bytes,
                        &s->panel[x]);
        s->finite = s->finite && s->panel[x].q_finite && s->panel[x].g_finite;
    }
    return needed;
}

/* ---- the gradients of the queries -------------------------------------------------------- */

static void back_queries_write(attn__back_unit *u, attn__panel *lanes, double *sum)
{
    const attn__run *r = u->r;
    double factor[ATTN__PANEL];
    for (int l = 0; l < lanes->w; l++) factor[l] = u->b->factor;
    for (int l = 0; l < lanes->n && r->p->R; l++)
        attn__rotate_back(r, attn__rotate_q_position(r, &u->seq, lanes->i[l]), sum + l,
                          lanes->w);
    attn__panel_write(r, u->scratch, &u->seq, lanes, &r->p->at.d_q, sum, factor);
}

/* The f64 sums of panel index, of all chunks. */
static double *back_sums(const attn__back_unit *u, int64_t index)
{
    return back_doubles(u->r->workspace, u->b->dq) +
           (u->panel0 + index) * u->r->p->D * ATTN__PANEL;
}

/* acc (NULL: nothing came) joins the sums of panel index. */
static void back_queries_add(attn__back_unit *u, int64_t index, attn__panel *lanes,
                             const void *acc, double *alone)
{
    const attn__run *r = u->r;
    const int64_t n = r->p->D * lanes->w;
    double *sum = u->chunks == 1 ? alone : back_sums(u, index);
    if (acc)
        r->plan->kernels->gather(n, u->c == 0, acc, sum);
    else if (u->c == 0)
        memset(sum, 0, (size_t)n * sizeof *sum);
    if (u->c == u->chunks - 1) back_queries_write(u, lanes, sum);
}

/* In the turn of this chunk. */
static void back_queries_end(attn__back_step *s, bool opened)
{
    attn__back_unit *u = s->u;
    const attn__back_plan *b = u->b;
    const int64_t first = (u->range * ATTN__BACK_RANGE + s->step) * ATTN__BACK_STEP;
    _Atomic int64_t *done =
        (_Atomic int64_t *)(void *)(u->r->workspace + b->dq_done) + u->panel0 + first;
    if (!attn__present(&u->r->p->at.d_q)) return;
    if (u->chunks > 1) attn__back_wait(done, u->c);
    for (int x = 0; x < s->n; x++) {
        attn__panel closed, *lanes = opened ? &s->panel[x].lanes : &closed;
        char *memory = u->scratch + b->panel + x * b->panel_bytes;
        if (!opened) attn__panel_lanes(u->r, &u->seq, u->g, first + x, &closed);
        back_queries_add(u, first + x, lanes,
                         opened && !s->panel[x].fresh ? memory + b->acc : NULL,
                         back_doubles(memory, b->state));
    }
    if (u->chunks > 1) atomic_store_explicit(done, u->c + 1, memory_order_release);
}

/* ---- what is needed soon ----------------------------------------------------------------- */

/* The rows of the next step. */
static void back_warm_rows(attn__back_step *s)
{
    const attn__back_unit *u = s->u;
    const attn_args *a = &u->r->p->at;
    const int64_t first = (u->range * ATTN__BACK_RANGE + s->step + 1) * ATTN__BACK_STEP;
    int64_t h, i;
    if (s->step + 1 == ATTN__BACK_RANGE || first >= u->panels) return;
    attn__panel_first(u->r->p, &u->seq, u->g, first, &h, &i);
    const int64_t rows = attn__min(ATTN__BACK_STEP * ATTN__PANEL, u->seq.T - i);
    attn__warm_add(&s->warm, &a->q, u->seq.qb, h, u->seq.q0 + i, rows);
    attn__warm_add(&s->warm, &a->d_out, u->seq.qb, h, u->seq.q0 + i, rows);
}

/* The sums that the gradients of this step's queries join. */
static void back_warm_sums(attn__back_step *s)
{
    const attn__back_unit *u = s->u;
    const int64_t D = u->r->p->D, size = D * (int64_t)sizeof(double);
    if (u->chunks == 1 || u->c == 0 || !attn__present(&u->r->p->at.d_q)) return;
    for (int x = 0; x < s->n; x++)
        attn__warm_memory(&s->warm, (char *)back_sums(u, s->panel[x].index),
                          size * s->panel[x].lanes.w);
}

/* A step walks more memory than the cache next to a core holds, so what is asked for too early
 * is gone when it is needed: rows are asked for in the last block but one, sums in the last. */
static void back_warm(attn__back_step *s, int64_t left)
{
    if (left == 2 || (left == 1 && s->u->n <= ATTN__BLOCK)) back_warm_rows(s);
    if (left == 1) back_warm_sums(s);
}

void attn__back_step_run(attn__back_unit *u, int64_t step)
{
    attn__back_step s = {.u = u, .step = step};
    const bool opened = back_open(&s);
    for (int64_t j = 0; opened && j < u->n; j += ATTN__BLOCK) {
        const int64_t n = attn__min(ATTN__BLOCK, u->n - j);
        bool some[ATTN__BACK_STEP];
        back_warm(&s, attn__ceil_div(u->n - j, ATTN__BLOCK));
        for (int x = 0; x < s.n; x++) some[x] = attn__back_tile(&s, x, u->j0 + j, n);
        attn__back_block(&s, some, u->j0 + j, n);
    }
    for (int x = 0; opened && x < s.n; x++)
        if (u->r->p->shaw_n) attn__back_tables(&s, x);
    back_queries_end(&s, opened);
}
