/* SPDX-License-Identifier: MIT
 * The plan of a scan: how many tokens are in memory at once, whether threads take whole streams
 * or share one, where everything lies. Nothing chosen here shows in a result. */
#include "engine/scan.h"

enum {
    SCAN_MAGIC = 0x6E616373,
    SCAN_SEGMENT = 512, /* tokens, forward */
    SCAN_SEGMENT_MOST = 2048,
    SCAN_SEGMENT_LEAST = 16,
    SCAN_ROWS = 8192,   /* rows of queries in a segment, about */
    SCAN_WORK = 1 << 16 /* multiplications worth a second thread */
};

/* Backward: kept states and segments cost about as much memory. */
static int64_t scan_plan_segment(const attn__scan_problem *p)
{
    int64_t n = SCAN_SEGMENT, longest = attn__max(1, attn__max(p->S, p->T));
    if (p->backward) {
        n = SCAN_SEGMENT / 8;
        while (n < SCAN_SEGMENT_MOST &&
               (double)n * (double)n < (double)p->S * (double)p->columns / 8)
            n *= 2;
    }
    while (n > SCAN_SEGMENT_LEAST && n * attn__max(1, p->M) > SCAN_ROWS) n /= 2;
    return attn__min(n, longest);
}

static bool scan_plan_memory(attn_scan_plan *plan)
{
    const attn__scan_problem *p = &plan->problem;
    attn__scan_layout *at = &plan->at;
    const int64_t L = plan->segment, step = plan->kernels->step, M = p->M, D = p->D;
    const int64_t back = p->backward, solve = p->spec.update == ATTN_SCAN_DELTA;
    const int64_t decays = attn__present(&p->at.decay), grade = attn__present(&p->at.d_decay);
    int64_t row_e, row_d, kept, group;
    if (!attn__add(p->columns, step - 1, &row_e) || !attn__add(D, step - 1, &row_d))
        return false;
    const int64_t e = at->lanes_e = row_e / step * step, d = at->lanes_d = row_d / step * step;
    if (!attn__mul(e, 8, &row_e) || !attn__mul(d, 8, &row_d) || !attn__mul(M, L, &group) ||
        !attn__mul(D, p->columns, &kept) || !attn__mul(kept, 8, &kept))
        return false;
    const attn__plan_part parts[] = {
        {&at->s, D, row_e},
        {&at->k, L, row_d},
        {&at->a, attn__scan_constant(&p->at.decay) ? 1 : decays * L, row_d},
        {&at->beta, solve * L, 8},
        {&at->v, L, row_e},
        {&at->q, group, row_d},
        {&at->o, !back || p->spec.normalise ? group : 0, row_e},
        {&at->g, back * group, row_e},
        {&at->kept, back * (attn__ceil_div(p->S, L) + 1), kept},
        {&at->me, back * D, row_e},
        {&at->sd, back * p->columns, row_d},
        {&at->md, back * p->columns, row_d},
        {&at->w, back * L, row_e},
        {&at->dq, back * group, row_d},
        {&at->dk, back * L, row_d},
        {&at->x, back * solve * L, row_d},
        {&at->y, back * grade * L, row_d},
        {&at->run, back * grade, row_d},
        {&at->dbeta, back * solve * L, 8}};
    return attn__plan_parts(&at->bytes, parts, sizeof parts / sizeof parts[0]);
}

/* Enough streams: a thread takes them whole. Few: the threads share each of them. */
static void scan_plan_threads(attn_scan_plan *plan)
{
    const attn__scan_problem *p = &plan->problem;
    const double tokens = (double)p->S * (double)(p->packed ? 1 : p->N) * (double)p->G;
    const double work = tokens * (double)p->D * (double)p->columns;
    if (work < SCAN_WORK) plan->threads = 1;
    const bool share = plan->threads > 1 && plan->streams < 2 * plan->threads;
    plan->parts = share ? plan->threads : 1;
    plan->slots = share ? plan->streams : attn__min(plan->threads, plan->streams);
}

