/* SPDX-License-Identifier: MIT
 * attn bench: speed on this machine, as a fraction of what this machine was just measured to be
 * able to do at most. Suites are rows of the tables in bench_rows.c. */
#include "bench.h"

#include <math.h>
#include <string.h>

/* ---- rows ---------------------------------------------------------------------------- */

typedef struct bench {
    const cli_args *args;
    attn_ctx *ctx;
    cli_reader reader;
    attn_dtype dtype;
    double seconds;
    bool json, list;
} bench;

/* What one thread took and could do at most, for the rows behind it; NaN when not known. */
typedef struct bench_one {
    double seconds, ceiling;
} bench_one;

/* The ceiling that bounds it. */
static double bench_bound(const bench_job *job, const bench_result *r)
{
    const bench_ceilings c = bench_between(r->before, r->after);
    return job->reads ? c.memory : c.fma;
}

static void bench_gain(const bench_job *job, const bench_result *r, bench_one *one,
                       bench_line *line)
{
    const double ceiling = bench_bound(job, r);
    line->gain = one->seconds / r->seconds;
    line->ceiling_gain = ceiling / one->ceiling;
    if (line->threads == 1) *one = (bench_one){r->seconds, ceiling};
    line->copies = job->n_copies;
    line->cold_bytes = 2 * job->n_copies * (int64_t)job->turn_bytes;
}

/* One row by as many threads as the line says. */
static int bench_run_row(const bench *b, const bench_suite *suite, const bench_row *row,
                         bench_line *line, bench_one *one)
{
    bench_job job = {.n_owned = 0};
    bench_result result;
    int code = cli_context_with(b->args, line->threads, &job.ctx);
    if (!code) code = suite->open(&job, row, line->dtype);
    if (!code) code = bench_measure(&job, &b->reader, b->seconds, &result);
    if (!code) bench_gain(&job, &result, one, line);
    bench_job_destroy(&job);
    attn_ctx_destroy(job.ctx);
    if (!code) bench_report(line, &result, b->json);
    return code;
}

/* The number of threads behind n. */
static int bench_next(bench_threads threads, int n, int most)
{
    if (threads == BENCH_EACH && 2 * n < most) return 2 * n;
    return n < most ? most : most + 1;
}

static int bench_run_threads(const bench *b, const bench_suite *suite, const bench_row *row)
{
    const int most = attn_ctx_threads(b->ctx);
    char text[160];
    bench_one one = {(double)NAN, (double)NAN};
    bench_line line = {.suite = suite->name, .shape = text};
    line.type = row->dtype ? row->dtype : attn_dtype_name(b->dtype);
    line.dtype = bench_coded(line.type) ? ATTN_DTYPE_F32 : attn_dtype_find(line.type);
    line.half = row->options & BENCH_HALF;
    bench_row_text(row, suite->n_sizes, text, sizeof text);
    if (b->list) return bench_report_unmeasured(&line, b->json), 0;
    int code = 0;
    line.threads = suite->threads == BENCH_GIVEN ? most : 1;
    for (; !code && line.threads <= most;
         line.threads = bench_next(suite->threads, line.threads, most))
        code = bench_run_row(b, suite, row, &line, &one);
    return code;
}

static int bench_run_suite(const bench *b, const bench_suite *suite)
{
    int code = 0;
    for (int i = 0; !code && i < suite->n_rows; i++) {
        bench_row row = suite->rows[i];
        row.options |= suite->options;
        code = bench_run_threads(b, suite, &row);
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

/* The machine first, unless nothing is compared with it. */
static int bench_begin(bench *b)
{
    if (b->list || bench_only_mechanisms(b->args)) return 0;
    if (!cli_reader_init(&b->reader))
        return cli_fail(CLI_LIMIT, "not enough memory to measure reading from it.");
    const bench_ceilings c = bench_measure_ceilings(b->ctx, &b->reader);
    bench_report_machine(b->ctx, &c, b->json);
    return 0;
}

static int bench_run(const cli_args *args)
{
    bench b = {.args = args,
               .seconds = cli_number(args, "seconds"),
               .json = cli_flag(args, "json"),
               .list = cli_flag(args, "list")};
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
    code = bench_begin(&b);
    if (!code) code = shape ? bench_run_suite(&b, &own) : bench_run_suites(&b);
    if (!code && !b.list) code = bench_gallery(args, attn_ctx_threads(b.ctx), b.json);
    cli_reader_destroy(&b.reader);
    attn_ctx_destroy(b.ctx);
    return code;
}

static const cli_option bench_options[] = {
    {"shape", 0, 's', "SIZES", NULL, "one row of your own: B,H,G,T,S,D and words, as below"},
    {"seconds", 0, 'f', "X", "1", "time for each row"},
    {"list", 0, 'b', NULL, NULL, "name the rows, measure nothing"},
    CLI_DTYPE,
    CLI_THREADS,
    CLI_ISA,
    CLI_LAST};
static const char *const bench_examples[] = {
    "bench", "bench prefill causal -t 1", "bench --shape 1,32,8,1,8192,128,cold",
    "bench --shape 1,8,8,1024,1024,64,causal,backward", NULL};

const cli_command cli_command_bench = {
    .name = "bench",
    .operands = "[SUITE|MECHANISM...]",
    .about = "speed, as a fraction of this machine's measured ceiling",
    .details =
        "Suites: prefill causal long short peaked backward dtype half decode verify threads\n"
        "small jvp matmul scan; growth and long_scan (minutes; only when named). The name of "
        "a\n"
        "mechanism, or gallery for all of them, gives its time and memory at lengths of 256 "
        "to\n"
        "16384. Ceilings are measured right before and after every row with the same threads:\n"
        "f32 multiply-adds (fma), reading from memory (mem) and from the last cache (llc).\n"
        "Spread is that of the middle half of the calls; gain, where a row runs on one thread\n"
        "first, is against that; ~ tells ceilings that moved during the row. Behind the sizes\n"
        "stand causal, backward or jvp, bias (of H T S), d_bias (its gradient too), l2 or\n"
        "additive (scores that are no products, counted as if they were), x40 or x200 (q is\n"
        "multiplied), cold (k and v come from memory: 1 GiB of copies in turn), half "
        "(precision),\n"
        "cache, page16 or page256 (k and v lie in a cache, in pages of so many keys), a type;\n"
        "int8 and int4 are types of caches;\n"
        "products of matrices are B,M,N,K with ta and tb for turned operands; scans "
        "(recurrent\n"
        "attention of T tokens) have delta and decay. Work is counted over unmasked pairs\n"
        "alone: 2 B H D pairs, times 2, backward 5, jvp 6; for products 2 B M N K; for scans\n"
        "what a plan says. Bytes are those of k and v (of both operands), once. The ceiling "
        "is\n"
        "that of f32, also for rows of f64 and for scans, which compute in f64 and have "
        "half.\n",
    .complete =
        "prefill causal long short peaked backward dtype half decode verify threads small "
        "jvp matmul scan growth long_scan gallery",
    .examples = bench_examples,
    .options = bench_options,
    .most = -1,
    .run = bench_run,
};
