/* SPDX-License-Identifier: MIT
 * The plan: the only place that chooses. Kernel table, panels a task, whether keys are split,
 * and where everything lies in the workspace. Nothing chosen here shows in a result. */
#include "engine/back.h"
#include "engine/few.h"
#include "engine/half_mode.h"
#include "engine/late.h"
#include "engine/norm.h"
#include "engine/rotate.h"
#include "engine/score.h"
#include "engine/source.h"

enum {
    PLAN_MAGIC = 0x6E616C70,
    PLAN_SLOTS_A_THREAD = 8,
    PLAN_TASKS = 4, /* a thread is to have, and of the largest ones */
    PLAN_LARGE_TASKS = 32,
    PLAN_ANGLES = 1 << 16,
    PLAN_FIRST_CACHE = 48 << 10 /* bytes */
};

/* Bytes from *at on, rounded so that the next part begins at a cache line. False on overflow.
 */
static bool plan_take(int64_t *at, int64_t count, int64_t size, int64_t *where)
{
    int64_t bytes, end;
    if (!attn__mul(count, size, &bytes) || !attn__add(*at, bytes, &end) ||
        !attn__add(end, 63, &end))
        return false;
    *where = *at;
    *at = end / 64 * 64;
    return true;
}

bool attn__plan_parts(int64_t *at, const attn__plan_part *parts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!plan_take(at, parts[i].count, parts[i].size, parts[i].where)) return false;
    return true;
}

#define PLAN_PARTS(at, parts) attn__plan_parts(at, parts, sizeof(parts) / sizeof((parts)[0]))

/* One thread's scratch. run.c copies acc .. allowed as one piece: they stay together. */
static bool plan_scratch(attn_plan *plan)
{
    const attn__problem *p = &plan->problem;
    const attn__kernels *k = plan->kernels;
    const int64_t real = (int64_t)attn__real_size(k), w = ATTN__PANEL, C = ATTN__CHUNK;
    const int64_t widest = attn__max(attn__max(p->D, p->E), C), W = p->shaw_n;
    const bool over = p->source != ATTN__SOURCE_TENSORS;
    const bool own_k = over || (!p->turns_keys && !attn__stage_direct(k, &p->at.k));
    const bool own_v = over || !attn__stage_direct(k, &p->at.v);
    const int64_t jvp = p->call == ATTN__JVP, additive = plan->score == ATTN_SCORE_ADDITIVE;
    const int64_t tall = attn__max(jvp * p->D, C);
    attn__layout *at = &plan->at;
    int64_t whole = 0;
    if (attn__norm_of(p)->threshold && !attn__mul(attn__source_span(p), w, &whole))
        return false;
    const attn__plan_part panel[] = {{&at->qt, p->D * w, real},
                                     {&at->rq, W * w, real},
                                     {&at->sm, w, 8},
                                     {&at->sl, w, 8},
                                     {&at->so, p->E * w, 8},
                                     {&at->wt, additive * p->D * w, real},
                                     {&at->norm, attn__norm_on(p), sizeof(attn__norm)},
                                     {&plan->half.q, plan->half.pairs * w, 4},
                                     {&plan->half.q_unit, w, 4},
                                     {&at->t_qt, jvp * p->D * w, real},
                                     {&at->t_rq, jvp * W * w, real},
                                     {&at->t_sm, jvp * w, 8},
                                     {&at->t_sl, jvp * w, 8},
                                     {&at->t_so, jvp * p->E * w, 8}};
    const attn__plan_part scratch[] = {
        {&at->k, own_k ? C * p->D : 0, real},
        {&at->v, own_v ? C * p->E : 0, real},
        {&at->look, over, sizeof(attn__cache_look)},
        {&at->rows, w * widest, real},
        {&at->s, C * w, real},
        {&at->term, tall * w, real},
        {&at->acc, p->E * w, real},
        {&at->m, w, real},
        {&at->l, w, real},
        {&at->t_acc, jvp * p->E * w, real},
        {&at->t_l, jvp * w, real},
        {&at->allowed, C, 8},
        {&at->keep, C, 8},
        {&at->rel_k, W * p->D, real},
        {&at->rel_v, W * p->E, real},
        {&at->bucket, W * w, 8},
        {&at->ts, jvp * C * w, real},
        {&at->capped, jvp * C * w, real},
        {&at->slope, jvp * C * w, real},
        {&at->t_seen, jvp * W, 8},
        {&at->whole, whole, real},
        {&at->seen, attn__norm_of(p)->negative ? W : 0, 8},
        {&at->few_rows, plan->few && !over ? 2 * C + ATTN__FEW_AHEAD : 0, 8},
        {&at->few_acc, plan->few * ATTN__FEW * attn__few_ld(k, p->E), real},
        {&at->t_rows, jvp * C * attn__max(p->D, p->E), real}};
    if (!PLAN_PARTS(&at->panel_bytes, panel) || !PLAN_PARTS(&at->bytes, scratch)) return false;
    return plan_take(&at->bytes, plan->panels_per_task, at->panel_bytes, &at->panels);
}

