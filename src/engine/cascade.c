/* SPDX-License-Identifier: MIT
 * Common beginnings: sequences whose first chunks are the same memory (forks of a paged cache,
 * equal entries of page tables, one sequence asked several times) read them once. Their rows
 * stand as lanes of one panel, a joint, over the chunks they share; then each goes on alone from
 * its lanes of that state. A lane does not know its neighbours and chunks are folded in the same
 * order, so the bits are those of going alone.
 *
 * Found at the start of a run, in memory of the plan: who shares what stands in the contents. It
 * takes few rows a sequence, and that nothing on the way tells sequences apart. */
#include <string.h>

#include "engine/few.h"
#include "engine/norm.h"
#include "engine/score.h"
#include "engine/source.h"

enum {
    CASCADE_LANES = ATTN__PANEL / 2,
    CASCADE_MEMORY = 64 << 20,
    CASCADE_FAR = 1 << 20,
    CASCADE_LOOK = 256 /* others of the same front that one sequence is compared with */
};

/* ---- plan -------------------------------------------------------------------------------- */

/* An operand that is the same for all sequences. */
static bool cascade_even(const attn_tensor *t)
{
    return !attn__present(t) || t->stride[0] == 0;
}

static bool cascade_serves(const attn__problem *p)
{
    const attn_args *a = &p->at;
    const attn_tensor *by_sequence[] = {&a->bias_pre, &a->bias,   &a->mask, &a->block_mask,
                                        &a->alibi,    &a->center, &a->k_pos};
    bool even = true;
    for (size_t i = 0; i < sizeof by_sequence / sizeof by_sequence[0]; i++)
        even = even && cascade_even(by_sequence[i]);
    return even && p->source != ATTN__SOURCE_TENSORS && p->H > 0 && !attn__norm_looks(p) &&
           !p->spec.tile && p->spec.dropout == 0 && !attn__present(&a->q_seg) &&
           !attn__present(&a->q_start);
}

/* Whether a sequence of T rows leaves lanes for another. */
static bool cascade_small(const attn__problem *p, int64_t T)
{
    return T > 0 && attn__panels_count(p, T) == 1 && p->H / p->G * T <= CASCADE_LANES;
}

int64_t attn__cascade_bytes(const attn__problem *p)
{
    return (p->E + 2) * ATTN__PANEL * (int64_t)sizeof(double);
}

int64_t attn__cascade_joints(const attn__problem *p)
{
    if (!cascade_serves(p) || (!p->packed_q && !cascade_small(p, p->T))) return 0;
    if (p->E > CASCADE_FAR || p->G > CASCADE_FAR) return 0;
    const int64_t each = p->G * attn__cascade_bytes(p);
    return attn__min(p->N / 2, 1 + CASCADE_MEMORY / each);
}

/* ---- who shares what --------------------------------------------------------------------- */

/* Leading chunks of the keys 0 .. keys that are the same pages. */
static int64_t cascade_pages(const attn__problem *p, int64_t a, int64_t b, int64_t keys)
{
    const attn_tensor *table = &p->at.page_table;
    int64_t x = 0;
    while (x * p->page < keys && attn__int_at(table, a, x) == attn__int_at(table, b, x)) x++;
    return attn__min(x * p->page, keys) / ATTN__CHUNK;
}

/* Keys in front of those that a tree tells apart. */
static int64_t cascade_keys(const attn__problem *p, const attn__seq *seq)
{
    return attn__present(&p->at.tree) ? attn__max(0, seq->S - seq->T) : seq->S;
}

/* Leading whole chunks that two sequences have in common. */
static int64_t cascade_common(const attn__run *r, int64_t a, int64_t b)
{
    const attn__problem *p = r->p;
    const attn__seq *x = &r->seqs[a], *y = &r->seqs[b];
    const int64_t keys = attn__min(cascade_keys(p, x), cascade_keys(p, y));
    if (keys < ATTN__CHUNK) return 0;
    if (p->source == ATTN__SOURCE_PAGES) return cascade_pages(p, a, b, keys);
    return attn__min(keys / ATTN__CHUNK, attn__cache_shared(p->at.cache, x->held, y->held));
}

/* A number that those have in common whose first chunk is the same memory, and hardly others. */
static uint64_t cascade_front(const attn__run *r, int64_t b)
{
    const attn__problem *p = r->p;
    uint64_t front = 0;
    if (p->source == ATTN__SOURCE_CACHE) return attn__cache_front(p->at.cache, r->seqs[b].held);
    for (int64_t x = 0; x * p->page < ATTN__CHUNK; x++)
        front = attn__front_add(front, attn__int_at(&p->at.page_table, b, x));
    return front;
}

