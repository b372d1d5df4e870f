/* SPDX-License-Identifier: MIT
 * The suites of attn bench as tables, and a row as text: its sizes, then the words of its
 * options, all separated by commas. */
#include "bench.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const bench_row prefill_rows[] = {
    {{1, 8, 8, 2048, 2048, 128}, 0, NULL},
    {{1, 8, 8, 4096, 4096, 64}, 0, NULL},
};
static const bench_row short_rows[] = {
    {{16, 12, 12, 128, 128, 64}, 0, NULL},
    {{16, 12, 12, 128, 128, 64}, BENCH_CAUSAL, NULL},
};
static const bench_row dtype_rows[] = {
    {{1, 8, 8, 2048, 2048, 128}, 0, "bf16"},
    {{1, 8, 8, 2048, 2048, 128}, 0, "f16"},
    {{1, 8, 8, 2048, 2048, 128}, 0, "f64"},
};
static const bench_row threads_rows[] = {{{1, 8, 8, 2048, 2048, 64}, 0, NULL}};
static const bench_row small_rows[] = {{{1, 1, 1, 16, 16, 16}, 0, NULL}};
static const bench_row backward_rows[] = {
    {{1, 8, 8, 2048, 2048, 64}, 0, NULL},
    {{1, 8, 8, 2048, 2048, 64}, BENCH_CAUSAL, NULL},
    {{1, 1, 1, 4096, 4096, 64}, 0, NULL},
    {{1, 8, 8, 2048, 2048, 128}, 0, NULL},
    {{4, 8, 8, 1024, 1024, 64}, BENCH_BIAS, NULL},
    {{4, 8, 8, 1024, 1024, 64}, BENCH_D_BIAS, NULL},
};
static const bench_row jvp_rows[] = {
    {{1, 8, 8, 2048, 2048, 64}, 0, NULL},
    {{1, 8, 8, 2048, 2048, 64}, BENCH_CAUSAL, NULL},
};
/* Large products in the four layouts, a batch of heads, and those that memory bounds: tall and
 * thin, one row, one column. */
static const bench_row matmul_rows[] = {
    {{1, 512, 512, 512}, 0, NULL},
    {{1, 1024, 1024, 1024}, 0, NULL},
    {{1, 1024, 1024, 1024}, BENCH_B_TURNED, NULL},
    {{1, 1024, 1024, 1024}, BENCH_A_TURNED, NULL},
    {{1, 1024, 1024, 1024}, BENCH_A_TURNED | BENCH_B_TURNED, NULL},
    {{64, 128, 128, 64}, 0, NULL},
    {{64, 128, 128, 64}, BENCH_B_TURNED, NULL},
    {{1, 65536, 32, 64}, 0, NULL},
    {{1, 1, 4096, 4096}, 0, NULL},
    {{1, 1, 4096, 4096}, BENCH_B_TURNED, NULL},
};
static const bench_row long_rows[] = {{{1, 1, 1, 65536, 65536, 64}, 0, NULL}};
/* T and S are the tokens, E is D. */
static const bench_row scan_rows[] = {
    {{1, 1, 1, 65536, 65536, 64}, 0, NULL},
    {{1, 1, 1, 65536, 65536, 64}, BENCH_DECAY, NULL},
    {{1, 1, 1, 65536, 65536, 64}, BENCH_DELTA, NULL},
    {{1, 1, 1, 65536, 65536, 64}, BENCH_DELTA | BENCH_DECAY, NULL},
    {{1, 1, 1, 65536, 65536, 64}, BENCH_BACKWARD, NULL},
    {{1, 1, 1, 65536, 65536, 64}, BENCH_BACKWARD | BENCH_DELTA | BENCH_DECAY, NULL},
};
static const bench_row long_scan_rows[] = {
    {{1, 1, 1, 1000000, 1000000, 64}, 0, NULL},
    {{1, 4, 4, 1000000, 1000000, 64}, 0, NULL},
    {{1, 1, 1, 1000000, 1000000, 64}, BENCH_DELTA | BENCH_DECAY, NULL},
    {{1, 4, 4, 1000000, 1000000, 64}, BENCH_DELTA | BENCH_DECAY, NULL},
};

#define ROWS(rows) rows, (int)(sizeof(rows) / sizeof((rows)[0]))