static bool scan_plan_layout(attn_scan_plan *plan)
{
    const attn__scan_problem *p = &plan->problem;
    int64_t tokens;
    if (!attn__mul(p->N, p->G, &plan->streams) || !attn__mul(p->N, p->S, &tokens) ||
        !attn__mul(p->N, p->T, &tokens))
        return false;
    scan_plan_threads(plan);
    plan->segment = scan_plan_segment(p);
    if (!scan_plan_memory(plan)) return false;
    const bool sums = p->backward && (attn__scan_constant(&p->at.d_decay) ||
                                      attn__scan_constant(&p->at.d_beta));
    const attn__plan_part shared[] = {
        {&plan->memory, plan->slots, plan->at.bytes},
        {&plan->totals, sums ? plan->streams : 0, 8 * (plan->at.lanes_d + 1)}};
    return attn__plan_parts(&plan->bytes, shared, 2);
}

static attn_status scan_plan_make(attn_scan_plan *plan, bool backward, attn_ctx *ctx,
                                  const attn_scan_spec *spec, const attn_scan_args *args,
                                  bool with_data, attn_error *error)
{
    uint32_t allowed;
    *plan = (attn_scan_plan){.magic = SCAN_MAGIC, .ctx = ctx};
    ATTN_TRY(attn__scan_problem_check(&plan->problem, backward, spec, args, with_data, error));
    plan->args = *args;
    ATTN_TRY(attn__ctx_check(ctx, error));
    ATTN_TRY(attn__isa_allowed(ctx, &allowed, error));
    plan->threads = ctx ? ctx->threads : 1;
    plan->kernels = attn__kernels_pick(ATTN_DTYPE_F64, allowed);
    if (!plan->kernels)
        return attn__fail(error, ATTN_E_ISA, "isa_mask",
                          "allows no table that this machine runs");
    if (!scan_plan_layout(plan))
        return attn__fail(error, ATTN_E_OVERFLOW, "workspace", "does not fit in 64 bits");
    return ATTN_OK;
}

/* ---- the public functions ---------------------------------------------------------------- */

static attn_status scan_plan_create(attn_scan_plan **out, bool backward, attn_ctx *ctx,
                                    const attn_scan_spec *spec, const attn_scan_args *args,
                                    attn_error *error)
{
    attn_scan_plan local;
    if (!out) return attn__fail(error, ATTN_E_NULL, "plan", "is required");
    *out = NULL;
    ATTN_TRY(scan_plan_make(&local, backward, ctx, spec, args, false, error));
    attn_scan_plan *plan = attn__new(ctx, sizeof *plan);
    if (!plan) return attn__fail(error, ATTN_E_MEMORY, "plan", "an allocation failed");
    *plan = local;
    *out = plan;
    return ATTN_OK;
}

attn_status attn_scan_plan_create(attn_scan_plan **plan, attn_ctx *ctx,
                                  const attn_scan_spec *spec, const attn_scan_args *args,
                                  attn_error *error)
{
    return scan_plan_create(plan, false, ctx, spec, args, error);
}

attn_status attn_scan_plan_create_backward(attn_scan_plan **plan, attn_ctx *ctx,
                                           const attn_scan_spec *spec,
                                           const attn_scan_args *args, attn_error *error)
{
    return scan_plan_create(plan, true, ctx, spec, args, error);
}

void attn_scan_plan_destroy(attn_scan_plan *plan)
{
    if (!plan || plan->magic != SCAN_MAGIC) return;
    plan->magic = 0;
    attn__delete(plan->ctx, plan, sizeof *plan);
}

size_t attn_scan_plan_workspace(const attn_scan_plan *plan)
{
    return plan && plan->magic == SCAN_MAGIC ? (size_t)plan->bytes : 0;
}

static attn_status scan_plan_space(const attn_scan_plan *plan, const void *workspace,
                                   size_t size, attn_error *error)
{
    if (plan->bytes > 0 && (!workspace || size < (size_t)plan->bytes))
        return attn__fail_count(error, ATTN_E_WORKSPACE, "workspace", "is too small",
                                plan->bytes, workspace ? (int64_t)size : 0);
    if ((uintptr_t)workspace % 64)
        return attn__fail_count(error, ATTN_E_WORKSPACE, "workspace", "must be aligned", 64,
                                (int64_t)((uintptr_t)workspace % 64));
    return ATTN_OK;
}

