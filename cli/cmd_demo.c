/* SPDX-License-Identifier: MIT
 * attn demo: a sentence, what its words attend to, and how fast and exact this machine is.
 *
 * The words carry features made by hand, and two heads with projections made by hand: one looks
 * for whom a word is about, one at the neighbours. Nothing is trained; it shows the machinery.
 */
#include "bench.h"
#include "demo.h"

#include <math.h>
#include <string.h>

/* Features of a word: being, thing, verb, pronoun, state, glue. */
enum { BEING, THING, VERB, PRONOUN, STATE, GLUE, FEATURES };

static const struct {
    const char *text;
    float feature[FEATURES];
} demo_words[DEMO_WORDS] = {
    {"The", {0, 0, 0, 0, 0, 1}},     {"cat", {1, 0, 0, 0, 0, 0}},
    {"sat", {0, 0, 1, 0, 0, 0}},     {"on", {0, 0, 0, 0, 0, 1}},
    {"the", {0, 0, 0, 0, 0, 1}},     {"mat", {0, 1, 0, 0, 0, 0}},
    {"because", {0, 0, 0, 0, 0, 1}}, {"it", {.3F, 0, 0, 1, 0, 0}},
    {"was", {0, 0, .6F, 0, 0, .2F}}, {"tired", {0, 0, 0, 0, 1, 0}},
};

/* What a word with the feature of the row asks for, by feature of the word it looks at. A score
 * is q.k with q = features times this table and k = features. */
static const float demo_asks[DEMO_HEADS][FEATURES][FEATURES] = {
    {
        [BEING] = {2, 0, 0, .5F, 0, 0},
        [THING] = {.5F, 1.5F, 1, 0, 0, 0},
        [VERB] = {3, .5F, 0, 1.5F, 0, 0},
        [PRONOUN] = {4, 1.8F, 0, 0, 0, -1},
        [STATE] = {3.2F, 0, .5F, 2.5F, 0, -1},
        [GLUE] = {.5F, .5F, .5F, .5F, .5F, .5F},
    },
    {{0}},
};
/* The second head has no questions: distance alone decides, by ALiBi slopes. */
static const float demo_slopes[DEMO_HEADS] = {0, 1.1F};
static const char *const demo_about[DEMO_HEADS] = {"head 0: whom is it about",
                                                   "head 1: the words just before"};

static attn_status demo_attend(float weights[DEMO_HEADS][DEMO_WORDS][DEMO_WORDS],
                               attn_error *error)
{
    float q[DEMO_HEADS][DEMO_WORDS][FEATURES] = {{{0}}}, k[DEMO_WORDS][FEATURES];
    float out[DEMO_HEADS][DEMO_WORDS][FEATURES], slopes[DEMO_HEADS];
    memcpy(slopes, demo_slopes, sizeof slopes);
    for (int w = 0; w < DEMO_WORDS; w++) {
        memcpy(k[w], demo_words[w].feature, sizeof k[w]);
        for (int h = 0; h < DEMO_HEADS; h++)
            for (int f = 0; f < FEATURES * FEATURES; f++)
                q[h][w][f % FEATURES] += demo_words[w].feature[f / FEATURES] *
                                         demo_asks[h][f / FEATURES][f % FEATURES];
    }
    attn_tensor words = ATTN_TENSOR(k, F32, 1, 1, DEMO_WORDS, FEATURES);
    attn_args args =
        ATTN_ARGS(.q = ATTN_TENSOR(q, F32, 1, DEMO_HEADS, DEMO_WORDS, FEATURES), .k = words,
                  .v = words, .out = ATTN_TENSOR(out, F32, 1, DEMO_HEADS, DEMO_WORDS, FEATURES),
                  .weights = ATTN_TENSOR(weights, F32, 1, DEMO_HEADS, DEMO_WORDS, DEMO_WORDS),
                  .alibi = ATTN_TENSOR(slopes, F32, DEMO_HEADS));
    return attn_forward(NULL, &ATTN_SPEC(.causal = true, .scale = 1), &args, error);
}

/* The sentence in one line: which word the pronoun looks at. */
static int demo_strongest(const float *row, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if (row[i] > row[best]) best = i;
    return best;
}