/* Positions worth a table of angles: those that the keys and aligned queries take. */
static int64_t plan_trig_positions(const attn__problem *p)
{
    const bool given =
        attn__present(&p->at.q_pos) && (attn__present(&p->at.k_pos) || !p->turns_keys);
    if (!p->R || given || attn__present(&p->at.rope_cos)) return 0;
    const int64_t keys = p->turns_keys ? attn__source_span(p) : 0;
    return attn__min(attn__max(keys, p->T), PLAN_ANGLES);
}

static bool plan_shared(attn_plan *plan)
{
    const attn__problem *p = &plan->problem;
    const int64_t real = (int64_t)attn__real_size(plan->kernels);
    const int64_t slot = ATTN__SLOT_HEAD + plan->at.allowed - plan->at.acc;
    attn__half_plan *half = &plan->half;
    int64_t trig, keys = 0, rows, half_keys, half_values;
    plan->trig_n = plan_trig_positions(p);
    if (!attn__mul(plan->trig_n + 1, p->R, &trig)) return false;
    if (p->turns_keys && p->source == ATTN__SOURCE_TENSORS &&
        (!attn__mul(p->packed_k ? 1 : p->N, p->G, &rows) || !attn__mul(rows, p->S, &rows) ||
         !attn__mul(rows, p->D, &keys)))
        return false;
    if (!attn__mul(half->all, half->pairs, &half_keys) ||
        !attn__mul(half->all, p->E, &half_values))
        return false;
    const attn__plan_part shared[] = {
        {&plan->seqs, p->N, sizeof(attn__seq)},
        {&plan->starts, p->N + 1, 8},
        {&plan->trig, trig, 8},
        {&plan->keys, keys, real},
        {&plan->t_keys, attn__present(&p->at.t_k) ? keys : 0, real},
        {&half->keys, half_keys, 4},
        {&half->values, half_values, 2},
        {&half->k_unit, half->all, 4},
        {&half->v_unit, half->all, 4},
        {&half->k_largest, half->all / ATTN__BLOCK, 4},
        {&half->k_bad, half->all / ATTN__BLOCK, 8},
        {&half->v_bad, half->all / ATTN__BLOCK, 8},
        {&plan->joint_heads, plan->joints, 8},
        {&plan->joint_states, plan->joints * p->G, attn__cascade_bytes(p)},
        {&plan->states, plan->split ? plan->max_tasks : 0, plan->at.panel_bytes},
        {&plan->partials, plan->split ? plan->slots : 0, slot},
        {&plan->scratch, plan->threads, plan->at.bytes}};
    return PLAN_PARTS(&plan->bytes, shared);
}

/* Tasks at most. Packed sequences share T rows, so each adds at most one ragged panel. */
int64_t attn__plan_tasks(const attn__problem *p, int64_t each)
{
    if (p->H == 0 || p->T == 0) return 0;
    if (!p->packed_q) return p->N * p->G * attn__ceil_div(attn__panels_count(p, p->T), each);
    const int64_t group = p->H / p->G;
    return p->G * (p->N + attn__ceil_div(group * (p->T / ATTN__PANEL + p->N), each));
}

/* Big tasks read K and V less often, and widen them once for more queries; small ones feed more
 * threads, which end at the same time. */
static int plan_panels(const attn__problem *p, int64_t threads)
{
    int each = ATTN__PANELS;
    for (int64_t least = PLAN_LARGE_TASKS; each > 1; each /= 2, least = PLAN_TASKS)
        if (attn__plan_tasks(p, each) >= least * threads) break;
    return each;
}

