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
    if (u->c > 0 || !b->look_late) attn__panel_lanes(r, &u->seq, u->g, index, lanes);
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

/* The first panel of a step of the unit. */
static int64_t back_first(const attn__back_unit *u, int64_t step)
{
    return (u->range * ATTN__BACK_RANGE + step) * ATTN__BACK_STEP;
}

/* The keys that some lane of panel index may see, once it has been looked at. */
static const int64_t *back_keys(const attn__back_unit *u, int64_t index)
{
    const char *kept = attn__back_kept(u->r, u->panel0 + index);
    return (const int64_t *)(const void *)(kept + u->b->keys);
}

/* Whether some pair of the step, which has been looked at, may be allowed in the unit. */
static bool back_needed(const attn__back_unit *u, int64_t step)
{
    const int64_t first = back_first(u, step);
    bool needed = false;
    for (int64_t x = first; x < attn__min(first + ATTN__BACK_STEP, u->panels); x++) {
        const int64_t *keys = back_keys(u, x);
        needed = needed || (keys[0] < u->j0 + u->n && keys[1] > u->j0);
    }
    return needed;
}

static _Atomic int64_t *back_done(const attn__back_unit *u, int64_t step)
{
    return (_Atomic int64_t *)(void *)(u->r->workspace + u->b->dq_done) + u->panel0 +
           back_first(u, step);
}

/* The first chunk looks at the panels, the others wait until it has. */
static void back_look_late(attn__back_step *s)
{
    const attn__back_unit *u = s->u;
    const int64_t first = back_first(u, s->step);
    if (u->c > 0) {
        attn__back_wait(back_done(u, s->step), ATTN__BACK_LOOKED);
        return;
    }
    for (int x = 0; x < s->n; x++) {
        attn__panel_lanes(u->r, &u->seq, u->g, first + x, &s->panel[x].lanes);
        attn__back_look_at(u->r, u->scratch, &u->seq, &s->panel[x].lanes,
                           attn__back_kept(u->r, u->panel0 + first + x));
    }
    atomic_store_explicit(back_done(u, s->step), ATTN__BACK_LOOKED, memory_order_release);
}

