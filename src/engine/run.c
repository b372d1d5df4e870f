/* SPDX-License-Identifier: MIT
 * A run: sequences are cut into tasks, tasks are taken by threads one after the other, the
 * heavy ones first. A task is a few panels of one sequence and one key/value head that walk the
 * chunks of keys together, so a chunk is staged once for all of them.
 *
 * When there are too few tasks to feed the threads, the chunks of a task are shared out as
 * well: a wave of chunks is computed into slots, then each task folds its slots in ascending
 * order. Both ways fold the same numbers in the same order, so the bits are the same. */
#include <string.h>

#include "engine/few.h"
#include "engine/half_mode.h"
#include "engine/late.h"
#include "engine/norm.h"
#include "engine/rotate.h"
#include "engine/source.h"

/* A task and the memory it works in. */
typedef struct run_task {
    attn__seq seq;
    int64_t g, first, n; /* panels first .. first + n */
    int64_t lo, hi;      /* chunks that some panel needs */
    attn__panel panels[ATTN__PANELS];
} run_task;

static int64_t run_tasks_of(const attn_plan *plan, const attn__problem *p, int64_t T)
{
    return p->G * attn__ceil_div(attn__panels_count(p, T), plan->panels_per_task);
}

/* Task index, heaviest first: late queries see the most keys. */
static void run_find(const attn__run *r, int64_t index, run_task *task)
{
    const attn__problem *p = r->p;
    index = r->n_tasks - 1 - index;
    const int64_t low = attn__last_start(r->starts, p->N, index);
    task->seq = r->seqs[low];
    const int64_t panels = attn__panels_count(p, task->seq.T), each = r->plan->panels_per_task;
    const int64_t blocks = attn__ceil_div(panels, each), at = index - r->starts[low];
    task->g = at / blocks;
    task->first = at % blocks * each;
    task->n = attn__min(each, panels - task->first);
}

static void run_open(const attn__run *r, char *scratch, run_task *task, char *memory)
{
    int64_t lo = INT64_MAX, hi = 0;
    for (int64_t x = 0; x < task->n; x++) {
        attn__panel *panel = &task->panels[x];
        attn__panel_open(r, scratch, &task->seq, task->g, task->first + x, panel,
                         memory + x * r->plan->at.panel_bytes);
        if (attn__norm_looks(r->p)) attn__norm_look_at(r, scratch, &task->seq, task->g, panel);
        lo = attn__min(lo, panel->any_lo);
        hi = attn__max(hi, panel->any_hi);
    }
    task->lo = hi > 0 ? lo / ATTN__CHUNK : 0;
    task->hi = attn__ceil_div(hi, ATTN__CHUNK);
}

static attn__tile run_tile(const attn__run *r, char *scratch, const run_task *task, int64_t x,
                           int64_t chunk)
{
    const int64_t j0 = chunk * ATTN__CHUNK;
    return (attn__tile){.r = r,
                        .seq = &task->seq,
                        .panel = &task->panels[x],
                        .scratch = scratch,
                        .g = task->g,
                        .j0 = j0,
                        .n = attn__min(ATTN__CHUNK, task->seq.S - j0)};
}

static attn__staged run_stage(const attn__run *r, char *scratch, const run_task *task,
                              int64_t chunk)
{
    const int64_t j0 = chunk * ATTN__CHUNK;
    return attn__stage_chunk(r, scratch, &task->seq, task->g, j0,
                             attn__min(j0 + ATTN__CHUNK, task->seq.S));
}

/* For the tiles of a task: in place when its queries are few, block by block for one panel. */
static attn__staged run_rows(const attn__run *r, char *scratch, const run_task *task,
                             int64_t chunk)
{
    const int64_t j0 = chunk * ATTN__CHUNK;
    const int64_t j1 = attn__min(j0 + ATTN__CHUNK, task->seq.S);
    if (task->n == 1 && r->plan->few && task->panels[0].n <= ATTN__FEW)
        return attn__few_stage(r, scratch, &task->seq, task->g, j0, j1);
    if (task->n == 1 && r->plan->late)
        return attn__late_stage(r, scratch, &task->seq, task->g, j0, j1);
    return run_stage(r, scratch, task, chunk);
}

