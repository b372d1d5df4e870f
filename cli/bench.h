/* SPDX-License-Identifier: MIT
 * The parts of `attn bench`: what a row is, and how one is measured. `attn demo` measures one.
 */
#ifndef ATTN_CLI_BENCH_H
#define ATTN_CLI_BENCH_H

#include "cli.h"

typedef struct bench_shape {
    int64_t B, H, G, T, S, D;
    bool causal; /* the last query stands at the last key */
} bench_shape;

/* What one row gave. Speeds in flop/s; the ceiling was measured right before and right after.
 */
typedef struct bench_result {
    attn_plan_info plan;
    int runs;
    double seconds;       /* median of one call */
    double least, most;   /* seconds; the extremes */
    double low, high;     /* seconds; the middle half lies between them */
    double flops, speed;  /* of one call, unmasked pairs only; flops / seconds */
    double before, after; /* ceiling */
    double fraction;      /* speed / mean of the two */
} bench_result;

double bench_flops(const bench_shape *shape); /* 2 B H (D + D) for each allowed pair */

/* Data, plan and workspace of one row; 0, or an exit code after a message. */
typedef struct bench_job {
    attn_spec spec;
    attn_args args;
    attn_plan *plan;
    void *workspace;
    size_t workspace_size;
} bench_job;
int bench_job_init(bench_job *job, attn_ctx *ctx, const bench_shape *shape, attn_dtype dtype);
void bench_job_destroy(bench_job *job);
/* Calls for about so many seconds, at least three times. */
int bench_measure(bench_job *job, attn_ctx *ctx, const bench_shape *shape, double seconds,
                  bench_result *result);

#endif
