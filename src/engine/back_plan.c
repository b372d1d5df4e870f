/* SPDX-License-Identifier: MIT
 * The plan of a backward call: how many units there can be, what they wait for, and where
 * everything lies. Beside the scratch of the threads memory grows with the rows alone: two
 * numbers and the f64 gradient of each query row, and of each key row when several units meet
 * there. */
#include "engine/back.h"
#include "engine/norm.h"

#define PLAN_PARTS(at, parts) attn__plan_parts(at, parts, sizeof(parts) / sizeof((parts)[0]))

static int64_t back_ranges_most(const attn__problem *p)
{
    if (p->H == 0 || p->T == 0) return 0;
    const int64_t group = p->H / p->G;
    const int64_t panels =
        attn__max(attn__panels_count(p, p->T), group * attn__ceil_div(p->T, ATTN__PANEL));
    return attn__ceil_div(panels, ATTN__BACK_STEP * ATTN__BACK_RANGE);
}

/* A row as spread reads it. */
static int64_t back_wide(const attn_plan *plan, int64_t width)
{
    return attn__ceil_div(width, plan->kernels->step) * plan->kernels->step;
}

/* One thread's scratch, behind what the forward pass has there. */
static bool back_scratch(attn_plan *plan)
{
    const attn__problem *p = &plan->problem;
    attn__back_plan *b = &plan->back;
    const int64_t real = (int64_t)attn__real_size(plan->kernels), w = ATTN__PANEL;
    const int64_t W = p->shaw_n, D = p->D, E = p->E, block = ATTN__BLOCK * w;
    b->q_wide = back_wide(plan, D);
    b->g_wide = back_wide(plan, E);
    int64_t panel_at = plan->at.panel_bytes; /* q in lanes and so on come first */
    const attn__plan_part panel[] = {{&b->gt, E * w, real},
                                     {&b->gr, W * w, real},
                                     {&b->acc, D * w, real},
                                     {&b->q_laid, b->q_wide * w, real},
                                     {&b->g_laid, b->g_wide * w, real},
                                     {&b->state, D * w, 8},
                                     {&b->p, block, real},
                                     {&b->ds, block, real},
                                     {&b->allowed, ATTN__BLOCK, 8},
                                     {&b->held, ATTN__BLOCK, 8},
                                     {&b->bucket_s, W * w, 8},
                                     {&b->bucket_p, W * w, 8},
                                     {&b->seen_s, W, 8},
                                     {&b->seen_p, W, 8}};
    if (!PLAN_PARTS(&panel_at, panel)) return false;
    b->panel_bytes = panel_at;
    const int64_t additive = plan->score == ATTN_SCORE_ADDITIVE;
    const attn__plan_part scratch[] = {{&b->dk, ATTN__BACK_CHUNK * D, 8},
                                       {&b->dv, ATTN__BACK_CHUNK * E, 8},
                                       {&b->capped, block, real},
                                       {&b->slope, block, real},
                                       {&b->look, 2 * E * w, real},
                                       {&b->weight, additive * D * w, real},
                                       {&b->panel, ATTN__BACK_STEP, b->panel_bytes}};
    return PLAN_PARTS(&plan->at.bytes, scratch);
}

/* Gradients of out that are absent are rows of zeros. */
static bool back_kept(attn_plan *plan)
{
    const attn__problem *p = &plan->problem;
    const attn__kernels *k = plan->kernels;
    attn__back_plan *b = &plan->back;
    const int64_t real = (int64_t)attn__real_size(k), w = ATTN__PANEL;
    const bool own_q = p->R > 0 || !attn__stage_direct(k, &p->at.q);
    const bool own_g = !attn__present(&p->at.d_out) || !attn__stage_direct(k, &p->at.d_out);
    const attn__plan_part kept[] = {{&b->keys, 2, 8},
                                    {&b->top_sum, w, 8},
                                    {&b->delta_sum, w, 8},
                                    {&b->top, w, real},
                                    {&b->delta, w, real},
                                    {&b->norm, attn__norm_on(p), sizeof(attn__norm)},
                                    {&b->q_rows, own_q ? w * p->D : 0, real},
                                    {&b->g_rows, own_g ? w * p->E : 0, real}};
    return PLAN_PARTS(&b->kept_bytes, kept);
}

