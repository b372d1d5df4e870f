/* SPDX-License-Identifier: MIT
 * What attn bench prints: the machine, then a line for each row, as a table or as JSON Lines. */
#include "bench.h"

#include <math.h>

static void report_ceilings(cli_json *line, const char *key, const bench_ceilings *c)
{
    cli_json_open(line, key, '{');
    cli_json_number(line, "fma_gflops", c->fma / 1e9);
    cli_json_number(line, "memory_gbytes", c->memory > 0 ? c->memory / 1e9 : (double)NAN);
    cli_json_number(line, "cache_gbytes", c->cache > 0 ? c->cache / 1e9 : (double)NAN);
    cli_json_close(line, '}');
}

void bench_report_machine(const attn_ctx *ctx, const bench_ceilings *c, bool json)
{
    const int n = attn_ctx_threads(ctx);
    if (json) {
        cli_json line = cli_json_begin("bench.machine");
        cli_json_integer(&line, "threads", n);
        cli_json_number(&line, "fma_gflops", c->fma / 1e9);
        cli_json_number(&line, "read_gbytes_per_second", c->memory / 1e9);
        cli_json_number(&line, "cache_gbytes_per_second", c->cache / 1e9);
        cli_json_end(&line);
        return;
    }
    printf("ceilings with %d thread%s: %.1f GFLOP/s f32 multiply-add, %.1f GB/s read from "
           "memory, %.1f from the last cache\n\n",
           n, n == 1 ? "" : "s", c->fma / 1e9, c->memory / 1e9, c->cache / 1e9);
    printf("%-8s %-34s %-5s %3s %-7s %11s %7s %8s %7s %7s %7s %7s %6s\n", "suite",
           "B,H,G,T,S,D", "dtype", "thr", "isa", "per call", "spread", "GFLOP/s", "of fma",
           "GB/s", "of mem", "of llc", "gain");
}

static bool report_half(const bench_result *r)
{
    return r->info.precision == ATTN_PRECISION_HALF;
}

static void report_json(const bench_line *l, const bench_result *r)
{
    cli_json line = cli_json_begin("bench");
    cli_json_text(&line, "suite", l->suite);
    cli_json_text(&line, "shape", l->shape);
    cli_json_text(&line, "dtype", l->type);
    cli_json_integer(&line, "threads", l->threads);
    cli_json_text(&line, "isa", r->info.isa);
    cli_json_text(&line, "precision", report_half(r) ? "half" : "exact");
    cli_json_integer(&line, "runs", r->runs);
    cli_json_number(&line, "seconds", r->seconds);
    cli_json_number(&line, "seconds_least", r->least);
    cli_json_number(&line, "seconds_low", r->low);
    cli_json_number(&line, "seconds_high", r->high);
    cli_json_number(&line, "seconds_most", r->most);
    cli_json_number(&line, "gflops", r->speed / 1e9);
    cli_json_number(&line, "gbytes", r->rate / 1e9);
    report_ceilings(&line, "ceiling_before", &r->before);
    report_ceilings(&line, "ceiling_after", &r->after);
    cli_json_number(&line, "of_fma", r->of_fma);
    cli_json_number(&line, "of_memory", r->of_memory);
    cli_json_number(&line, "of_cache", r->of_cache);
    cli_json_text(&line, "bound", l->copies ? "memory" : "fma");
    cli_json_number(&line, "fraction", r->fraction);
    cli_json_number(&line, "gain", l->gain);
    cli_json_number(&line, "ceiling_gain", l->ceiling_gain);
    cli_json_integer(&line, "copies", l->copies);
    cli_json_integer(&line, "cold_bytes", l->cold_bytes);
    cli_json_number(&line, "workspace", (double)r->info.workspace);
    cli_json_end(&line);
}

static void report_time(double seconds, char *text, size_t n)
{
    if (seconds < 1e-3)
        snprintf(text, n, "%.3f us", seconds * 1e6);
    else
        snprintf(text, n, "%.3f ms", seconds * 1e3);
}

/* How far two measurements of one thing lie apart. */
static double report_drift(double a, double b)
{
    return a + b > 0 ? 2 * fabs(a - b) / (a + b) : 0;
}

static void report_text(const bench_line *l, const bench_result *r)
{
    const int64_t least = INT64_C(1) << 30;
    const double most_drift = 0.05;
    char time[32];
    report_time(r->seconds, time, sizeof time);
    printf("%-8s %-34s %-5s %3d %-7s %11s %5.1f %% %8.1f %5.1f %% %7.1f", l->suite, l->shape,
           l->type, l->threads, r->info.isa, time, 100 * (r->high - r->low) / r->seconds,
           r->speed / 1e9, 100 * r->of_fma, r->rate / 1e9);
    if (isnan(r->of_memory))
        printf(" %7s %7s", "-", "-");
    else
        printf(" %5.1f %% %5.1f %%", 100 * r->of_memory, 100 * r->of_cache);
    if (!isnan(l->gain)) printf(" %6.2f", l->gain);
    const double drift = l->copies ? report_drift(r->before.memory, r->after.memory)
                                   : report_drift(r->before.fma, r->after.fma);
    if (drift > most_drift) printf("  ~%.0f %%", 100 * drift);
    if (l->copies && l->cold_bytes < least)
        printf("  (k and v in turn: only %.0f MiB)", (double)l->cold_bytes / 0x1p20);
    if (l->half && !report_half(r)) printf("  (exact arithmetic)");
    puts("");
}

void bench_report(const bench_line *line, const bench_result *result, bool json)
{
    (json ? report_json : report_text)(line, result);
    fflush(stdout);
}

void bench_report_unmeasured(const bench_line *l, bool json)
{
    if (!json) {
        printf("%-8s %-34s %s\n", l->suite, l->shape, l->type);
        return;
    }
    cli_json line = cli_json_begin("bench.row");
    cli_json_text(&line, "suite", l->suite);
    cli_json_text(&line, "shape", l->shape);
    cli_json_text(&line, "dtype", l->type);
    cli_json_end(&line);
}