static bool back_open(attn__back_step *s)
{
    attn__back_unit *u = s->u;
    const int64_t first = back_first(u, s->step);
    s->n = (int)attn__min(ATTN__BACK_STEP, u->panels - first);
    if (u->b->look_late) back_look_late(s);
    const bool needed = back_needed(u, s->step);
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

/* The last chunk that holds a key which panel index may see; of none: the first. */
static int64_t back_last(const attn__back_unit *u, int64_t index)
{
    const int64_t hi = attn__min(back_keys(u, index)[1], u->seq.S);
    return attn__max(hi - 1, 0) / ATTN__BACK_CHUNK;
}

/* acc (NULL: nothing came) joins the sums of panel index. After the last chunk that has to do
 * with it they go to the caller, while they are near. */
static void back_queries_add(attn__back_unit *u, int64_t index, attn__panel *lanes,
                             const void *acc, double *alone)
{
    const attn__run *r = u->r;
    const int64_t n = r->p->D * lanes->w, last = back_last(u, index);
    double *sum = last == 0 ? alone : back_sums(u, index);
    if (u->c > last) return;
    if (acc)
        r->plan->kernels->gather(n, u->c == 0, acc, sum);
    else if (u->c == 0)
        memset(sum, 0, (size_t)n * sizeof *sum);
    if (u->c == last) back_queries_write(u, lanes, sum);
}

/* In the turn of this chunk. One after the first that nothing came from leaves all as it is. */
static void back_queries_end(attn__back_step *s, bool opened)
{
    attn__back_unit *u = s->u;
    const attn__back_plan *b = u->b;
    const int64_t first = back_first(u, s->step);
    _Atomic int64_t *done = back_done(u, s->step);
    if (!attn__present(&u->r->p->at.d_q)) return;
    if (u->chunks > 1) attn__back_wait(done, ATTN__BACK_LOOKED + u->c);
    for (int x = 0; x < s->n && (opened || u->c == 0); x++) {
        attn__panel closed, *lanes = opened ? &s->panel[x].lanes : &closed;
        char *memory = u->scratch + b->panel + x * b->panel_bytes;
        if (!opened) attn__panel_lanes(u->r, &u->seq, u->g, first + x, &closed);
        back_queries_add(u, first + x, lanes,
                         opened && !s->panel[x].fresh ? memory + b->acc : NULL,
                         back_doubles(memory, b->state));
    }
    if (u->chunks > 1)
        atomic_store_explicit(done, ATTN__BACK_LOOKED + u->c + 1, memory_order_release);
}

/* ---- what is needed soon ----------------------------------------------------------------- */

/* The step after this one, in this unit or the next. That of another chunk begins where it has
 * pairs, which only who has looked at all of them knows. False: there is none, or who knows. */
static bool back_after(const attn__back_step *s, attn__back_unit *u, int64_t *step)
{
    const attn__back_unit *now = s->u;
    *u = *now;
    *step = s->step + 1;
    if (*step < ATTN__BACK_RANGE && back_first(u, *step) < u->panels) return true;
    if (!attn__back_next(now, u) || back_first(u, 0) >= u->panels) return false;
    *step = 0;
    if (u->c == 0) return true;
    if (u->panel0 != now->panel0 || u->range != now->range) return false;
    while (*step < s->step && !back_needed(u, *step)) ++*step;
    return true;
}

/* The rows of a step. */
static void back_warm_rows(attn__warm *warm, const attn__back_unit *u, int64_t step)
{
    const attn_args *a = &u->r->p->at;
    const attn_tensor *rows[] = {&a->q, &a->d_out, &a->out};
    const int n = u->b->look_late && u->c == 0 ? 3 : 2;
    int64_t h, i;
    attn__panel_first(u->r->p, &u->seq, u->g, back_first(u, step), &h, &i);
    const int64_t most = attn__min(ATTN__BACK_STEP * ATTN__PANEL, u->seq.T - i);
    for (int x = 0; x < n; x++)
        attn__warm_add(warm, rows[x], u->seq.qb, h, u->seq.q0 + i, most);
}

/* The sums that the gradients of this step's queries join, and where they go in the end. */
static void back_warm_sums(attn__back_step *s)
{
    const attn__back_unit *u = s->u;
    const attn__panel *first = &s->panel[0].lanes;
    const int64_t D = u->r->p->D, size = D * (int64_t)sizeof(double);
    if (!attn__present(&u->r->p->at.d_q)) return;
    if (u->c == back_last(u, s->panel[0].index))
        attn__warm_out(&s->warm, &u->r->p->at.d_q, u->seq.qb, first->h[0],
                       u->seq.q0 + first->i[0],
                       attn__min(s->n * ATTN__PANEL, u->seq.T - first->i[0]));
    for (int x = 0; x < s->n; x++)
        if (back_last(u, s->panel[x].index) > 0)
            attn__warm_memory(&s->warm, (char *)back_sums(u, s->panel[x].index),
                              size * s->panel[x].lanes.w);
}

/* A step walks more memory than the cache next to a core holds, so what is asked for too early
 * is gone when it is needed: rows are asked for in the last block but one, sums in the last. */
static void back_warm(attn__back_step *s, int64_t left)
{
    attn__back_unit u;
    int64_t step;
    const bool rows = left == 2 || (left == 1 && s->u->n <= ATTN__BLOCK);
    if (rows && back_after(s, &u, &step)) back_warm_rows(&s->warm, &u, step);
    if (left == 1) back_warm_sums(s);
}

void attn__back_step_run(attn__back_unit *u, int64_t step)
{
    attn__back_step s = {.u = u, .step = step, .warm.far = u->r->plan->far};
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
