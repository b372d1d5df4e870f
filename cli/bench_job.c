/* SPDX-License-Identifier: MIT
 * One measurement: the calls of a job are timed one by one; their median counts, and the
 * machine's ceilings are taken right before and right after, so that a change of clock speed
 * shows. Short calls are timed in batches. */
#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BENCH_RUNS = 1001 };

/* A prime number of them, then the same ones again: making a gibibyte of normal numbers would
 * take longer than measuring. */
void bench_fill(attn_tensor t, uint64_t seed)
{
    const int64_t period = 1048573, count = attn_tensor_count(t);
    const size_t size = attn_dtype_size(t.dtype);
    int64_t n = count < period ? count : period;
    cli_array_normal(attn_tensor_make(t.data, t.dtype, 1, &n), seed);
    for (int64_t at = n; at < count; at += n)
        memcpy((char *)t.data + (size_t)at * size, t.data,
               (size_t)(count - at < n ? count - at : n) * size);
}

attn_tensor bench_tensor(bench_job *job, attn_dtype dtype, int rank, const int64_t *shape,
                         uint64_t seed)
{
    attn_tensor t = {0};
    if (job->n_owned < BENCH_TENSORS) t = cli_array_new(dtype, rank, shape);
    if (!t.data) {
        job->out_of_memory = true;
        return t;
    }
    if (seed) bench_fill(t, seed);
    job->owned[job->n_owned++] = t;
    return t;
}

int bench_memory(const bench_job *job)
{
    return job->out_of_memory
               ? cli_fail(CLI_LIMIT, "not enough memory for a tensor of this shape.")
               : 0;
}

void bench_job_destroy(bench_job *job)
{
    attn_plan_destroy(job->plan);
    attn_scan_plan_destroy(job->scan_plan);
    free(job->workspace);
    attn_cache_destroy(job->cache);
    cli_array_free(&job->k_all);
    cli_array_free(&job->v_all);
    for (int i = 0; i < job->n_owned; i++) cli_array_free(&job->owned[i]);
}

/* Seconds for one call, averaged over n of them; negative after a message. */
static double bench_time(bench_job *job, int64_t n)
{
    attn_error error;
    double begin = cli_seconds();
    for (int64_t i = 0; i < n; i++)
        if (job->call(job, &error) != ATTN_OK) {
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

bench_ceilings bench_measure_ceilings(const attn_ctx *ctx, const cli_reader *reader)
{
    bench_ceilings c = {.fma = cli_measure_fma(ctx)};
    if (!reader) return c;
    c.memory = cli_measure_memory(reader, ctx);
    c.cache = cli_measure_cache(reader, ctx);
    return c;
}

bench_ceilings bench_between(bench_ceilings a, bench_ceilings b)
{
    return (bench_ceilings){.fma = 0.5 * (a.fma + b.fma),
                            .memory = 0.5 * (a.memory + b.memory),
                            .cache = 0.5 * (a.cache + b.cache)};
}

static double bench_fraction(double speed, double ceiling)
{
    return ceiling > 0 ? speed / ceiling : (double)NAN;
}

static void bench_summarise(double *times, int n, const bench_job *job, bench_result *r)
{
    const bench_ceilings c = bench_between(r->before, r->after);
    qsort(times, (size_t)n, sizeof times[0], bench_order);
    r->runs = n;
    r->seconds = n % 2 ? times[n / 2] : 0.5 * (times[n / 2 - 1] + times[n / 2]);
    r->least = times[0];
    r->most = times[n - 1];
    r->low = times[n / 4];
    r->high = times[n - 1 - n / 4];
    r->speed = job->flops / r->seconds;
    r->rate = job->bytes / r->seconds;
    r->of_fma = bench_fraction(r->speed, c.fma);
    r->of_memory = bench_fraction(r->rate, c.memory);
    r->of_cache = bench_fraction(r->rate, c.cache);
    r->fraction = job->reads ? r->of_memory : r->of_fma;
}

int bench_measure(bench_job *job, const cli_reader *reader, double seconds, bench_result *r)
{
    *r = (bench_result){.info = job->info, .before = bench_measure_ceilings(job->ctx, reader)};
    double first = bench_time(job, 1), times[BENCH_RUNS];
    if (first < 0) return CLI_RUNTIME;
    int64_t batch = first < 1e-4 ? (int64_t)(1e-4 / (first + 1e-8)) + 1 : 1;
    double end = cli_seconds() + seconds;
    int n = 0;
    while (n < BENCH_RUNS && (n < 3 || cli_seconds() < end)) {
        times[n] = bench_time(job, batch);
        if (times[n++] < 0) return CLI_RUNTIME;
    }
    r->after = bench_measure_ceilings(job->ctx, reader);
    bench_summarise(times, n, job, r);
    return 0;
}