/* The first chunk from c on that has keys. */
static int64_t run_next(const attn__run *r, const run_task *task, int64_t c)
{
    return attn__source_next(r->p, &task->seq, c);
}

/* Rows out; then, if they were asked for, whole weights and scores. */
static void run_close(const attn__run *r, char *scratch, run_task *task)
{
    const attn__problem *p = r->p;
    for (int64_t x = 0; x < task->n; x++)
        attn__panel_close(r, scratch, &task->seq, &task->panels[x]);
    if (!attn__present(&p->at.weights) && !attn__present(&p->at.scores)) return;
    for (int64_t c = run_next(r, task, 0); c * ATTN__CHUNK < task->seq.S;
         c = run_next(r, task, c + 1)) {
        const attn__staged staged = run_stage(r, scratch, task, c);
        for (int64_t x = 0; x < task->n; x++) {
            const attn__tile tile = run_tile(r, scratch, task, x, c);
            attn__tile_write(&tile, c * ATTN__CHUNK, &staged);
        }
    }
}

/* Asks, last in first out, for what the next task of this thread reads: queries, then the first
 * keys and values of its head. */
static void run_warm_next(const attn__run *r, int64_t index, const run_task *task,
                          attn__warm *warm)
{
    run_task next;
    int64_t h, i;
    if (index + r->plan->threads >= r->n_tasks) return;
    run_find(r, index + r->plan->threads, &next);
    const attn__seq *seq = &next.seq;
    const bool staged = r->p->source == ATTN__SOURCE_TENSORS && !r->plan->half.kernels;
    if (staged && (next.g != task->g || seq->b != task->seq.b)) {
        const int64_t rows = attn__min(seq->S, 2 * ATTN__BLOCK);
        attn__warm_add(warm, &r->p->at.v, seq->kb, next.g, seq->k0, rows);
        if (!r->p->turns_keys)
            attn__warm_add(warm, &r->p->at.k, seq->kb, next.g, seq->k0, rows);
    }
    attn__panel_first(r->p, seq, next.g, next.first, &h, &i);
    attn__warm_add(warm, &r->p->at.q, seq->qb, h, seq->q0 + i,
                   attn__min(seq->T - i, next.n * ATTN__PANEL));
}

/* Before them for the rows that this task writes. */
static void run_warm(const attn__run *r, int64_t index, const run_task *task, attn__warm *warm)
{
    int64_t h, i;
    run_warm_next(r, index, task, warm);
    attn__panel_first(r->p, &task->seq, task->g, task->first, &h, &i);
    attn__warm_out(warm, &r->p->at.out, task->seq.qb, h, task->seq.q0 + i,
                   attn__min(task->seq.T - i, task->n * ATTN__PANEL));
}

/* Keys and values that one task reads alone come from memory: values are asked for while their
 * keys are worked on, the keys of the next chunk while these values are. */
static void run_warm_chunk(const attn__run *r, const run_task *task, int64_t c, int64_t next,
                           const attn__staged *staged, attn__warm *warm)
{
    const attn__seq *seq = &task->seq;
    const int64_t j = c * ATTN__CHUNK, j1 = next * ATTN__CHUNK;
    if (r->plan->half.kernels || task->n < attn__panels_count(r->p, seq->T)) return;
    if (r->p->source != ATTN__SOURCE_TENSORS) {
        if (staged->late) attn__late_warm(r, staged, warm);
        return;
    }
    if (next < task->hi && !r->p->turns_keys)
        attn__warm_add(warm, &r->p->at.k, seq->kb, task->g, seq->k0 + j1,
                       attn__min(ATTN__CHUNK, seq->S - j1));
    attn__warm_add(warm, &r->p->at.v, seq->kb, task->g, seq->k0 + j,
                   attn__min(ATTN__CHUNK, seq->S - j));
}