static void demo_json_words(float weights[DEMO_HEADS][DEMO_WORDS][DEMO_WORDS])
{
    cli_json json = cli_json_begin("demo");
    cli_json_open(&json, "words", '[');
    for (int w = 0; w < DEMO_WORDS; w++) cli_json_text(&json, NULL, demo_words[w].text);
    cli_json_close(&json, ']');
    cli_json_open(&json, "weights", '[');
    for (int h = 0; h < DEMO_HEADS; h++) {
        cli_json_open(&json, NULL, '[');
        for (int i = 0; i < DEMO_WORDS; i++) {
            cli_json_open(&json, NULL, '[');
            for (int j = 0; j < DEMO_WORDS; j++)
                cli_json_number(&json, NULL, (double)weights[h][i][j]);
            cli_json_close(&json, ']');
        }
        cli_json_close(&json, ']');
    }
    cli_json_close(&json, ']');
    cli_json_end(&json);
}

static int demo_sentence(bool json)
{
    float weights[DEMO_HEADS][DEMO_WORDS][DEMO_WORDS];
    const char *words[DEMO_WORDS];
    attn_error error;
    if (demo_attend(weights, &error) != ATTN_OK) return cli_fail_error(NULL, &error);
    if (json) {
        demo_json_words(weights);
        return 0;
    }
    for (int w = 0; w < DEMO_WORDS; w++) words[w] = demo_words[w].text;
    puts("Each row is a word, each column a word it may look at (itself and those before "
         "it).\n");
    for (int h = 0; h < DEMO_HEADS; h++) demo_draw(demo_about[h], words, weights[h]);
    enum { IT = 7 };
    int seen = demo_strongest(weights[0][IT], DEMO_WORDS);
    printf("'%s' looks at '%s' with a weight of %.2f.\n\n", words[IT], words[seen],
           (double)weights[0][IT][seen]);
    fflush(stdout);
    return 0;
}

static void demo_report(const bench_result *r, const demo_error *e, int threads, bool json)
{
    if (json) {
        cli_json line = cli_json_begin("demo.speed");
        cli_json_integer(&line, "threads", threads);
        cli_json_text(&line, "isa", r->info.isa);
        cli_json_number(&line, "gflops", r->speed / 1e9);
        cli_json_number(&line, "fraction", r->fraction);
        cli_json_number(&line, "seconds", r->seconds);
        cli_json_number(&line, "max_error", e->most);
        cli_json_integer(&line, "rows", e->rows);
        cli_json_end(&line);
        return;
    }
    printf(
        "8 heads, 2048 words, width 64: %.1f ms on %d thread%s (%s), %.1f GFLOP/s = %.0f %% of "
        "this machine's\nmeasured multiply-add ceiling; largest error against a "
        "double-precision loop %.1e (%d rows).\n",
        r->seconds * 1e3, threads, threads == 1 ? "" : "s", r->info.isa, r->speed / 1e9,
        100 * r->fraction, e->most, e->rows);
}

static int demo_speed(attn_ctx *ctx, bool json)
{
    static const bench_row row = {.sizes = {1, 8, 8, 2048, 2048, 64}};
    bench_job job = {.ctx = ctx};
    bench_result result;
    int code = bench_attention(&job, &row, ATTN_DTYPE_F32);
    if (!code) code = bench_measure(&job, NULL, 0.4, &result);
    if (!code) {
        demo_error error = demo_check(&job.args);
        demo_report(&result, &error, attn_ctx_threads(ctx), json);
    }
    bench_job_destroy(&job);
    return code;
}

static int demo_run(const cli_args *args)
{
    bool json = cli_flag(args, "json");
    attn_ctx *ctx;
    int code = cli_context(args, &ctx);
    if (code) return code;
    code = demo_sentence(json);
    if (!code) code = demo_speed(ctx, json);
    attn_ctx_destroy(ctx);
    return code;
}

static const cli_option demo_options[] = {CLI_THREADS, CLI_ISA, CLI_LAST};
static const char *const demo_examples[] = {"demo", "demo -t 1", NULL};

const cli_command cli_command_demo = {
    .name = "demo",
    .operands = "",
    .about = "a sentence and its attention, and this machine's speed",
    .complete = "",
    .examples = demo_examples,
    .options = demo_options,
    .run = demo_run,
};
