/* SPDX-License-Identifier: MIT
 * A row of attention for attn bench: forward, backward or with tangents, all by a plan that is
 * made once. A backward row begins with one forward call, which leaves out and lse.
 *
 * Work is that of the products over unmasked pairs, in multiply-adds of D numbers each: forward
 * q.k and p v; backward q.k, g.v, and what goes to q, k and v; with tangents the two of forward
 * and four more. A difference or a tanh of another score counts as one of them. Bytes are those of k
 * and v, once. */
#include "bench.h"

#include <math.h>
#include <stdlib.h>

enum { ATTENTION_ALIGN = 64 };

/* Sum over the queries of the keys each may see. */
static double attention_pairs(const bench_row *row)
{
    const int64_t T = row->sizes[3], S = row->sizes[4];
    if (!(row->options & BENCH_CAUSAL)) return (double)T * (double)S;
    double pairs = 0;
    for (int64_t i = 0; i < T; i++) {
        int64_t keys = i + 1 + S - T;
        pairs += (double)(keys < 0 ? 0 : keys > S ? S : keys);
    }
    return pairs;
}

static attn_tensor attention_tensor(bench_job *job, attn_dtype dtype, attn_tensor like,
                                    uint64_t seed)
{
    return bench_tensor(job, dtype, like.rank, like.shape, seed);
}

static bool attention_copies(bench_job *job, attn_dtype dtype, const int64_t *shape, int64_t n)
{
    const int64_t all[] = {n * shape[0], shape[1], shape[2], shape[3]};
    job->k_all = cli_array_new(dtype, 4, all);
    if (job->k_all.data) job->v_all = cli_array_new(dtype, 4, all);
    if (!job->v_all.data) {
        cli_array_free(&job->k_all);
        return false;
    }
    bench_fill(job->k_all, 2);
    bench_fill(job->v_all, 3);
    return true;
}

/* Copies of k and v behind each other, a gibibyte of them, which no cache holds, or as many as
 * there is memory for. */
static void attention_cold(bench_job *job, attn_dtype dtype, const int64_t *shape)
{
    const double wanted = 0x1p30, most = 0x1p46;
    double bytes = (double)attn_dtype_size(dtype);
    for (int i = 0; i < 4; i++) bytes *= (double)shape[i];
    if (bytes > most) {
        job->out_of_memory = true;
        return;
    }
    job->turn_bytes = (size_t)bytes;
    int64_t n = (int64_t)ceil(wanted / (2 * (double)job->turn_bytes));
    while (n > 0 && !attention_copies(job, dtype, shape, n)) n /= 2;
    job->n_copies = n;
    job->out_of_memory |= n == 0;
    job->args.k = attn_tensor_make(job->k_all.data, dtype, 4, shape);
    job->args.v = attn_tensor_make(job->v_all.data, dtype, 4, shape);
}

static const struct {
    unsigned option;
    double factor; /* of q */
} attention_factors[] = {{BENCH_X40, 40}, {BENCH_X200, 200}};

static void attention_scale(attn_tensor t, double factor)
{
    const int64_t n = attn_tensor_count(t);
    for (int64_t i = 0; i < n; i++) {
        double x;
        attn_tensor wide = attn_tensor_make(&x, ATTN_DTYPE_F64, 0, NULL);
        attn_tensor one = attn_tensor_make(
            (char *)t.data + (size_t)i * attn_dtype_size(t.dtype), t.dtype, 0, NULL);
        attn_tensor_copy(wide, one, NULL);
        x *= factor;
        attn_tensor_copy(one, wide, NULL);
    }
}

static void attention_keys(bench_job *job, const bench_row *row, attn_dtype dtype)
{
    const int64_t *s = row->sizes, shape[] = {s[0], s[2], s[4], s[5]};
    if (row->options & BENCH_CACHES) return;
    if (row->options & BENCH_COLD) {
        attention_cold(job, dtype, shape);
        return;
    }
    job->args.k = bench_tensor(job, dtype, 4, shape, 2);
    job->args.v = bench_tensor(job, dtype, 4, shape, 3);
}

static void attention_forward(bench_job *job, const bench_row *row, attn_dtype dtype)
{
    const int64_t *s = row->sizes, B = s[0], H = s[1], T = s[3], S = s[4], D = s[5];
    attn_args *a = &job->args;
    job->spec =
        ATTN_SPEC(.causal = row->options & BENCH_CAUSAL, .align = ATTN_ALIGN_BOTTOM_RIGHT);
    *a = ATTN_ARGS(.q = bench_tensor(job, dtype, 4, (int64_t[]){B, H, T, D}, 1),
                   .out = bench_tensor(job, dtype, 4, (int64_t[]){B, H, T, D}, 0));
    attention_keys(job, row, dtype);
    for (size_t i = 0; i < sizeof attention_factors / sizeof attention_factors[0]; i++)
        if (row->options & attention_factors[i].option && a->q.data)
            attention_scale(a->q, attention_factors[i].factor);
    if (row->options & (BENCH_BIAS | BENCH_D_BIAS))
        a->bias = bench_tensor(job, dtype, 3, (int64_t[]){H, T, S}, 4);
    if (row->options & BENCH_HALF) job->spec.precision = ATTN_PRECISION_HALF;
    if (row->options & BENCH_L2) job->spec.score = ATTN_SCORE_L2;
    if (!(row->options & BENCH_ADDITIVE)) return;
    job->spec.score = ATTN_SCORE_ADDITIVE;
    a->score_w = bench_tensor(job, dtype, 2, (int64_t[]){H, D}, 10);
}