static int64_t cascade_lanes(const attn__run *r, int64_t b)
{
    return r->p->H / r->p->G * r->seqs[b].T;
}

/* May stand in a joint. */
static bool cascade_joins(const attn__run *r, int64_t b)
{
    const attn__seq *seq = &r->seqs[b];
    return cascade_small(r->p, seq->T) && cascade_keys(r->p, seq) >= ATTN__CHUNK;
}

/* Chains of those that have a front in common, in ascending order. */
static void cascade_chains(attn__run *r)
{
    const int64_t N = r->p->N;
    for (int64_t b = 0; b < N; b++) {
        attn__seq *seq = &r->seqs[b];
        seq->next = seq->twin = seq->fronts = -1;
        seq->shared = seq->lane = 0;
    }
    for (int64_t b = N - 1; b >= 0; b--) {
        if (!cascade_joins(r, b)) continue;
        attn__seq *chain = &r->seqs[(cascade_front(r, b) >> 32) % (uint64_t)N];
        r->seqs[b].twin = chain->fronts;
        chain->fronts = b;
    }
}

/* Ends a joint of n members from head on; one alone is none. */
static void cascade_close(attn__run *r, int64_t head, int64_t n, int64_t shared)
{
    if (n > 1) r->joints[r->n_joints] = head;
    for (int64_t b = head; b >= 0; b = r->seqs[b].next) {
        r->seqs[b].shared = n > 1 ? shared : 0;
        r->seqs[b].joint = r->n_joints;
    }
    r->n_joints += n > 1;
}

/* Who follows x in its chain and stands in no joint yet, -1: nobody; *left: how many may still be
 * looked at. */
static int64_t cascade_next(const attn__run *r, int64_t x, int64_t *left)
{
    do x = r->seqs[x].twin;
    while (x >= 0 && --*left >= 0 && r->seqs[x].shared > 0);
    return *left >= 0 ? x : -1;
}

/* The most that one of these has in common with b. */
static int64_t cascade_most(const attn__run *r, int64_t b)
{
    int64_t most = 0, left = CASCADE_LOOK;
    for (int64_t x = b; (x = cascade_next(r, x, &left)) >= 0;)
        most = attn__max(most, cascade_common(r, b, x));
    return most;
}

/* Sequence b and those behind it that have at least half as much in common with it as the best,
 * in as many joints as it takes. */
static void cascade_group(attn__run *r, int64_t b)
{
    int64_t head = b, last = b, n = 1, lane = cascade_lanes(r, b), shared = 0;
    int64_t left = CASCADE_LOOK;
    const int64_t most = cascade_most(r, b);
    if (most == 0) return;
    for (int64_t x = b; (x = cascade_next(r, x, &left)) >= 0;) {
        const int64_t common = cascade_common(r, b, x);
        if (2 * common < most) continue;
        const int64_t lanes = cascade_lanes(r, x);
        if (lane + lanes > ATTN__PANEL) {
            cascade_close(r, head, n, shared);
            if (r->n_joints == r->plan->joints) return;
            head = last = x, n = 0, lane = 0, shared = 0;
        }
        shared = shared > 0 ? attn__min(shared, common) : common;
        if (n > 0) r->seqs[last].next = x;
        r->seqs[x].lane = lane;
        last = x, n++, lane += lanes;
    }
    cascade_close(r, head, n, shared);
}

void attn__cascade_find(attn__run *r)
{
    r->n_joints = 0;
    if (r->plan->joints == 0) return;
    cascade_chains(r);
    for (int64_t b = 0; b < r->p->N && r->n_joints < r->plan->joints; b++)
        if (r->seqs[b].twin >= 0 && r->seqs[b].shared == 0) cascade_group(r, b);
}

/* ---- the joint panel --------------------------------------------------------------------- */

/* The state of a joint: maxima, sums, outputs, in lanes of a whole panel. */
static void cascade_state(const attn__run *r, int64_t joint, int64_t g, attn__panel *panel)
{
    char *at = r->workspace + r->plan->joint_states +
               (joint * r->p->G + g) * attn__cascade_bytes(r->p);
    panel->sm = (double *)(void *)at;
    panel->sl = panel->sm + ATTN__PANEL;
    panel->so = panel->sl + ATTN__PANEL;
}

