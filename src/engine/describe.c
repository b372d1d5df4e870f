/* SPDX-License-Identifier: MIT
 * What a plan will do, in numbers, and what the machine could do at best. */
#include "engine/source.h"

#include <math.h>

void attn_plan_describe(const attn_plan *plan, attn_plan_info *info)
{
    if (!info) return;
    *info = (attn_plan_info){0};
    if (!attn_plan_workspace(plan)) return;
    const attn__problem *p = &plan->problem;
    const double S = (double)attn__source_span(p);
    const double pairs = (double)p->T * S * (double)(p->packed_q ? 1 : p->N);
    const double size = (double)attn_dtype_size(p->at.q.dtype);
    const double q = (double)(p->packed_q ? 1 : p->N) * (double)p->H * (double)p->T;
    const double k = (double)(p->packed_k ? 1 : p->N) * (double)p->G * S;
    /* Products of width D by score, and of width E: forward; back; forward with tangents. A
     * difference is half a product, a tanh twelve. */
    static const struct {
        double scores[ATTN_SCORE_ADDITIVE + 1], values;
    } products[] = {{{1, 1.5, 13}, 1}, {{3, 4.5, 29}, 2}, {{3, 3.5, 28}, 3}};
    const double depth = products[p->call].scores[p->spec.score] * (double)p->D +
                         products[p->call].values * (double)p->E;
    *info = (attn_plan_info){
        .isa = plan->kernels->name,
        .arithmetic = plan->kernels->dtype,
        .threads = plan->threads,
        .chunk = ATTN__CHUNK,
        .panel = ATTN__PANEL,
        .tasks = plan->max_tasks,
        .split_keys = plan->split,
        .workspace = (size_t)plan->bytes,
        .flops = 2 * (double)p->H * pairs * depth,
        .bytes = q * (double)(p->D + p->E) * size + k * (p->k_bytes + p->v_bytes),
        .precision = plan->half.kernels ? ATTN_PRECISION_HALF : ATTN_PRECISION_EXACT,
    };
}

/* The table that calls in f32 would use; NULL where none is allowed. */
static const attn__kernels *describe_kernels(const attn_ctx *ctx)
{
    uint32_t allowed;
    if (attn__isa_allowed(ctx, &allowed, NULL) != ATTN_OK) return NULL;
    return attn__kernels_pick(ATTN_DTYPE_F32, allowed);
}

double attn_probe_fma(const attn_ctx *ctx, int64_t rounds)
{
    double sink = 0;
    const attn__kernels *k = describe_kernels(ctx);
    if (!k || rounds < 1) return 0;
    const double flops = k->probe(rounds, &sink);
    return sink == sink ? flops : 0;
}

double attn_probe_read(const attn_ctx *ctx, const float *x, int64_t n, int streams,
                       int64_t ahead)
{
    enum { MOST_STREAMS = 16 };
    double sum = (double)NAN;
    const attn__kernels *k = describe_kernels(ctx);
    const bool known = streams >= 1 && streams <= MOST_STREAMS && ahead >= 0;
    if (k && x && n >= 1 && known) k->probe_read(n, x, streams, ahead, &sum);
    return sum;
}