/* Few tasks and many keys: the keys are split. */
static void plan_tiles(attn_plan *plan)
{
    const attn__problem *p = &plan->problem;
    const int64_t threads = plan->threads;
    plan->panels_per_task = plan_panels(p, threads);
    plan->max_tasks = attn__plan_tasks(p, plan->panels_per_task);
    plan->split = threads > 1 && plan->panels_per_task == 1 && plan->max_tasks < 2 * threads &&
                  p->S >= 4 * ATTN__CHUNK && !attn__norm_looks(p);
    plan->joints = attn__cascade_joints(p);
    plan->slots = attn__max(plan->max_tasks, PLAN_SLOTS_A_THREAD * threads);
    if (!plan->split) plan->threads = (int)attn__max(1, attn__min(threads, plan->max_tasks));
}

/* Scratch first; the memory of all ends with the scratch of the threads. */
static bool plan_layout(attn_plan *plan)
{
    const bool backward = plan->problem.call == ATTN__BACKWARD;
    return attn__half_plan_make(plan) && plan_scratch(plan) &&
           (!backward || attn__back_plan_make(plan)) && plan_shared(plan);
}

/* Whether what is asked for ahead would push out of the first cache what is worked on. */
static bool plan_far(void)
{
    const int64_t first = attn__cpu_first_cache();
    return first > 0 && first < PLAN_FIRST_CACHE;
}

static attn_status plan_fill(attn_plan *plan, attn_ctx *ctx, attn_error *error)
{
    uint32_t allowed;
    ATTN_TRY(attn__ctx_check(ctx, error));
    ATTN_TRY(attn__isa_allowed(ctx, &allowed, error));
    plan->magic = PLAN_MAGIC;
    plan->ctx = ctx;
    plan->threads = ctx ? ctx->threads : 1;
    plan->kernels = attn__kernels_pick(plan->problem.real, allowed);
    if (!plan->kernels)
        return attn__fail(error, ATTN_E_ISA, "isa_mask",
                          "allows no table that this machine runs");
    attn__score_plan(plan);
    attn__half_choose(plan);
    plan->far = plan_far();
    attn__few_plan(plan);
    plan->late = attn__late_plan(plan);
    if (plan->problem.call == ATTN__BACKWARD)
        attn__back_plan_units(plan);
    else
        plan_tiles(plan);
    if (!plan_layout(plan))
        return attn__fail(error, ATTN_E_OVERFLOW, "workspace", "does not fit in 64 bits");
    attn__rel_thresholds(plan);
    attn__rotate_plan(plan);
    return ATTN_OK;
}

static attn_status plan_make(attn_plan *plan, attn__call_kind call, attn_ctx *ctx,
                             const attn_spec *spec, const attn_args *args, bool with_data,
                             attn_error *error)
{
    const attn__fpenv saved = attn__fpenv_enter();
    *plan = (attn_plan){0};
    attn_status status =
        attn__problem_check(&plan->problem, call, spec, args, with_data, error);
    if (status == ATTN_OK) plan->args = *args;
    if (status == ATTN_OK) status = plan_fill(plan, ctx, error);
    attn__fpenv_leave(saved);
    return status;
}

static attn_status plan_create(attn_plan **out, attn__call_kind call, attn_ctx *ctx,
                               const attn_spec *spec, const attn_args *args, attn_error *error)
{
    attn_plan local;
    if (!out) return attn__fail(error, ATTN_E_NULL, "plan", "is required");
    *out = NULL;
    ATTN_TRY(plan_make(&local, call, ctx, spec, args, false, error));
    attn_plan *plan = attn__new(ctx, sizeof *plan);
    if (!plan) return attn__fail(error, ATTN_E_MEMORY, "plan", "an allocation failed");
    *plan = local;
    *out = plan;
    return ATTN_OK;
}

attn_status attn_plan_create(attn_plan **plan, attn_ctx *ctx, const attn_spec *spec,
                             const attn_args *args, attn_error *error)
{
    return plan_create(plan, ATTN__FORWARD, ctx, spec, args, error);
}

attn_status attn_plan_create_backward(attn_plan **plan, attn_ctx *ctx, const attn_spec *spec,
                                      const attn_args *args, attn_error *error)
{
    return plan_create(plan, ATTN__BACKWARD, ctx, spec, args, error);
}

