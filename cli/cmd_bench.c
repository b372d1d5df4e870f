/* SPDX-License-Identifier: MIT
 * attn bench: speed on this machine, as a fraction of what this machine was just measured to be
 * able to do at most. Suites are rows of one table. */
#include "bench.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct bench_row {
    const char *suite;
    bench_shape shape;
    const char *dtype; /* NULL: as --dtype says */
    bool all_threads;  /* once for 1, 2, 4 ... threads */
} bench_row;

static const bench_row bench_rows[] = {
    {"prefill", {1, 8, 8, 2048, 2048, 128, false}, NULL, false},
    {"prefill", {1, 8, 8, 4096, 4096, 64, false}, NULL, false},
    {"causal", {1, 8, 8, 2048, 2048, 128, true}, NULL, false},
    {"causal", {1, 8, 8, 4096, 4096, 64, true}, NULL, false},
    {"short", {16, 12, 12, 128, 128, 64, false}, NULL, false},
    {"short", {16, 12, 12, 128, 128, 64, true}, NULL, false},
    {"dtype", {1, 8, 8, 2048, 2048, 128, false}, "bf16", false},
    {"dtype", {1, 8, 8, 2048, 2048, 128, false}, "f16", false},
    {"dtype", {1, 8, 8, 2048, 2048, 128, false}, "f64", false},
    {"threads", {1, 8, 8, 2048, 2048, 64, false}, NULL, true},
    {"small", {1, 1, 1, 16, 16, 16, false}, NULL, false},
    {"long", {1, 1, 1, 65536, 65536, 64, true}, NULL, false},
};

enum { BENCH_ROWS = (int)(sizeof bench_rows / sizeof bench_rows[0]) };

static const char *bench_suite_name(const void *unused, int i)
{
    (void)unused;
    return i < BENCH_ROWS ? bench_rows[i].suite : NULL;
}

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
    printf("%-8s %-29s %-5s %3s %-7s %11s %7s %9s %9s %7s\n", "suite", "B,H,G,T,S,D", "dtype",
           "thr", "isa", "per call", "spread", "GFLOP/s", "ceiling", "of it");
}

static void bench_shape_text(const bench_shape *s, char *text, size_t n)
{
    snprintf(text, n,
             "%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 "%s", s->B,
             s->H, s->G, s->T, s->S, s->D, s->causal ? ",causal" : "");
}

static void bench_report_json(const char *suite, const char *shape, attn_dtype dtype,
                              int threads, const bench_result *r)
{
    cli_json line = cli_json_begin("bench");
    cli_json_text(&line, "suite", suite);
    cli_json_text(&line, "shape", shape);
    cli_json_text(&line, "dtype", attn_dtype_name(dtype));
    cli_json_integer(&line, "threads", threads);
    cli_json_text(&line, "isa", r->plan.isa);
    cli_json_integer(&line, "runs", r->runs);
    cli_json_number(&line, "seconds", r->seconds);
    cli_json_number(&line, "seconds_least", r->least);
    cli_json_number(&line, "seconds_most", r->most);
    cli_json_number(&line, "gflops", r->speed / 1e9);
    cli_json_number(&line, "ceiling_before", r->before / 1e9);
    cli_json_number(&line, "ceiling_after", r->after / 1e9);
    cli_json_number(&line, "fraction", r->fraction);
    cli_json_number(&line, "workspace", (double)r->plan.workspace);
    cli_json_end(&line);
}

static void bench_time_text(double seconds, char *text, size_t n)
{
    if (seconds < 1e-3)
        snprintf(text, n, "%.3f us", seconds * 1e6);
    else
        snprintf(text, n, "%.3f ms", seconds * 1e3);
}

static void bench_report(const char *suite, const bench_shape *s, attn_dtype dtype, int threads,
                         bool json, const bench_result *r)
{
    char shape[160], time[32];
    bench_shape_text(s, shape, sizeof shape);
    if (json) {
        bench_report_json(suite, shape, dtype, threads, r);
    } else {
        bench_time_text(r->seconds, time, sizeof time);
        printf("%-8s %-29s %-5s %3d %-7s %11s %5.1f %% %9.1f %9.1f %5.1f %%\n", suite, shape,
               attn_dtype_name(dtype), threads, r->plan.isa, time,
               100 * (r->high - r->low) / r->seconds, r->speed / 1e9,
               0.5e-9 * (r->before + r->after), 100 * r->fraction);
    }
    fflush(stdout);
}

/* ---- rows ---------------------------------------------------------------------------- */

typedef struct bench {
    const cli_args *args;
    attn_ctx *ctx;
    attn_dtype dtype;
    double seconds;
    bool json;
} bench;

static int bench_one(const bench *b, attn_ctx *ctx, const char *suite, const bench_shape *shape,
                     attn_dtype dtype)
{
    bench_job job;
    bench_result result;
    int code = bench_job_init(&job, ctx, shape, dtype);
    if (!code) code = bench_measure(&job, ctx, shape, b->seconds, &result);
    bench_job_destroy(&job);
    if (!code) bench_report(suite, shape, dtype, attn_ctx_threads(ctx), b->json, &result);
    return code;
}