/* What a tile left in scratch joins its panel, or is all of it. */
static void run_join(const attn__run *r, char *scratch, run_task *task, int64_t x, int64_t c)
{
    attn__panel *panel = &task->panels[x];
    const bool last = panel->any_hi <= (c + 1) * ATTN__CHUNK;
    if (panel->fresh && last && r->p->call == ATTN__FORWARD)
        attn__panel_close_one(r, scratch, &task->seq, panel);
    else
        attn__tile_fold(r, scratch + r->plan->at.acc, panel);
}

/* Panels against a chunk. In a task of one chunk the last comes first: under a causal mask it has
 * the most to do before its rows go out, and lines for them have been asked for only now. */
static void run_chunk(attn__run *r, char *scratch, run_task *task, int64_t c,
                      const attn__staged *staged, attn__warm *warm)
{
    const bool back = task->hi - task->lo == 1;
    for (int64_t i = 0; i < task->n; i++) {
        const int64_t x = back ? task->n - 1 - i : i;
        attn__tile tile = run_tile(r, scratch, task, x, c);
        tile.warm = warm;
        if (attn__tile_run(&tile, c * ATTN__CHUNK, staged)) run_join(r, scratch, task, x, c);
    }
}

static void run_whole(attn__run *r, char *scratch, int64_t index)
{
    run_task task;
    attn__warm warm = {.far = r->plan->far};
    run_find(r, index, &task);
    run_warm(r, index, &task, &warm);
    int parts = warm.n;
    run_open(r, scratch, &task, scratch + r->plan->at.panels);
    attn__cascade_take(r, &task.seq, task.g, &task.panels[0]);
    int64_t next = run_next(r, &task, attn__max(task.lo, task.seq.shared));
    for (int64_t c = next; c < task.hi; c = next) {
        const attn__staged staged = run_rows(r, scratch, &task, c);
        next = run_next(r, &task, c + 1);
        warm.n = parts = (int)attn__min(parts, warm.n);
        if (!staged.few) run_warm_chunk(r, &task, c, next, &staged, &warm);
        run_chunk(r, scratch, &task, c, &staged, &warm);
    }
    run_close(r, scratch, &task);
}

/* ---- split keys ------------------------------------------------------------------------- */

/* What chunk x of the wave left behind: a flag, then acc, m and l as they lie in scratch. */
static char *run_slot(const attn__run *r, int64_t task, int64_t x)
{
    const int64_t bytes = ATTN__SLOT_HEAD + r->plan->at.allowed - r->plan->at.acc;
    return r->workspace + r->plan->partials + (task * r->wave_chunks + x) * bytes;
}

/* Chunk x of those that are in flight for a sequence. */
static int64_t run_wave(const attn__run *r, const attn__seq *seq, int64_t x)
{
    int64_t c = attn__source_next(r->p, seq, seq->wave);
    if (r->p->source != ATTN__SOURCE_CACHE) return c + x;
    for (; x > 0; x--) c = attn__source_next(r->p, seq, c + 1);
    return c;
}

static char *run_state(const attn__run *r, int64_t task)
{
    return r->workspace + r->plan->states + task * r->plan->at.panel_bytes;
}

static void run_part(attn__run *r, char *scratch, int64_t unit)
{
    const int64_t index = unit / r->wave_chunks, x = unit % r->wave_chunks;
    const attn__layout *at = &r->plan->at;
    run_task task;
    run_find(r, index, &task);
    run_open(r, scratch, &task, scratch + at->panels);
    char *slot = run_slot(r, index, x);
    const int64_t c = run_wave(r, &task.seq, x);
    *slot = 0;
    if (c < task.lo || c >= task.hi) return;
    const attn__staged staged = run_rows(r, scratch, &task, c);
    const attn__tile tile = run_tile(r, scratch, &task, 0, c);
    if (!attn__tile_run(&tile, c * ATTN__CHUNK, &staged)) return;
    *slot = 1;
    memcpy(slot + ATTN__SLOT_HEAD, scratch + at->acc, (size_t)(at->allowed - at->acc));
}

static void run_gather(attn__run *r, char *scratch, int64_t index)
{
    run_task task;
    run_find(r, index, &task);
    run_open(r, scratch, &task, run_state(r, index));
    attn__panel *panel = &task.panels[0];
    panel->fresh = false;
    if (r->wave_first) attn__panel_reset(r, panel);
    if (r->wave_first) attn__cascade_take(r, &task.seq, task.g, panel);
    for (int64_t x = 0; x < r->wave_chunks; x++) {
        char *slot = run_slot(r, index, x);
        if (*slot) attn__tile_fold(r, slot + ATTN__SLOT_HEAD, panel);
    }
}

