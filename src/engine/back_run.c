/* SPDX-License-Identifier: MIT
 * A backward run: a first look at every query, then the units, then what they collected.
 *
 * Order of the units: ranges of queries ascending, in each the chunks of keys - under a causal
 * mask the first ones are the heaviest -, then heads, sequences. Where all sequences have the
 * same chunks and nothing is summed beside queries and keys, a few heads at a time instead: the
 * rows of their queries, read for every chunk, then stay in the last cache. Threads take units
 * one after the other.
 */
#include <sched.h>
#include <string.h>

#include "engine/back.h"
#include "engine/rotate.h"
#include "engine/some.h"

enum { WAIT_SPINS = 4000, PROGRESS_DONE = 63 };

static int64_t *back_ints(const attn__run *r, int64_t at)
{
    return (int64_t *)(void *)(r->workspace + at);
}

void attn__back_wait(_Atomic int64_t *at, int64_t value)
{
    for (int spins = 0; atomic_load_explicit(at, memory_order_acquire) < value; spins++)
        if (spins > WAIT_SPINS) sched_yield();
}

/* ---- which units there are --------------------------------------------------------------- */

static int64_t back_chunks(const attn__run *r, int64_t b)
{
    return r->p->H > 0 ? attn__ceil_div(r->seqs[b].S, ATTN__BACK_CHUNK) : 0;
}

static int64_t back_panels(const attn__run *r, int64_t b)
{
    return r->p->H > 0 ? attn__panels_count(r->p, r->seqs[b].T) : 0;
}

static int64_t back_ranges(const attn__run *r)
{
    int64_t most = 0;
    for (int64_t b = 0; b < r->p->N; b++) most = attn__max(most, back_panels(r, b));
    return attn__ceil_div(most, ATTN__BACK_STEP * ATTN__BACK_RANGE);
}

/* order: sequences with the most chunks first, otherwise as they come; by_chunk[c]: units
 * before chunk c. Counting sort, with by_chunk as its counters. */
static void back_units(attn__run *r, int64_t each)
{
    const attn__back_plan *b = &r->plan->back;
    int64_t *by_chunk = back_ints(r, b->by_chunk), *order = back_ints(r, b->order);
    const int64_t most = b->chunks_max, N = r->p->N;
    memset(by_chunk, 0, (size_t)(most + 2) * sizeof *by_chunk);
    for (int64_t x = 0; x < N; x++) by_chunk[most - back_chunks(r, x) + 1]++;
    for (int64_t c = 0; c <= most; c++) by_chunk[c + 1] += by_chunk[c];
    for (int64_t x = 0; x < N; x++) order[by_chunk[most - back_chunks(r, x)]++] = x;
    memset(by_chunk, 0, (size_t)(most + 2) * sizeof *by_chunk);
    for (int64_t x = 0; x < N; x++) /* sequences that have chunk c, then their units, summed */
        if (back_chunks(r, x) > 0) by_chunk[back_chunks(r, x)]++;
    for (int64_t c = most - 1; c > 0; c--) by_chunk[c] += by_chunk[c + 1];
    for (int64_t c = 1; c <= most; c++) by_chunk[c] = by_chunk[c - 1] + by_chunk[c] * each;
}

static void back_begin(attn__run *r)
{
    const attn__back_plan *b = &r->plan->back;
    const attn__problem *p = r->p;
    int64_t *panel0 = back_ints(r, b->panel0), *chunk0 = back_ints(r, b->chunk0);
    panel0[0] = chunk0[0] = 0;
    for (int64_t x = 0; x < p->N; x++) {
        r->seqs[x] = attn__seq_get(p, x);
        panel0[x + 1] = panel0[x] + p->G * back_panels(r, x);
        chunk0[x + 1] = chunk0[x] + p->G * back_chunks(r, x);
    }
    const int64_t dk = p->at.k.shape[0] * p->G * p->S * p->D;
    const int64_t dv = p->at.v.shape[0] * p->G * p->S * p->E;
    if (b->collect_k) memset(r->workspace + b->dk_all, 0, (size_t)dk * sizeof(double));
    if (b->collect_v) memset(r->workspace + b->dv_all, 0, (size_t)dv * sizeof(double));
    _Atomic int64_t *done = (_Atomic int64_t *)(void *)(r->workspace + b->dq_done);
    for (int64_t x = 0; x < panel0[p->N]; x++)
        atomic_init(&done[x], b->look_late ? 0 : ATTN__BACK_LOOKED);
    done = (_Atomic int64_t *)(void *)(r->workspace + b->dk_done);
    for (int64_t x = 0; (b->collect_k || b->collect_v) && x < chunk0[p->N]; x++)
        atomic_init(&done[x], 0);
    done = (_Atomic int64_t *)(void *)(r->workspace + b->progress);
    for (int x = 0; x < b->ring; x++) atomic_init(&done[x], 0);
}