/* lse is at least as wide as the arithmetic. */
static int attention_backward(bench_job *job, const bench_row *row, attn_dtype dtype)
{
    attn_args *a = &job->args;
    attn_error error;
    const attn_dtype real = dtype == ATTN_DTYPE_F64 ? ATTN_DTYPE_F64 : ATTN_DTYPE_F32;
    a->lse = bench_tensor(job, real, 3, a->out.shape, 0);
    a->d_out = attention_tensor(job, dtype, a->out, 5);
    a->d_q = attention_tensor(job, dtype, a->q, 0);
    a->d_k = attention_tensor(job, dtype, a->k, 0);
    a->d_v = attention_tensor(job, dtype, a->v, 0);
    if (row->options & BENCH_D_BIAS) a->d_bias = attention_tensor(job, dtype, a->bias, 0);
    int code = bench_memory(job);
    if (code || attn_forward(job->ctx, &job->spec, a, &error) == ATTN_OK) return code;
    return cli_fail_error(NULL, &error);
}

static int attention_jvp(bench_job *job, const bench_row *row, attn_dtype dtype)
{
    attn_args *a = &job->args;
    a->t_q = attention_tensor(job, dtype, a->q, 6);
    a->t_k = attention_tensor(job, dtype, a->k, 7);
    a->t_v = attention_tensor(job, dtype, a->v, 8);
    a->t_out = attention_tensor(job, dtype, a->out, 0);
    if (row->options & BENCH_BIAS) a->t_bias = attention_tensor(job, dtype, a->bias, 9);
    return bench_memory(job);
}

static int attention_nothing(bench_job *job, const bench_row *row, attn_dtype dtype)
{
    (void)row, (void)dtype;
    return bench_memory(job);
}

/* The ways through, by option; the last one takes what is left. */
static const struct attention_way {
    unsigned option;
    int products; /* of D multiply-adds for each pair */
    attn_status (*plan)(attn_plan **, attn_ctx *, const attn_spec *, const attn_args *,
                        attn_error *);
    int (*more)(bench_job *job, const bench_row *row, attn_dtype dtype); /* tensors */
} attention_ways[] = {
    {BENCH_BACKWARD, 5, attn_plan_create_backward, attention_backward},
    {BENCH_JVP, 6, attn_plan_create_jvp, attention_jvp},
    {0, 2, attn_plan_create, attention_nothing},
};

static attn_status attention_call(bench_job *job, attn_error *error)
{
    if (job->n_copies && job->cache) bench_cache_turn(job);
    if (job->n_copies && !job->cache) {
        const size_t at = (size_t)job->turn * job->turn_bytes;
        job->args.k.data = (char *)job->k_all.data + at;
        job->args.v.data = (char *)job->v_all.data + at;
    }
    if (job->n_copies) job->turn = (job->turn + 1) % job->n_copies;
    return attn_plan_run(job->plan, &job->args, job->workspace, job->workspace_size, error);
}

static int attention_plan(bench_job *job, const struct attention_way *way)
{
    attn_error error;
    if (way->plan(&job->plan, job->ctx, &job->spec, &job->args, &error) != ATTN_OK)
        return cli_fail_error(NULL, &error);
    size_t size = attn_plan_workspace(job->plan);
    job->workspace_size = size;
    size_t padded = (size + ATTENTION_ALIGN) / ATTENTION_ALIGN * ATTENTION_ALIGN;
    job->workspace = aligned_alloc(ATTENTION_ALIGN, padded);
    attn_plan_describe(job->plan, &job->info);
    return job->workspace ? 0 : cli_fail(CLI_LIMIT, "not enough memory for the workspace.");
}

int bench_attention(bench_job *job, const bench_row *row, attn_dtype dtype)
{
    const struct attention_way *way = attention_ways;
    while (way->option && !(way->option & row->options)) way++;
    job->call = attention_call;
    job->flops = 2 * (double)row->sizes[0] * (double)row->sizes[1] * attention_pairs(row) *
                 way->products * (double)row->sizes[5];
    job->bytes = 2 * (double)row->sizes[0] * (double)row->sizes[2] * (double)row->sizes[4] *
                 (double)row->sizes[5] * (double)attn_dtype_size(dtype);
    job->reads = row->options & BENCH_COLD;
    attention_forward(job, row, dtype);
    int code = row->options & BENCH_CACHES ? bench_cache(job, row, dtype) : 0;
    if (!code) code = way->more(job, row, dtype);
    return code ? code : attention_plan(job, way);
}