/* Memory of all threads. */
static bool back_shared(attn_plan *plan)
{
    const attn__problem *p = &plan->problem;
    attn__back_plan *b = &plan->back;
    const int64_t panels = attn__plan_tasks(p, 1), w = ATTN__PANEL;
    const int64_t k_batch = p->at.k.shape[0], v_batch = p->at.v.shape[0];
    int64_t chunks = p->packed_k ? p->S / ATTN__BACK_CHUNK + p->N : p->N * b->chunks_max;
    int64_t dq, dk, dv;
    if (!attn__mul(chunks, p->G, &chunks) || !attn__mul(panels, p->D * w, &dq) ||
        !attn__mul(k_batch, p->G, &dk) || !attn__mul(v_batch, p->G, &dv) ||
        !attn__mul(dk, p->S, &dk) || !attn__mul(dv, p->S, &dv) || !attn__mul(dk, p->D, &dk) ||
        !attn__mul(dv, p->E, &dv))
        return false;
    const attn__plan_part shared[] = {
        {&b->by_chunk, b->chunks_max + 2, 8},
        {&b->order, p->N, 8},
        {&b->panel0, p->N + 1, 8},
        {&b->chunk0, p->N + 1, 8},
        {&b->kept, panels, b->kept_bytes},
        {&b->dq, b->chunks_max > 1 ? dq : 0, 8},
        {&b->dq_done, panels, 8},
        {&b->dk_all, b->collect_k ? dk : 0, 8},
        {&b->dv_all, b->collect_v ? dv : 0, 8},
        {&b->dk_done, b->collect_k || b->collect_v ? chunks : 0, 8},
        {&b->progress, b->ring, 8}};
    return PLAN_PARTS(&plan->bytes, shared);
}

/* Chunks of all sequences against all ranges, at most; false: not in 64 bits. */
static bool back_units_most(const attn__problem *p, int64_t *units)
{
    const int64_t ranges = attn__max(1, back_ranges_most(p));
    return attn__mul(ranges, attn__ceil_div(p->S, ATTN__BACK_CHUNK), units) &&
           attn__mul(*units, p->N, units) && attn__mul(*units, p->G, units);
}

void attn__back_plan_units(attn_plan *plan)
{
    int64_t units;
    if (!back_units_most(&plan->problem, &units))
        units = INT64_MAX; /* the layout will not fit */
    plan->panels_per_task = 1;
    plan->max_tasks = units;
    plan->threads = (int)attn__max(1, attn__min(plan->threads, units));
}

/* Units that share the elements of a tile follow each other. One thread that runs them in a row
 * finds the tile in its cache and waits for nobody; where there are too few such rows, or where
 * units have to end in their order anyway, they follow each other step by step. */
static void back_bunch(attn_plan *plan, int64_t chunks)
{
    attn__back_plan *b = &plan->back;
    int64_t heads = 1;
    for (int i = 0; i < ATTN__N_SUMS; i++)
        if (b->sum[i].mode == ATTN__SUM_STEP && b->sum[i].heads == 1) heads = plan->problem.G;
    if (!b->ordered_steps || b->ordered_units || b->serial) return;
    if (chunks * (plan->problem.G / attn__max(heads, 1)) < 2 * plan->threads) return;
    b->bunch = heads;
    b->ordered_steps = false;
}

/* Whether a panel is looked at when its first chunk opens it. Other chunks of its pair of a head
 * and a sequence wait for that, so there are to be enough pairs to keep the threads apart. */
static bool back_late(const attn_plan *plan)
{
    const attn__problem *p = &plan->problem;
    if (attn__norm_on(p) || attn__present(&p->at.d_sink)) return false;
    return plan->back.chunks_max == 1 || p->N * p->G >= plan->threads;
}

bool attn__back_plan_make(attn_plan *plan)
{
    const attn__problem *p = &plan->problem;
    attn__back_plan *b = &plan->back;
    const int64_t ranges = back_ranges_most(p);
    int64_t units;
    if (!back_units_most(p, &units)) return false;
    const bool shared_k = !p->packed_k && p->N > 1 && p->at.k.shape[0] == 1;
    const bool shared_v = !p->packed_k && p->N > 1 && p->at.v.shape[0] == 1;
    b->gain = 1 / (1 - p->spec.dropout);
    b->factor = attn__back_factor(plan);
    b->chunks_max = attn__ceil_div(p->S, ATTN__BACK_CHUNK);
    b->collect_k = attn__present(&p->at.d_k) && (ranges > 1 || shared_k);
    b->collect_v = attn__present(&p->at.d_v) && (ranges > 1 || shared_v);
    b->ordered_units = (shared_k && b->collect_k) || (shared_v && b->collect_v);
    b->look_late = back_late(plan);
    b->ring = plan->threads + 1;
    if (!attn__back_sums_plan(plan)) return false;
    b->near = !b->ordered_steps && !b->ordered_units && !b->serial;
    back_bunch(plan, ranges * b->chunks_max);
    return back_kept(plan) && back_scratch(plan) && back_shared(plan);
}
