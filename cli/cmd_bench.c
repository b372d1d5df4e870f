/* SPDX-License-Identifier: MIT
 * attn bench: speed on this machine, as a fraction of what this machine was just measured to be
 * able to do at most. Suites are rows of the tables in bench_rows.c. */
#include "bench.h"

#include <math.h>
#include <string.h>

/* ---- reporting ----------------------------------------------------------------------- */

static void bench_header(attn_ctx *ctx, bool json)
{
    double fma = cli_measure_fma(ctx), bandwidth = cli_measure_bandwidth(ctx);
    if (json) {
        cli_json line = cli_json_begin("bench.machine");
        cli_json_integer(&line, "threads", attn_ctx_threads(ctx));
        cli_json_number(&line, "fma_gflops", fma / 1e9);
        cli_json_number(&line, "read_gbytes_per_second", bandwidth / 1e9);
        cli_json_end(&line);
        return;
    }
    printf("ceilings with %d thread%s: %.1f GFLOP/s f32 multiply-add, %.1f GB/s read\n\n",
           attn_ctx_threads(ctx), attn_ctx_threads(ctx) == 1 ? "" : "s", fma / 1e9,
           bandwidth / 1e9);
    printf("%-8s %-34s %-5s %3s %-7s %11s %7s %9s %9s %7s %6s\n", "suite", "B,H,G,T,S,D",
           "dtype", "thr", "isa", "per call", "spread", "GFLOP/s", "ceiling", "of it", "gain");
}

/* A row as it was measured. */
typedef struct bench_line {
    const char *suite, *shape;
    attn_dtype dtype;
    int threads;
    double gain; /* times as fast as with one thread; NaN when that was not measured */
} bench_line;

static void bench_report_json(const bench_line *l, const bench_result *r)
{
    cli_json line = cli_json_begin("bench");
    cli_json_text(&line, "suite", l->suite);
    cli_json_text(&line, "shape", l->shape);
    cli_json_text(&line, "dtype", attn_dtype_name(l->dtype));
    cli_json_integer(&line, "threads", l->threads);
    cli_json_text(&line, "isa", r->info.isa);
    cli_json_integer(&line, "runs", r->runs);
    cli_json_number(&line, "seconds", r->seconds);
    cli_json_number(&line, "seconds_least", r->least);
    cli_json_number(&line, "seconds_most", r->most);
    cli_json_number(&line, "gflops", r->speed / 1e9);
    cli_json_number(&line, "ceiling_before", r->before / 1e9);
    cli_json_number(&line, "ceiling_after", r->after / 1e9);
    cli_json_number(&line, "fraction", r->fraction);
    cli_json_number(&line, "gain", l->gain);
    cli_json_number(&line, "workspace", (double)r->info.workspace);
    cli_json_end(&line);
}

static void bench_time_text(double seconds, char *text, size_t n)
{
    if (seconds < 1e-3)
        snprintf(text, n, "%.3f us", seconds * 1e6);
    else
        snprintf(text, n, "%.3f ms", seconds * 1e3);
}

static void bench_report_text(const bench_line *l, const bench_result *r)
{
    char time[32];
    bench_time_text(r->seconds, time, sizeof time);
    printf("%-8s %-34s %-5s %3d %-7s %11s %5.1f %% %9.1f %9.1f %5.1f %%", l->suite, l->shape,
           attn_dtype_name(l->dtype), l->threads, r->info.isa, time,
           100 * (r->high - r->low) / r->seconds, r->speed / 1e9,
           0.5e-9 * (r->before + r->after), 100 * r->fraction);
    if (!isnan(l->gain)) printf(" %6.2f", l->gain);
    puts("");
}

/* ---- rows ---------------------------------------------------------------------------- */

typedef struct bench {
    const cli_args *args;
    attn_ctx *ctx;
    attn_dtype dtype;
    double seconds;
    bool json;
} bench;

/* One row by n threads; *one is what one thread took, NaN when it is not known. */
static int bench_run_row(const bench *b, const bench_suite *suite, const bench_row *row, int n,
                         double *one)
{
    char text[160];
    bench_job job = {.n_owned = 0};
    bench_result result;
    bench_line line = {.suite = suite->name, .shape = text, .threads = n};
    line.dtype = row->dtype ? attn_dtype_find(row->dtype) : b->dtype;
    int code = cli_context_with(b->args, n, &job.ctx);
    if (!code) code = suite->open(&job, row, line.dtype);
    if (!code) code = bench_measure(&job, b->seconds, &result);
    bench_job_destroy(&job);
    attn_ctx_destroy(job.ctx);
    if (code) return code;
    line.gain = *one / result.seconds;
    if (n == 1) *one = result.seconds;
    bench_row_text(row, suite->n_sizes, text, sizeof text);
    (b->json ? bench_report_json : bench_report_text)(&line, &result);
    fflush(stdout);
    return 0;
}

/* The number of threads behind n. */
static int bench_next(bench_threads threads, int n, int most)
{
    if (threads == BENCH_EACH && 2 * n < most) return 2 * n;
    return n < most ? most : most + 1;
}