static const bench_suite bench_suites[] = {
    {"prefill", ROWS(prefill_rows), 6, 0, BENCH_GIVEN, false, bench_attention},
    {"causal", ROWS(prefill_rows), 6, BENCH_CAUSAL, BENCH_GIVEN, false, bench_attention},
    {"short", ROWS(short_rows), 6, 0, BENCH_GIVEN, false, bench_attention},
    {"dtype", ROWS(dtype_rows), 6, 0, BENCH_GIVEN, false, bench_attention},
    {"threads", ROWS(threads_rows), 6, 0, BENCH_EACH, false, bench_attention},
    {"small", ROWS(small_rows), 6, 0, BENCH_GIVEN, false, bench_attention},
    {"backward", ROWS(backward_rows), 6, BENCH_BACKWARD, BENCH_ENDS, false, bench_attention},
    {"jvp", ROWS(jvp_rows), 6, BENCH_JVP, BENCH_ENDS, false, bench_attention},
    {"matmul", ROWS(matmul_rows), 4, 0, BENCH_GIVEN, false, bench_product},
    {"scan", ROWS(scan_rows), 6, 0, BENCH_ENDS, false, bench_scan},
    {"long_scan", ROWS(long_scan_rows), 6, 0, BENCH_ENDS, true, bench_scan},
    {"long", ROWS(long_rows), 6, BENCH_CAUSAL, BENCH_GIVEN, true, bench_attention},
};

enum { BENCH_SUITES = (int)(sizeof bench_suites / sizeof bench_suites[0]) };

const bench_suite *bench_suite_at(int i)
{
    return i < BENCH_SUITES ? &bench_suites[i] : NULL;
}

const char *bench_suite_name(const void *unused, int i)
{
    (void)unused;
    return i < BENCH_SUITES ? bench_suites[i].name : NULL;
}

/* ---- text -------------------------------------------------------------------------------- */

static const struct {
    unsigned option;
    const char *word;
    bool other; /* of matrices or scans, so not for --shape */
} bench_words[] = {
    {BENCH_CAUSAL, "causal", false},     {BENCH_BACKWARD, "backward", false},
    {BENCH_JVP, "jvp", false},           {BENCH_BIAS, "bias", false},
    {BENCH_D_BIAS, "d_bias", false},     {BENCH_A_TURNED, "ta", true},
    {BENCH_B_TURNED, "tb", true},        {BENCH_L2, "l2", false},
    {BENCH_ADDITIVE, "additive", false}, {BENCH_DELTA, "delta", true},
    {BENCH_DECAY, "decay", true},
};

enum { BENCH_WORDS = (int)(sizeof bench_words / sizeof bench_words[0]) };

void bench_row_text(const bench_row *row, int n_sizes, char *text, size_t n)
{
    size_t at = 0;
    for (int i = 0; i < n_sizes && at < n; i++)
        at += (size_t)snprintf(text + at, n - at, "%s%" PRId64, i ? "," : "", row->sizes[i]);
    for (int i = 0; i < BENCH_WORDS && at < n; i++)
        if (row->options & bench_words[i].option)
            at += (size_t)snprintf(text + at, n - at, ",%s", bench_words[i].word);
}

/* ",word,word" to options. */
static bool bench_parse_words(const char *at, unsigned *options)
{
    while (*at == ',') {
        const size_t n = strcspn(++at, ",");
        unsigned found = 0;
        for (int i = 0; i < BENCH_WORDS; i++)
            if (!bench_words[i].other && strlen(bench_words[i].word) == n &&
                strncmp(bench_words[i].word, at, n) == 0)
                found = bench_words[i].option;
        if (!found) return false;
        *options |= found;
        at += n;
    }
    return *at == '\0';
}

/* One way through, one kind of score; and a bias has a gradient in a backward call only. */
static bool bench_options_fit(unsigned options)
{
    const bool backward = options & BENCH_BACKWARD;
    if ((options & BENCH_L2) && (options & BENCH_ADDITIVE)) return false;
    return backward ? !(options & BENCH_JVP) : !(options & BENCH_D_BIAS);
}

int bench_row_parse(const char *text, bench_row *row)
{
    const char *at = text;
    bool good = true;
    *row = (bench_row){.dtype = NULL};
    for (int i = 0; good && i < BENCH_SIZES; i++) {
        char *end;
        row->sizes[i] = strtoll(at, &end, 10);
        good = end != at && row->sizes[i] > 0 && row->sizes[i] < INT64_C(1) << 32;
        good = good && (i + 1 == BENCH_SIZES || *end == ',');
        at = end + (i + 1 < BENCH_SIZES && *end == ',');
    }
    good = good && row->sizes[1] % row->sizes[2] == 0;
    if (good && bench_parse_words(at, &row->options) && bench_options_fit(row->options))
        return 0;
    return cli_fail(CLI_USAGE,
                    "--shape must be B,H,G,T,S,D with G dividing H, and words such as ,causal "
                    "or ,backward behind it, not '%s'.",
                    text);
}