/* The lanes of one sequence join the panel. */
static void cascade_join(attn__panel *panel, const attn__panel *one)
{
    for (int l = 0; l < one->n; l++) {
        const int to = panel->n++;
        panel->h[to] = one->h[l], panel->i[to] = one->i[l], panel->p[to] = one->p[l];
        panel->lo[to] = one->lo[l], panel->hi[to] = one->hi[l];
    }
    panel->any_lo = attn__min(panel->any_lo, one->any_lo);
    panel->any_hi = attn__max(panel->any_hi, one->any_hi);
    panel->all_lo = attn__max(panel->all_lo, one->all_lo);
    panel->all_hi = attn__min(panel->all_hi, one->all_hi);
}

static void cascade_open(const attn__run *r, char *scratch, int64_t joint, int64_t g,
                         attn__panel *panel)
{
    const attn_plan *plan = r->plan;
    const int step = plan->kernels->step;
    const int64_t row = r->p->D * (int64_t)attn__real_size(plan->kernels);
    char *memory = scratch + plan->at.rows;
    const void *rows[ATTN__PANEL];
    *panel = (attn__panel){.fresh = true, .any_lo = INT64_MAX, .all_hi = INT64_MAX};
    for (int64_t b = r->joints[joint]; b >= 0; b = r->seqs[b].next) {
        attn__panel one;
        attn__panel_lanes(r, &r->seqs[b], g, 0, &one);
        attn__panel_stage(r, &r->seqs[b], &one, &r->p->at.q, r->p->R > 0,
                          memory + panel->n * row, rows + panel->n);
        cascade_join(panel, &one);
    }
    panel->w = (panel->n + step - 1) / step * step;
    attn__panel_reach(panel);
    attn__panel_memory(plan, panel, scratch + plan->at.panels);
    cascade_state(r, joint, g, panel);
    attn__norm_open(r->p, panel);
    attn__panel_pack(r, scratch, panel, memory, rows);
}

static attn__staged cascade_stage(const attn__run *r, char *scratch, const attn__seq *seq,
                                  int64_t g, int64_t j0, int lanes)
{
    return (r->plan->few && lanes <= ATTN__FEW ? attn__few_stage : attn__stage_chunk)(
        r, scratch, seq, g, j0, j0 + ATTN__CHUNK);
}

/* All shared chunks for one joint and key/value head. */
static void cascade_unit(attn__run *r, char *scratch, int64_t index)
{
    attn__panel panel;
    const int64_t joint = index / r->p->G, g = index % r->p->G;
    const attn__seq *seq = &r->seqs[r->joints[joint]];
    cascade_open(r, scratch, joint, g, &panel);
    const int64_t lo = panel.any_hi > 0 ? panel.any_lo / ATTN__CHUNK : 0;
    const int64_t hi = attn__min(seq->shared, attn__ceil_div(panel.any_hi, ATTN__CHUNK));
    for (int64_t c = attn__source_next(r->p, seq, lo); c < hi;
         c = attn__source_next(r->p, seq, c + 1)) {
        const int64_t j0 = c * ATTN__CHUNK;
        const attn__staged staged = cascade_stage(r, scratch, seq, g, j0, panel.n);
        const attn__tile tile = {.r = r,
                                 .seq = seq,
                                 .panel = &panel,
                                 .scratch = scratch,
                                 .g = g,
                                 .j0 = j0,
                                 .n = ATTN__CHUNK};
        if (attn__tile_run(&tile, j0, &staged))
            attn__tile_fold(r, scratch + r->plan->at.acc, &panel);
    }
    if (panel.fresh) attn__panel_reset(r, &panel);
}

void attn__cascade_run(attn__run *r)
{
    if (r->n_joints > 0) attn__run_all(r, cascade_unit, r->n_joints * r->p->G);
}

/* ---- each alone -------------------------------------------------------------------------- */

void attn__cascade_take(const attn__run *r, const attn__seq *seq, int64_t g, attn__panel *panel)
{
    attn__panel joint;
    int64_t lanes = 0;
    if (seq->shared == 0) return;
    cascade_state(r, seq->joint, g, &joint);
    for (int64_t b = r->joints[seq->joint]; b >= 0; b = r->seqs[b].next)
        lanes += cascade_lanes(r, b);
    const int64_t step = r->plan->kernels->step, w = attn__ceil_div(lanes, step) * step;
    attn__panel_reset(r, panel);
    memcpy(panel->sm, joint.sm + seq->lane, (size_t)panel->n * sizeof(double));
    memcpy(panel->sl, joint.sl + seq->lane, (size_t)panel->n * sizeof(double));
    for (int64_t e = 0; e < r->p->E; e++)
        memcpy(panel->so + e * panel->w, joint.so + e * w + seq->lane,
               (size_t)panel->n * sizeof(double));
}