attn_status attn_plan_create_jvp(attn_plan **plan, attn_ctx *ctx, const attn_spec *spec,
                                 const attn_args *args, attn_error *error)
{
    return plan_create(plan, ATTN__JVP, ctx, spec, args, error);
}

void attn_plan_destroy(attn_plan *plan)
{
    if (!plan || plan->magic != PLAN_MAGIC) return;
    plan->magic = 0;
    attn__delete(plan->ctx, plan, sizeof *plan);
}

size_t attn_plan_workspace(const attn_plan *plan)
{
    return plan && plan->magic == PLAN_MAGIC ? (size_t)plan->bytes : 0;
}

static void plan_go(const attn_plan *plan, const attn__problem *p, void *workspace)
{
    if (p->call == ATTN__BACKWARD)
        attn__back_go(plan, p, workspace);
    else
        attn__run_go(plan, p, workspace);
}

attn_status attn_plan_run(const attn_plan *plan, const attn_args *args, void *workspace,
                          size_t workspace_size, attn_error *error)
{
    if (!plan) return attn__fail(error, ATTN_E_NULL, "plan", "is required");
    if (!args) return attn__fail(error, ATTN_E_NULL, "args", "is required");
    if (plan->magic != PLAN_MAGIC)
        return attn__fail(error, ATTN_E_HANDLE, "plan", "not a live plan");
    if (args->size != sizeof *args)
        return attn__fail_count(error, ATTN_E_VERSION, "args",
                                "size must be that of attn_args: use ATTN_ARGS()",
                                (int64_t)sizeof *args, (int64_t)args->size);
    if (!attn__args_same(plan->problem.call, args, &plan->args))
        return attn__fail(error, ATTN_E_SHAPE, "args", "differ from those of the plan");
    attn__problem p = plan->problem;
    ATTN_TRY(attn__problem_rebind(&p, args, error));
    if (plan->bytes > 0 && (!workspace || workspace_size < (size_t)plan->bytes))
        return attn__fail_count(error, ATTN_E_WORKSPACE, "workspace", "is too small",
                                plan->bytes, workspace ? (int64_t)workspace_size : 0);
    if ((uintptr_t)workspace % 64)
        return attn__fail_count(error, ATTN_E_WORKSPACE, "workspace", "must be aligned", 64,
                                (int64_t)((uintptr_t)workspace % 64));
    plan_go(plan, &p, workspace);
    return ATTN_OK;
}

attn_status attn_check(const attn_spec *spec, const attn_args *args, attn_error *error)
{
    attn__problem p;
    return attn__problem_check(&p, ATTN__FORWARD, spec, args, true, error);
}

static attn_status plan_once(attn__call_kind call, attn_ctx *ctx, const attn_spec *spec,
                             const attn_args *args, attn_error *error)
{
    attn_plan plan;
    ATTN_TRY(plan_make(&plan, call, ctx, spec, args, true, error));
    void *workspace = attn__new(ctx, (size_t)plan.bytes);
    if (!workspace)
        return attn__fail(error, ATTN_E_MEMORY, "workspace", "an allocation failed");
    plan_go(&plan, &plan.problem, workspace);
    attn__delete(ctx, workspace, (size_t)plan.bytes);
    return ATTN_OK;
}

attn_status attn_forward(attn_ctx *ctx, const attn_spec *spec, const attn_args *args,
                         attn_error *error)
{
    return plan_once(ATTN__FORWARD, ctx, spec, args, error);
}

attn_status attn_backward(attn_ctx *ctx, const attn_spec *spec, const attn_args *args,
                          attn_error *error)
{
    return plan_once(ATTN__BACKWARD, ctx, spec, args, error);
}

attn_status attn_jvp(attn_ctx *ctx, const attn_spec *spec, const attn_args *args,
                     attn_error *error)
{
    return plan_once(ATTN__JVP, ctx, spec, args, error);
}

bool attn_isa_usable(const attn_ctx *ctx, int i)
{
    uint32_t allowed;
    if (attn__isa_allowed(ctx, &allowed, NULL) != ATTN_OK) return false;
    return (attn__kernels_built() & allowed & attn_isa_bit(i)) != 0;
}
