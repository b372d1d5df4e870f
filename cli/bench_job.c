/* SPDX-License-Identifier: MIT
 * One measurement: the calls of a job are timed one by one; their median counts, and the
 * machine's ceiling is taken right before and right after, so that a change of clock speed
 * shows. Short calls are timed in batches. */
#include "bench.h"

#include <stdlib.h>

enum { BENCH_RUNS = 1001 };

attn_tensor bench_tensor(bench_job *job, attn_dtype dtype, int rank, const int64_t *shape,
                         uint64_t seed)
{
    attn_tensor t = {0};
    if (job->n_owned < BENCH_TENSORS) t = cli_array_new(dtype, rank, shape);
    if (!t.data) {
        job->out_of_memory = true;
        return t;
    }
    if (seed) cli_array_normal(t, seed);
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

static void bench_summarise(double *times, int n, double flops, bench_result *r)
{
    qsort(times, (size_t)n, sizeof times[0], bench_order);
    r->runs = n;
    r->seconds = n % 2 ? times[n / 2] : 0.5 * (times[n / 2 - 1] + times[n / 2]);
    r->least = times[0];
    r->most = times[n - 1];
    r->low = times[n / 4];
    r->high = times[n - 1 - n / 4];
    r->speed = flops / r->seconds;
    r->fraction = r->speed / (0.5 * (r->before + r->after));
}

int bench_measure(bench_job *job, double seconds, bench_result *r)
{
    *r = (bench_result){.info = job->info, .before = cli_measure_fma(job->ctx)};
    double first = bench_time(job, 1), times[BENCH_RUNS];
    if (first < 0) return CLI_RUNTIME;
    int64_t batch = first < 1e-4 ? (int64_t)(1e-4 / (first + 1e-8)) + 1 : 1;
    double end = cli_seconds() + seconds;
    int n = 0;
    while (n < BENCH_RUNS && (n < 3 || cli_seconds() < end)) {
        times[n] = bench_time(job, batch);
        if (times[n++] < 0) return CLI_RUNTIME;
    }
    r->after = cli_measure_fma(job->ctx);
    bench_summarise(times, n, job->flops, r);
    return 0;
}
