/* SPDX-License-Identifier: MIT
 * A row of attn_matmul for attn bench: products of M K by K N matrices, B of them in a call. */
#include "bench.h"

static attn_status product_call(bench_job *job, attn_error *error)
{
    return attn_matmul(job->ctx, &job->a, &job->b, &job->c, false, error);
}

/* As attn_matmul sees it, B rows columns; turned, memory has the columns first. */
static attn_tensor product_operand(bench_job *job, attn_dtype dtype, const int64_t *shape,
                                   bool turned, uint64_t seed)
{
    static const int order[] = {0, 2, 1};
    const int64_t other[] = {shape[0], shape[2], shape[1]};
    attn_tensor t = bench_tensor(job, dtype, 3, turned ? other : shape, seed);
    return turned && t.data ? attn_tensor_permute(t, order) : t;
}

static const char *product_isa(const attn_ctx *ctx)
{
    const char *best = "", *name;
    for (int i = 0; (name = attn_isa_name(i)) != NULL; i++)
        if (attn_isa_usable(ctx, i)) best = name;
    return best;
}

int bench_product(bench_job *job, const bench_row *row, attn_dtype dtype)
{
    const int64_t B = row->sizes[0], M = row->sizes[1], N = row->sizes[2], K = row->sizes[3];
    const attn_dtype wide = dtype == ATTN_DTYPE_F64 ? ATTN_DTYPE_F64 : ATTN_DTYPE_F32;
    job->call = product_call;
    job->info.isa = product_isa(job->ctx);
    job->flops = 2 * (double)B * (double)M * (double)N * (double)K;
    job->bytes = ((double)B * (double)M * (double)K + (double)B * (double)K * (double)N) *
                 (double)attn_dtype_size(dtype);
    job->a =
        product_operand(job, dtype, (int64_t[]){B, M, K}, row->options & BENCH_A_TURNED, 1);
    job->b =
        product_operand(job, dtype, (int64_t[]){B, K, N}, row->options & BENCH_B_TURNED, 2);
    job->c = product_operand(job, wide, (int64_t[]){B, M, N}, false, 0);
    return bench_memory(job);
}
