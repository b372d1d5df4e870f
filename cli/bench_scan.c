/* SPDX-License-Identifier: MIT
 * A row of recurrent attention for attn bench: forward or backward, by a plan that is made
 * once. T and S are the same, E is D. Decays are by key; beta is 1 / D, which keeps keys of
 * normal numbers from running away. Work is what attn_scan_plan_describe counts. */
#include "bench.h"

#include <stdlib.h>

enum { SCAN_ALIGN = 64 };

static attn_tensor scan_constant(bench_job *job, attn_dtype dtype, int rank,
                                 const int64_t *shape, double value)
{
    attn_tensor t = bench_tensor(job, dtype, rank, shape, 0);
    attn_tensor one = attn_tensor_make(&value, ATTN_DTYPE_F64, rank, shape);
    for (int i = 0; i < rank; i++) one.stride[i] = 0;
    if (t.data && attn_tensor_copy(t, one, NULL) != ATTN_OK) job->out_of_memory = true;
    return t;
}

static void scan_tensors(bench_job *job, const bench_row *row, attn_dtype dtype)
{
    const int64_t *s = row->sizes, B = s[0], H = s[1], G = s[2], T = s[3], D = s[5];
    const int64_t q[] = {B, H, T, D}, k[] = {B, G, T, D};
    attn_scan_args *a = &job->scan_args;
    *a = ATTN_SCAN_ARGS(.q = bench_tensor(job, dtype, 4, q, 1),
                        .k = bench_tensor(job, dtype, 4, k, 2),
                        .v = bench_tensor(job, dtype, 4, k, 3));
    if (row->options & BENCH_DECAY) a->decay = scan_constant(job, dtype, 4, k, -0.05);
    if (row->options & BENCH_DELTA) a->beta = scan_constant(job, dtype, 1, &G, 1 / (double)D);
    if (!(row->options & BENCH_BACKWARD)) {
        a->out = bench_tensor(job, dtype, 4, q, 0);
        return;
    }
    a->d_out = bench_tensor(job, dtype, 4, q, 4);
    a->d_q = bench_tensor(job, dtype, 4, q, 0);
    a->d_k = bench_tensor(job, dtype, 4, k, 0);
    a->d_v = bench_tensor(job, dtype, 4, k, 0);
    if (row->options & BENCH_DECAY) a->d_decay = bench_tensor(job, dtype, 4, k, 0);
}

static attn_status scan_call(bench_job *job, attn_error *error)
{
    return attn_scan_plan_run(job->scan_plan, &job->scan_args, job->workspace,
                              job->workspace_size, error);
}

static int scan_plan(bench_job *job, bool backward)
{
    attn_error error;
    attn_scan_info info;
    if ((backward ? attn_scan_plan_create_backward : attn_scan_plan_create)(
            &job->scan_plan, job->ctx, &job->scan_spec, &job->scan_args, &error) != ATTN_OK)
        return cli_fail_error(NULL, &error);
    attn_scan_plan_describe(job->scan_plan, &info);
    job->info = (attn_plan_info){.isa = info.isa,
                                 .arithmetic = ATTN_DTYPE_F64,
                                 .threads = info.threads,
                                 .workspace = info.workspace};
    job->flops = info.flops;
    job->bytes = (double)attn_tensor_count(job->scan_args.k) * 2 *
                 (double)attn_dtype_size(job->scan_args.k.dtype);
    job->workspace_size = info.workspace;
    const size_t padded = (info.workspace + SCAN_ALIGN) / SCAN_ALIGN * SCAN_ALIGN;
    job->workspace = aligned_alloc(SCAN_ALIGN, padded);
    return job->workspace ? 0 : cli_fail(CLI_LIMIT, "not enough memory for the workspace.");
}

int bench_scan(bench_job *job, const bench_row *row, attn_dtype dtype)
{
    const bool delta = row->options & BENCH_DELTA;
    job->call = scan_call;
    job->scan_spec = ATTN_SCAN_SPEC(.update = delta ? ATTN_SCAN_DELTA : ATTN_SCAN_LINEAR);
    scan_tensors(job, row, dtype);
    const int code = bench_memory(job);
    return code ? code : scan_plan(job, row->options & BENCH_BACKWARD);
}