static int bench_threads(const bench *b, const bench_row *row)
{
    int most = attn_ctx_threads(b->ctx), code = 0;
    for (int n = 1; !code && n <= most; n = n < most && 2 * n > most ? most : 2 * n) {
        attn_ctx *ctx;
        code = cli_context_with(b->args, n, &ctx);
        if (code) return code;
        code = bench_one(b, ctx, row->suite, &row->shape, b->dtype);
        attn_ctx_destroy(ctx);
    }
    return code;
}

/* The long one takes minutes: only when it is named. */
static bool bench_selected(const bench *b, const char *suite)
{
    bool any = false;
    for (int i = 0; i < b->args->n_operands; i++) {
        if (strcmp(b->args->operands[i], suite) == 0) return true;
        any |= attn_mech_find(b->args->operands[i]) == NULL;
    }
    return !any && strcmp(suite, "long") != 0;
}

static int bench_suites(const bench *b)
{
    for (int i = 0; i < b->args->n_operands; i++) {
        const char *word = b->args->operands[i];
        bool known = attn_mech_find(word) != NULL;
        for (int r = 0; r < BENCH_ROWS; r++) known |= strcmp(bench_rows[r].suite, word) == 0;
        if (!known) return cli_unknown("suite", word, bench_suite_name, NULL);
    }
    bench_header(b->ctx, b->json);
    int code = 0;
    for (int i = 0; !code && i < BENCH_ROWS; i++) {
        const bench_row *row = &bench_rows[i];
        if (!bench_selected(b, row->suite)) continue;
        attn_dtype dtype = row->dtype ? attn_dtype_find(row->dtype) : b->dtype;
        code = row->all_threads ? bench_threads(b, row)
                                : bench_one(b, b->ctx, row->suite, &row->shape, dtype);
    }
    return code;
}

/* "B,H,G,T,S,D" and perhaps ",causal". */
static int bench_parse(const char *text, bench_shape *s)
{
    int64_t *sizes[] = {&s->B, &s->H, &s->G, &s->T, &s->S, &s->D};
    const char *at = text;
    bool good = true;
    for (int i = 0; good && i < 6; i++) {
        char *end;
        *sizes[i] = strtoll(at, &end, 10);
        good = end != at && *sizes[i] > 0 && *sizes[i] < INT64_C(1) << 32;
        good = good && (i != 2 || s->H % s->G == 0); /* G divides H */
        good = good && (i < 5 ? *end == ',' : *end == ',' || *end == '\0');
        at = end + (*end == ',' && i < 5);
    }
    s->causal = good && strcmp(at, ",causal") == 0;
    if (good && (s->causal || *at == '\0')) return 0;
    return cli_fail(CLI_USAGE,
                    "--shape must be B,H,G,T,S,D or B,H,G,T,S,D,causal with G dividing H, "
                    "not '%s'.",
                    text);
}

static int bench_run(const cli_args *args)
{
    bench b = {
        .args = args, .seconds = cli_number(args, "seconds"), .json = cli_flag(args, "json")};
    bench_shape shape = {0};
    const char *text = cli_text(args, "shape");
    if (!(b.seconds >= 0 && b.seconds < 1e9))
        return cli_fail(CLI_USAGE, "--seconds must not be negative, nor endless.");
    int code = cli_dtype(args, &b.dtype);
    if (!code && text) code = bench_parse(text, &shape);
    if (!code) code = cli_context(args, &b.ctx);
    if (code) return code;
    if (text) {
        bench_header(b.ctx, b.json);
        code = bench_one(&b, b.ctx, "shape", &shape, b.dtype);
    } else {
        code = bench_suites(&b);
    }
    attn_ctx_destroy(b.ctx);
    return code;
}

static const cli_option bench_options[] = {
    {"shape", 0, 's', "SIZES", NULL, "one row of your own: B,H,G,T,S,D or ...,causal"},
    {"seconds", 0, 'f', "X", "1", "time for each row"},
    CLI_DTYPE,
    CLI_THREADS,
    CLI_ISA,
    CLI_LAST};
static const char *const bench_examples[] = {"bench", "bench prefill causal -t 1",
                                             "bench --shape 1,32,8,1,8192,128", NULL};

const cli_command cli_command_bench = {
    .name = "bench",
    .operands = "[SUITE...]",
    .about = "speed, as a fraction of this machine's measured ceiling",
    .details =
        "Suites: prefill causal short dtype threads small, and long (minutes; only when\n"
        "named). The ceiling is measured right before and after every row with the same\n"
        "threads; spread is that of the middle half of the calls. Work is counted over\n"
        "unmasked pairs alone: 2 B H pairs (D + D). The ceiling is that of f32, also for\n"
        "rows of f64, which has half of it.\n",
    .complete = "prefill causal short dtype threads small long",
    .examples = bench_examples,
    .options = bench_options,
    .most = -1,
    .run = bench_run,
};
