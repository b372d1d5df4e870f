/* SPDX-License-Identifier: MIT
 * One measurement: a plan is made once, then the calls are timed one by one; their median
 * counts, and the machine's ceiling is taken right before and right after, so that a change of
 * clock speed shows. Short calls are timed in batches. */
#include "bench.h"

#include <stdlib.h>

enum { BENCH_RUNS = 1001, BENCH_ALIGN = 64 };

/* Sum over the queries of the keys each may see. */
static double bench_pairs(const bench_shape *s)
{
    if (!s->causal) return (double)s->T * (double)s->S;
    double pairs = 0;
    for (int64_t i = 0; i < s->T; i++) {
        int64_t keys = i + 1 + s->S - s->T;
        pairs += (double)(keys < 0 ? 0 : keys > s->S ? s->S : keys);
    }
    return pairs;
}

double bench_flops(const bench_shape *s)
{
    return 2 * (double)s->B * (double)s->H * bench_pairs(s) * 2 * (double)s->D;
}

static attn_tensor bench_tensor(attn_dtype dtype, int64_t b, int64_t h, int64_t n, int64_t d,
                                uint64_t seed)
{
    const int64_t shape[] = {b, h, n, d};
    attn_tensor t = cli_array_new(dtype, 4, shape);
    if (t.data && seed) cli_array_normal(t, seed);
    return t;
}

static int bench_plan(bench_job *job, attn_ctx *ctx)
{
    attn_error error;
    if (attn_plan_create(&job->plan, ctx, &job->spec, &job->args, &error) != ATTN_OK)
        return cli_fail_error(NULL, &error);
    size_t size = attn_plan_workspace(job->plan);
    job->workspace_size = size;
    size_t padded = (size + BENCH_ALIGN) / BENCH_ALIGN * BENCH_ALIGN;
    job->workspace = aligned_alloc(BENCH_ALIGN, padded);
    return job->workspace ? 0 : cli_fail(CLI_LIMIT, "not enough memory for the workspace.");
}

int bench_job_init(bench_job *job, attn_ctx *ctx, const bench_shape *s, attn_dtype dtype)
{
    *job =
        (bench_job){.spec = ATTN_SPEC(.causal = s->causal, .align = ATTN_ALIGN_BOTTOM_RIGHT),
                    .args = ATTN_ARGS(.q = bench_tensor(dtype, s->B, s->H, s->T, s->D, 1),
                                      .k = bench_tensor(dtype, s->B, s->G, s->S, s->D, 2),
                                      .v = bench_tensor(dtype, s->B, s->G, s->S, s->D, 3),
                                      .out = bench_tensor(dtype, s->B, s->H, s->T, s->D, 0))};
    const attn_args *a = &job->args;
    if (!a->q.data || !a->k.data || !a->v.data || !a->out.data)
        return cli_fail(CLI_LIMIT, "not enough memory for a tensor of this shape.");
    return bench_plan(job, ctx);
}

void bench_job_destroy(bench_job *job)
{
    attn_plan_destroy(job->plan);
    free(job->workspace);
    attn_tensor *tensors[] = {&job->args.q, &job->args.k, &job->args.v, &job->args.out};
    for (int i = 0; i < 4; i++) cli_array_free(tensors[i]);
}

/* Seconds for one call, averaged over n of them; negative after a message. */
static double bench_time(bench_job *job, int64_t n)
{
    attn_error error;
    double begin = cli_seconds();
    for (int64_t i = 0; i < n; i++)
        if (attn_plan_run(job->plan, &job->args, job->workspace, job->workspace_size, &error) !=
            ATTN_OK) {
            cli_fail_error(NULL, &error);
            return -1;
        }
    return (cli_seconds() - begin) / (double)n;
}

static int bench_order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void bench_summarise(double *times, int n, bench_result *r)
{
    qsort(times, (size_t)n, sizeof times[0], bench_order);
    r->runs = n;
    r->seconds = n % 2 ? times[n / 2] : 0.5 * (times[n / 2 - 1] + times[n / 2]);
    r->least = times[0];
    r->most = times[n - 1];
    r->low = times[n / 4];
    r->high = times[n - 1 - n / 4];
    r->speed = r->flops / r->seconds;
    r->fraction = r->speed / (0.5 * (r->before + r->after));
}

int bench_measure(bench_job *job, attn_ctx *ctx, const bench_shape *shape, double seconds,
                  bench_result *r)
{
    *r = (bench_result){.flops = bench_flops(shape), .before = cli_measure_fma(ctx)};
    attn_plan_describe(job->plan, &r->plan);
    double first = bench_time(job, 1), times[BENCH_RUNS];
    if (first < 0) return CLI_RUNTIME;
    int64_t batch = first < 1e-4 ? (int64_t)(1e-4 / (first + 1e-8)) + 1 : 1;
    double end = cli_seconds() + seconds;
    int n = 0;
    while (n < BENCH_RUNS && (n < 3 || cli_seconds() < end)) {
        times[n] = bench_time(job, batch);
        if (times[n++] < 0) return CLI_RUNTIME;
    }
    r->after = cli_measure_fma(ctx);
    bench_summarise(times, n, r);
    return 0;
}
