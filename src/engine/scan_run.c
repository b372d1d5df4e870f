/* SPDX-License-Identifier: MIT
 * A scan runs: streams go through the legs of a program. The forward programs are here, those
 * of gradients in scan_back.c. */
#include <stdatomic.h>
#include <string.h>

#include "engine/scan.h"

typedef struct scan_walk {
    const attn_scan_plan *plan;
    const attn__scan_problem *p;
    char *workspace;
    const attn__scan_leg *program;
    _Atomic int64_t next;
    /* shared streams: where all of them are */
    const attn__scan_leg *leg;
    int64_t segment;
    int phase;
} scan_walk;

/* ---- where a stream lies ----------------------------------------------------------------- */

static void scan_side(const attn_tensor *cu, const attn_tensor *len, int64_t rows, int64_t b,
                      int64_t *first, int64_t *n)
{
    const bool packed = attn__present(cu);
    *first = packed ? attn__int_at(cu, b, 0) : 0;
    *n = packed               ? attn__int_at(cu, b + 1, 0) - *first
         : attn__present(len) ? attn__int_at(len, b, 0)
                              : rows;
}

static attn__scan_seq scan_seq(const attn__scan_problem *p, int64_t b)
{
    const attn_scan_args *at = &p->at;
    attn__scan_seq seq = {.b = b, .row = p->packed ? 0 : b};
    scan_side(&at->cu_k, &at->k_len, p->S, b, &seq.k0, &seq.S);
    const bool same = !p->spec.whole || (p->packed && !attn__present(&at->cu_q));
    if (same)
        seq.q0 = seq.k0, seq.T = seq.S;
    else
        scan_side(&at->cu_q, &at->q_len, p->T, b, &seq.q0, &seq.T);
    return seq;
}

static int64_t scan_segments(const attn_scan_plan *plan, const attn__scan_leg *leg,
                             const attn__scan_seq *seq)
{
    const int64_t rows[] = {1, seq->S, seq->T};
    return leg->count == ATTN__SCAN_ONCE ? 1 : attn__ceil_div(rows[leg->count], plan->segment);
}

static attn__scan_job scan_job(const scan_walk *w, int64_t stream, int64_t slot)
{
    return (attn__scan_job){.plan = w->plan,
                            .p = w->p,
                            .seq = scan_seq(w->p, stream / w->p->G),
                            .stream = stream,
                            .g = stream % w->p->G,
                            .workspace = w->workspace,
                            .memory =
                                w->workspace + w->plan->memory + slot * w->plan->at.bytes};
}

/* Turns the job to segment i of n of a leg, in the direction of the leg. */
static void scan_turn(attn__scan_job *j, const attn__scan_leg *leg, int64_t i, int64_t n)
{
    const int64_t rows = leg->count == ATTN__SCAN_QUERIES ? j->seq.T : j->seq.S;
    const int64_t L = j->plan->segment;
    j->tokens = leg->tokens;
    j->queries = leg->queries;
    j->index = leg->back ? n - 1 - i : i;
    j->t0 = j->index * L;
    j->n = attn__max(0, attn__min(L, rows - j->t0));
}

/* ---- a thread takes streams -------------------------------------------------------------- */

static void scan_stream(const scan_walk *w, int64_t stream, int64_t slot)
{
    attn__scan_job j = scan_job(w, stream, slot);
    j.parts = 1;
    for (const attn__scan_leg *leg = w->program; leg->phase[0]; leg++) {
        const int64_t n = scan_segments(w->plan, leg, &j.seq);
        for (int64_t i = 0; i < n; i++) {
            scan_turn(&j, leg, i, n);
            for (int x = 0; leg->phase[x]; x++) leg->phase[x](&j);
        }
    }
}

static void scan_take_streams(void *arg, int thread)
{
    scan_walk *w = arg;
    const attn__fpenv saved = attn__fpenv_enter();
    for (;;) {
        const int64_t stream = atomic_fetch_add_explicit(&w->next, 1, memory_order_relaxed);
        if (stream >= w->plan->streams) break;
        scan_stream(w, stream, thread);
    }
    attn__fpenv_leave(saved);
}

/* ---- all threads share the streams ------------------------------------------------------- */

static void scan_take_parts(void *arg, int thread)
{
    scan_walk *w = arg;
    const attn__fpenv saved = attn__fpenv_enter();
    (void)thread;
    for (;;) {
        const int64_t unit = atomic_fetch_add_explicit(&w->next, 1, memory_order_relaxed);
        const int64_t stream = unit / w->plan->parts;
        if (stream >= w->plan->streams) break;
        attn__scan_job j = scan_job(w, stream, stream);
        const int64_t n = scan_segments(w->plan, w->leg, &j.seq);
        if (w->segment >= n) continue;
        j.part = unit % w->plan->parts;
        j.parts = w->plan->parts;
        scan_turn(&j, w->leg, w->segment, n);
        w->leg->phase[w->phase](&j);
    }
    attn__fpenv_leave(saved);
}