attn_status attn_scan_plan_run(const attn_scan_plan *plan, const attn_scan_args *args,
                               void *workspace, size_t workspace_size, attn_error *error)
{
    if (!plan) return attn__fail(error, ATTN_E_NULL, "plan", "is required");
    if (!args) return attn__fail(error, ATTN_E_NULL, "args", "is required");
    if (plan->magic != SCAN_MAGIC)
        return attn__fail(error, ATTN_E_HANDLE, "plan", "not a live plan");
    if (args->size != sizeof *args)
        return attn__fail_count(error, ATTN_E_VERSION, "args",
                                "size must be that of attn_scan_args: use ATTN_SCAN_ARGS()",
                                (int64_t)sizeof *args, (int64_t)args->size);
    if (!attn__scan_args_same(plan->problem.backward, args, &plan->args))
        return attn__fail(error, ATTN_E_SHAPE, "args", "differ from those of the plan");
    attn__scan_problem p = plan->problem;
    ATTN_TRY(attn__scan_rebind(&p, args, error));
    ATTN_TRY(scan_plan_space(plan, workspace, workspace_size, error));
    attn__scan_go(plan, &p, workspace);
    return ATTN_OK;
}

attn_status attn_scan_check(const attn_scan_spec *spec, const attn_scan_args *args,
                            attn_error *error)
{
    attn_scan_plan plan;
    return scan_plan_make(&plan, false, NULL, spec, args, true, error);
}

static attn_status scan_plan_once(bool backward, attn_ctx *ctx, const attn_scan_spec *spec,
                                  const attn_scan_args *args, attn_error *error)
{
    attn_scan_plan plan;
    ATTN_TRY(scan_plan_make(&plan, backward, ctx, spec, args, true, error));
    void *workspace = attn__new(ctx, (size_t)plan.bytes);
    if (!workspace)
        return attn__fail(error, ATTN_E_MEMORY, "workspace", "an allocation failed");
    attn__scan_go(&plan, &plan.problem, workspace);
    attn__delete(ctx, workspace, (size_t)plan.bytes);
    return ATTN_OK;
}

attn_status attn_scan_forward(attn_ctx *ctx, const attn_scan_spec *spec,
                              const attn_scan_args *args, attn_error *error)
{
    return scan_plan_once(false, ctx, spec, args, error);
}

attn_status attn_scan_backward(attn_ctx *ctx, const attn_scan_spec *spec,
                               const attn_scan_args *args, attn_error *error)
{
    return scan_plan_once(true, ctx, spec, args, error);
}

/* ---- what it will do --------------------------------------------------------------------- */

static double scan_plan_bytes(const attn__scan_problem *p)
{
    double bytes = 0;
    for (int i = 0; i < ATTN__N_SCAN_ARGS; i++) {
        const attn_tensor *t = attn__scan_arg_in(&p->at, i);
        double n = attn__present(t) ? (double)attn_dtype_size(t->dtype) : 0;
        for (int d = 0; d < t->rank; d++) n *= (double)t->shape[d];
        bytes += n;
    }
    return bytes;
}

/* Products of D and E' a token: what it adds and what each query of its group reads, once and
 * (delta) once more to solve; backward walks both ways in both layouts. */
void attn_scan_plan_describe(const attn_scan_plan *plan, attn_scan_info *info)
{
    *info = (attn_scan_info){0};
    if (!plan || plan->magic != SCAN_MAGIC) return;
    const attn__scan_problem *p = &plan->problem;
    const bool solve = p->spec.update == ATTN_SCAN_DELTA;
    const double batch = (double)(p->packed ? 1 : p->N) * (double)p->D * (double)p->columns;
    const double tokens = batch * (double)p->G * (double)p->S;
    const double queries = batch * (double)p->H * (double)p->T;
    const double by_token = p->backward ? (solve ? 12 : 5) : solve ? 2 : 1;
    *info = (attn_scan_info){
        .isa = plan->kernels->name,
        .threads = plan->threads,
        .streams = plan->streams,
        .parts = plan->parts,
        .segment = plan->segment,
        .workspace = (size_t)plan->bytes,
        .flops = 2 * (by_token * tokens + (p->backward ? 3 : 1) * queries),
        .bytes = scan_plan_bytes(p),
    };
}