static void run_finish(attn__run *r, char *scratch, int64_t index)
{
    run_task task;
    run_find(r, index, &task);
    run_open(r, scratch, &task, run_state(r, index));
    task.panels[0].fresh = false;
    run_close(r, scratch, &task);
}

/* ---- threads ----------------------------------------------------------------------------- */

typedef struct run_phase {
    attn__run *r;
    void (*unit)(attn__run *r, char *scratch, int64_t index);
    int64_t n;
} run_phase;

static void run_worker(void *arg, int thread)
{
    const run_phase *phase = arg;
    attn__run *r = phase->r;
    char *scratch = r->workspace + r->plan->scratch + thread * r->plan->at.bytes;
    const attn__fpenv saved = attn__fpenv_enter();
    for (;;) {
        const int64_t index = atomic_fetch_add_explicit(&r->next, 1, memory_order_relaxed);
        if (index >= phase->n) break;
        phase->unit(r, scratch, index);
    }
    attn__fpenv_leave(saved);
}

void attn__run_all(attn__run *r, void (*unit)(attn__run *, char *, int64_t), int64_t n)
{
    run_phase phase = {r, unit, n};
    atomic_store_explicit(&r->next, 0, memory_order_relaxed);
    attn__parallel(r->plan->ctx, (int)attn__min(n, r->plan->threads), run_worker, &phase);
}

/* The next wave of every sequence; whether there is one. */
static bool run_advance(attn__run *r)
{
    bool more = false;
    for (int64_t b = 0; b < r->p->N; b++) {
        attn__seq *seq = &r->seqs[b];
        seq->wave = run_wave(r, seq, r->wave_chunks);
        more = more || seq->wave < attn__ceil_div(seq->S, ATTN__CHUNK);
    }
    r->wave_first = false;
    return more;
}

static void run_split(attn__run *r)
{
    int64_t longest = 0;
    for (int64_t b = 0; b < r->p->N; b++) {
        longest = attn__max(longest, r->seqs[b].S);
        r->seqs[b].wave = r->seqs[b].shared;
    }
    const int64_t chunks = attn__max(1, attn__ceil_div(longest, ATTN__CHUNK));
    r->wave_chunks = attn__max(1, attn__min(chunks, r->plan->slots / attn__max(1, r->n_tasks)));
    r->wave_first = true;
    do {
        attn__run_all(r, run_part, r->n_tasks * r->wave_chunks);
        attn__run_all(r, run_gather, r->n_tasks);
    } while (run_advance(r));
    attn__run_all(r, run_finish, r->n_tasks);
}

static void run_begin(attn__run *r)
{
    const attn__problem *p = r->p;
    r->starts[0] = 0;
    for (int64_t b = 0; b < p->N; b++) {
        r->seqs[b] = attn__seq_get(p, b);
        r->starts[b + 1] = r->starts[b] + (p->H ? run_tasks_of(r->plan, p, r->seqs[b].T) : 0);
    }
    r->n_tasks = r->starts[p->N];
}

void attn__run_go(const attn_plan *plan, const attn__problem *p, void *workspace)
{
    attn__run run = {.plan = plan, .p = p, .workspace = workspace}, *r = &run;
    const attn__fpenv saved = attn__fpenv_enter();
    r->seqs = (attn__seq *)(void *)(r->workspace + plan->seqs);
    r->starts = (int64_t *)(void *)(r->workspace + plan->starts);
    r->joints = (int64_t *)(void *)(r->workspace + plan->joint_heads);
    run_begin(r);
    attn__cascade_find(r);
    attn__output_fill(r);
    attn__rotate_keys(r);
    attn__half_rows(r);
    attn__cascade_run(r);
    if (plan->split)
        run_split(r);
    else
        attn__run_all(r, run_whole, r->n_tasks);
    attn__fpenv_leave(saved);
}