/* ---- units that follow each other -------------------------------------------------------- */

static _Atomic int64_t *back_progress(const attn__back_unit *u, int64_t index)
{
    return (_Atomic int64_t *)(void *)(u->r->workspace + u->b->progress) + index % u->b->ring;
}

/* The unit before this one has done so many steps (PROGRESS_DONE: it has ended). A place of the
 * ring only rises, since a unit ends before the one that takes its place begins. */
static void back_follow(const attn__back_unit *u, int64_t steps)
{
    if (u->index > 0)
        attn__back_wait(back_progress(u, u->index - 1),
                        (u->index - 1) * (PROGRESS_DONE + 1) + steps);
}

static void back_advance(const attn__back_unit *u, int64_t steps)
{
    atomic_store_explicit(back_progress(u, u->index), u->index * (PROGRESS_DONE + 1) + steps,
                          memory_order_release);
}

/* ---- one unit ---------------------------------------------------------------------------- */

/* Chunk by chunk, heads and sequences inside. */
static int64_t back_place(const attn__back_unit *u, int64_t index)
{
    const int64_t *by_chunk = back_ints(u->r, u->b->by_chunk);
    const int64_t low = attn__last_start(by_chunk, u->b->chunks_max, index);
    const int64_t sequences = (by_chunk[low + 1] - by_chunk[low]) / u->r->p->G;
    const int64_t at = index - by_chunk[low];
    return (at % sequences * u->r->p->G + at / sequences) * u->b->chunks_max + low;
}

/* As many pairs of a head and a sequence as there are threads, at least, go through all their
 * chunks before the next ones begin. */
static int64_t back_place_near(const attn__back_unit *u, int64_t index)
{
    const int64_t C = u->b->chunks_max, pairs = u->r->p->N * u->r->p->G;
    const int64_t team = attn__min(u->r->plan->threads, pairs), last = pairs / team - 1;
    const int64_t number = attn__min(index / (team * C), last), first = number * team;
    const int64_t members = number == last ? pairs - first : team, at = index - first * C;
    return (first + at % members) * C + at / members;
}

static void back_find_unit(attn__back_unit *u)
{
    const attn__run *r = u->r;
    const int64_t units = back_ints(r, u->b->by_chunk)[u->b->chunks_max], G = r->p->G;
    const bool near = u->b->near && units == u->b->chunks_max * r->p->N * G;
    const int64_t place = (near ? back_place_near : back_place)(u, u->index % units);
    const int64_t pair = place / u->b->chunks_max, b = back_ints(r, u->b->order)[pair / G];
    u->c = place % u->b->chunks_max;
    u->g = pair % G;
    u->range = u->index / units;
    u->seq = r->seqs[b];
    u->chunks = back_chunks(r, b);
    u->panels = back_panels(r, b);
    u->panel0 = back_ints(r, u->b->panel0)[b] + u->g * u->panels;
    u->j0 = u->c * ATTN__BACK_CHUNK;
    u->n = attn__min(ATTN__BACK_CHUNK, u->seq.S - u->j0);
}

bool attn__back_next(const attn__back_unit *u, attn__back_unit *next)
{
    const int64_t units = back_ints(u->r, u->b->by_chunk)[u->b->chunks_max];
    *next = (attn__back_unit){.r = u->r, .b = u->b, .index = u->index + u->r->plan->threads};
    if (u->b->bunch || next->index >= u->r->ranges * units) return false;
    back_find_unit(next);
    return true;
}

static void back_open_unit(attn__back_unit *u)
{
    const attn__run *r = u->r;
    const attn__kernels *k = r->plan->kernels;
    const int64_t real = (int64_t)attn__real_size(k);
    u->staged = attn__stage_chunk(r, u->scratch, &u->seq, u->g, u->j0, u->j0 + u->n);
    for (int64_t j = 0; j < u->n; j += ATTN__BLOCK)
        u->k_finite[j / ATTN__BLOCK] = attn__rows_finite(
            k, attn__min(ATTN__BLOCK, u->n - j), r->p->D,
            (const char *)u->staged.k + j * u->staged.k_stride * real, u->staged.k_stride);
    memset(u->scratch + u->b->dk, 0, (size_t)(u->n * r->p->D) * sizeof(double));
    memset(u->scratch + u->b->dv, 0, (size_t)(u->n * r->p->E) * sizeof(double));
    attn__back_sums_begin(u);
}