static void scan_share_leg(scan_walk *w)
{
    int64_t most = 0;
    for (int64_t b = 0; b < w->p->N; b++) {
        const attn__scan_seq seq = scan_seq(w->p, b);
        most = attn__max(most, scan_segments(w->plan, w->leg, &seq));
    }
    for (w->segment = 0; w->segment < most; w->segment++)
        for (w->phase = 0; w->leg->phase[w->phase]; w->phase++) {
            atomic_store_explicit(&w->next, 0, memory_order_relaxed);
            attn__parallel(w->plan->ctx, w->plan->threads, scan_take_parts, w);
        }
}

/* ---- gradients of constants: sums over sequences, ascending ------------------------------ */

static double scan_total(const attn_scan_plan *plan, const char *workspace, int64_t stream,
                         int64_t i)
{
    const double *totals = (const double *)(const void *)(workspace + plan->totals);
    return totals[stream * (plan->at.lanes_d + 1) + i];
}

/* t: [1][G][1][D or 1]; of D numbers from first on, all or their sum. */
static void scan_total_out(const attn_scan_plan *plan, const attn_tensor *t,
                           const char *workspace, int64_t first, int64_t width, int64_t N)
{
    const int64_t G = plan->problem.G;
    if (!attn__scan_constant(t)) return;
    for (int64_t g = 0; g < G; g++) {
        double sum = 0;
        for (int64_t d = 0; d < width; d++) {
            if (t->shape[3] > 1) sum = 0;
            for (int64_t b = 0; b < N; b++)
                sum += scan_total(plan, workspace, b * G + g, first + d);
            if (t->shape[3] > 1)
                attn__put(t->dtype, attn__at(t, 0, g, 0, d), 0, sum == 0 ? 0 : sum);
        }
        if (t->shape[3] == 1)
            attn__put(t->dtype, attn__at(t, 0, g, 0, 0), 0, sum == 0 ? 0 : sum);
    }
}

void attn__scan_go(const attn_scan_plan *plan, const attn__scan_problem *p, void *workspace)
{
    scan_walk walk = {.plan = plan, .p = p, .workspace = workspace};
    const attn__fpenv saved = attn__fpenv_enter();
    walk.program = p->backward ? attn__scan_back_program(p) : attn__scan_program(p);
    attn__scan_fill(p);
    if (plan->parts > 1)
        for (walk.leg = walk.program; walk.leg->phase[0]; walk.leg++) scan_share_leg(&walk);
    else
        attn__parallel(plan->ctx, (int)plan->slots, scan_take_streams, &walk);
    if (p->backward) {
        scan_total_out(plan, &p->at.d_decay, workspace, 0, p->D, p->N);
        scan_total_out(plan, &p->at.d_beta, workspace, plan->at.lanes_d, 1, p->N);
    }
    attn__fpenv_leave(saved);
}

/* ---- the forward programs ---------------------------------------------------------------- */

static void scan_walk_tokens(const attn__scan_job *j)
{
    int64_t from, to;
    attn__scan_lanes_e(j, &from, &to);
    attn__scan_forward(j, from, to, j->queries);
}

static void scan_normalise(const attn__scan_problem *p, double *o)
{
    const double scale = p->spec.scale, divisor = scale * o[p->E] + p->spec.eps;
    for (int64_t e = 0; e < p->E; e++) o[e] = divisor == 0 ? 0 : scale * o[e] / divisor;
}

static void scan_write_out(const attn__scan_job *j)
{
    const attn__scan_problem *p = j->p;
    int64_t from, to;
    if (!attn__present(&p->at.out)) return;
    attn__scan_share(j, j->n, 1, &from, &to);
    for (int64_t m = 0; m < p->M; m++)
        for (int64_t t = from; t < to; t++) {
            double *o = attn__scan_at(j, j->plan->at.o) +
                        (m * j->plan->segment + t) * j->plan->at.lanes_e;
            if (p->spec.normalise)
                scan_normalise(p, o);
            else
                for (int64_t e = 0; e < p->E; e++) o[e] *= p->spec.scale;
            attn__scan_write(j, &p->at.out, j->seq.row, attn__scan_head(j, m),
                             j->seq.q0 + j->t0 + t, p->E, o);
        }
}

static const attn__scan_leg scan_causal[] = {
    {ATTN__SCAN_ONCE, false, false, false, {attn__scan_load}},
    {ATTN__SCAN_TOKENS,
     true,
     true,
     false,
     {attn__scan_stage, scan_walk_tokens, scan_write_out}},
    {ATTN__SCAN_ONCE, false, false, false, {attn__scan_store}},
    {.phase = {NULL}}};

static const attn__scan_leg scan_whole[] = {
    {ATTN__SCAN_ONCE, false, false, false, {attn__scan_load}},
    {ATTN__SCAN_TOKENS, true, false, false, {attn__scan_stage, scan_walk_tokens}},
    {ATTN__SCAN_QUERIES,
     false,
     true,
     false,
     {attn__scan_stage, scan_walk_tokens, scan_write_out}},
    {ATTN__SCAN_ONCE, false, false, false, {attn__scan_store}},
    {.phase = {NULL}}};

const attn__scan_leg *attn__scan_program(const attn__scan_problem *p)
{
    return p->spec.whole ? scan_whole : scan_causal;
}