static int bench_run_suite(const bench *b, const bench_suite *suite)
{
    const int most = attn_ctx_threads(b->ctx);
    int code = 0;
    for (int i = 0; !code && i < suite->n_rows; i++) {
        bench_row row = suite->rows[i];
        double one = (double)NAN;
        row.options |= suite->options;
        for (int n = suite->threads == BENCH_GIVEN ? most : 1; !code && n <= most;
             n = bench_next(suite->threads, n, most))
            code = bench_run_row(b, suite, &row, n, &one);
    }
    return code;
}

static bool bench_selected(const bench *b, const bench_suite *suite)
{
    for (int i = 0; i < b->args->n_operands; i++)
        if (strcmp(b->args->operands[i], suite->name) == 0) return true;
    return b->args->n_operands == 0 && !suite->takes_minutes;
}

/* "gallery" stands for every mechanism. */
static bool bench_is_mechanism(const char *word)
{
    return strcmp(word, "gallery") == 0 || attn_mech_find(word) != NULL;
}

/* Their rows have no ceiling. */
static bool bench_only_mechanisms(const cli_args *args)
{
    for (int i = 0; i < args->n_operands; i++)
        if (!bench_is_mechanism(args->operands[i])) return false;
    return args->n_operands > 0;
}

static int bench_check_operands(const cli_args *args)
{
    for (int i = 0; i < args->n_operands; i++) {
        const char *word = args->operands[i], *name;
        bool known = bench_is_mechanism(word);
        for (int s = 0; (name = bench_suite_name(NULL, s)) != NULL; s++)
            known |= strcmp(name, word) == 0;
        if (!known) return cli_unknown("suite", word, bench_suite_name, NULL);
    }
    return 0;
}

static int bench_run_suites(const bench *b)
{
    const bench_suite *suite;
    int code = 0;
    for (int i = 0; !code && (suite = bench_suite_at(i)) != NULL; i++)
        if (bench_selected(b, suite)) code = bench_run_suite(b, suite);
    return code;
}

static int bench_run(const cli_args *args)
{
    bench b = {
        .args = args, .seconds = cli_number(args, "seconds"), .json = cli_flag(args, "json")};
    bench_row row;
    const bench_suite own = {"shape", &row,        1,     BENCH_SIZES,
                             0,       BENCH_GIVEN, false, bench_attention};
    const char *shape = cli_text(args, "shape");
    if (!(b.seconds >= 0 && b.seconds < 1e9))
        return cli_fail(CLI_USAGE, "--seconds must not be negative, nor endless.");
    int code = cli_dtype(args, &b.dtype);
    if (!code) code = bench_check_operands(args);
    if (!code && shape) code = bench_row_parse(shape, &row);
    if (!code) code = cli_context(args, &b.ctx);
    if (code) return code;
    if (!bench_only_mechanisms(args)) bench_header(b.ctx, b.json);
    code = shape ? bench_run_suite(&b, &own) : bench_run_suites(&b);
    if (!code) code = bench_gallery(args, attn_ctx_threads(b.ctx), b.json);
    attn_ctx_destroy(b.ctx);
    return code;
}

static const cli_option bench_options[] = {
    {"shape", 0, 's', "SIZES", NULL, "one row of your own: B,H,G,T,S,D and words, as below"},
    {"seconds", 0, 'f', "X", "1", "time for each row"},
    CLI_DTYPE,
    CLI_THREADS,
    CLI_ISA,
    CLI_LAST};
static const char *const bench_examples[] = {
    "bench", "bench prefill causal -t 1", "bench --shape 1,32,8,1,8192,128",
    "bench --shape 1,8,8,1024,1024,64,causal,backward", NULL};

const cli_command cli_command_bench = {
    .name = "bench",
    .operands = "[SUITE|MECHANISM...]",
    .about = "speed, as a fraction of this machine's measured ceiling",
    .details =
        "Suites: prefill causal short dtype threads small backward jvp matmul scan; long and\n"
        "long_scan (minutes; only when named). The name of a mechanism, or gallery for all\n"
        "of them, gives its time and memory at lengths of 256 to 16384. The ceiling is\n"
        "measured right before and after every row with the same threads; spread is that of\n"
        "the middle half of the calls; gain, where a row runs on one thread first, is against\n"
        "that. Behind the sizes stand causal, backward or jvp, bias (of H T S), d_bias (its\n"
        "gradient too), l2 or additive (scores that are no products, counted as if they\n"
        "were); products of matrices are B,M,N,K with ta and tb for turned operands; scans\n"
        "(recurrent attention of T tokens) have delta and decay. Work is counted over\n"
        "unmasked pairs alone: 2 B H D pairs, times 2, backward 5, jvp 6; for products\n"
        "2 B M N K; for scans what a plan says. The ceiling is that of f32, also for rows of\n"
        "f64 and for scans, which compute in f64 and have half.\n",
    .complete = "prefill causal short dtype threads small backward jvp matmul scan long "
                "long_scan gallery",
    .examples = bench_examples,
    .options = bench_options,
    .most = -1,
    .run = bench_run,
};