static void back_unit_run(attn__run *r, char *scratch, int64_t index)
{
    attn__back_unit unit = {.r = r, .b = &r->plan->back, .scratch = scratch, .index = index};
    attn__back_unit *u = &unit;
    const attn__back_plan *b = u->b;
    back_find_unit(u);
    const int64_t steps = attn__ceil_div(u->panels, ATTN__BACK_STEP);
    const int64_t first = u->range * ATTN__BACK_RANGE;
    const int64_t n = attn__min(ATTN__BACK_RANGE, steps - first);
    if (n > 0) back_open_unit(u);
    if (b->serial) back_follow(u, PROGRESS_DONE);
    for (int64_t step = 0; step < n; step++) {
        if (b->ordered_steps) back_follow(u, step + 1);
        attn__back_sums_step(u, step, false);
        attn__back_step_run(u, step);
        attn__back_sums_step(u, step, true);
        if (b->ordered_steps) back_advance(u, step + 1);
    }
    if (b->ordered_units || b->ordered_steps) back_follow(u, PROGRESS_DONE);
    if (n > 0) attn__back_sums_end(u);
    if (n > 0) attn__back_keys_end(u);
    back_advance(u, PROGRESS_DONE);
}

/* The units of bunch index, in their order. */
static void back_bunch_run(attn__run *r, char *scratch, int64_t index)
{
    const attn__back_plan *b = &r->plan->back;
    const int64_t *by_chunk = back_ints(r, b->by_chunk), each = r->p->G / b->bunch;
    const int64_t c = index / each % b->chunks_max, range = index / each / b->chunks_max;
    const int64_t n = (by_chunk[c + 1] - by_chunk[c]) / each;
    const int64_t first = range * by_chunk[b->chunks_max] + by_chunk[c] + index % each * n;
    for (int64_t unit = first; unit < first + n; unit++) back_unit_run(r, scratch, unit);
}

static void back_units_run(attn__run *r)
{
    const attn__back_plan *b = &r->plan->back;
    if (b->bunch)
        attn__run_all(r, back_bunch_run, r->ranges * b->chunks_max * r->p->G / b->bunch);
    else
        attn__run_all(r, back_unit_run, r->ranges * back_ints(r, b->by_chunk)[b->chunks_max]);
}

/* ---- the whole --------------------------------------------------------------------------- */

/* Rows that no unit writes are 0. */
static void back_zero(attn__run *r)
{
    const attn__back_plan *b = &r->plan->back;
    const attn_args *a = &r->p->at;
    bool queries = r->p->packed_q || attn__present(&a->q_start) || attn__present(&a->q_len) ||
                   r->p->N == 0;
    bool keys = r->p->packed_k || attn__present(&a->k_start) || attn__present(&a->k_len) ||
                r->p->N == 0;
    for (int64_t x = 0; x < r->p->N; x++) {
        queries = queries || back_chunks(r, x) == 0;
        keys = keys || back_panels(r, x) == 0;
    }
    if (queries) attn__output_zero(r, &a->d_q);
    if (keys && !b->collect_k) attn__output_zero(r, &a->d_k);
    if (keys && !b->collect_v) attn__output_zero(r, &a->d_v);
}

static void back_look_unit(attn__run *r, char *scratch, int64_t index)
{
    attn__back_look(r, scratch, index);
}

void attn__back_go(const attn_plan *plan, const attn__problem *p, void *workspace)
{
    attn__run run = {.plan = plan, .p = p, .workspace = workspace}, *r = &run;
    const attn__fpenv saved = attn__fpenv_enter();
    r->seqs = (attn__seq *)(void *)(r->workspace + plan->seqs);
    back_begin(r);
    r->ranges = back_ranges(r);
    back_units(r, p->G);
    back_zero(r);
    attn__back_sums_zero(r, r->ranges > 0 &&
                                back_ints(r, plan->back.by_chunk)[plan->back.chunks_max] > 0);
    attn__rotate_keys(r);
    if (!plan->back.look_late)
        attn__run_all(r, back_look_unit, back_ints(r, plan->back.panel0)[p->N]);
    attn__back_sinks(r);
    back_units_run(r);
    attn__back_keys_settle(r);
    attn__back_sums_settle(r);
    attn__fpenv_leave(saved);
}
