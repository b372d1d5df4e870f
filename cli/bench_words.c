/* SPDX-License-Identifier: MIT
 * A row of attn bench as text: its sizes, then the words of its options, all separated by
 * commas. */
#include "bench.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

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
    {BENCH_DECAY, "decay", true},        {BENCH_X40, "x40", false},
    {BENCH_X200, "x200", false},         {BENCH_COLD, "cold", false},
    {BENCH_HALF, "half", false},         {BENCH_CACHE, "cache", false},
    {BENCH_PAGE16, "page16", false},     {BENCH_PAGE256, "page256", false},
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

/* Types of elements are words of --shape too; rows show them in a column of their own. */
static const char *const bench_dtypes[] = {"f64", "f32", "bf16", "f16", "int8", "int4"};

static bool bench_word_is(const char *word, const char *at, size_t n)
{
    return strlen(word) == n && strncmp(word, at, n) == 0;
}

static bool bench_parse_word(const char *at, size_t n, bench_row *row)
{
    for (int i = 0; i < BENCH_WORDS; i++)
        if (!bench_words[i].other && bench_word_is(bench_words[i].word, at, n)) {
            row->options |= bench_words[i].option;
            return true;
        }
    for (size_t i = 0; i < sizeof bench_dtypes / sizeof bench_dtypes[0]; i++)
        if (bench_word_is(bench_dtypes[i], at, n)) {
            row->dtype = bench_dtypes[i];
            return true;
        }
    return false;
}

/* ",word,word" */
static bool bench_parse_words(const char *at, bench_row *row)
{
    while (*at == ',') {
        const size_t n = strcspn(++at, ",");
        if (!bench_parse_word(at, n, row)) return false;
        at += n;
    }
    return *at == '\0';
}

/* One way through, one kind of score, one factor, one cache; a bias has a gradient in a backward
 * call only, and only forward calls take k and v in turn, or from a cache. */
static bool bench_options_fit(unsigned options)
{
    const unsigned caches = options & BENCH_CACHES;
    const bool backward = options & BENCH_BACKWARD;
    if ((options & BENCH_L2) && (options & BENCH_ADDITIVE)) return false;
    if ((options & BENCH_X40) && (options & BENCH_X200)) return false;
    if (caches & (caches - 1)) return false;
    if ((options & (BENCH_COLD | BENCH_CACHES)) && (options & (BENCH_BACKWARD | BENCH_JVP)))
        return false;
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
    good = good && bench_parse_words(at, row) && bench_options_fit(row->options);
    if (good && row->dtype && bench_coded(row->dtype)) good = row->options & BENCH_CACHES;
    if (good) return 0;
    return cli_fail(CLI_USAGE,
                    "--shape must be B,H,G,T,S,D with G dividing H, and words such as ,causal "
                    "or ,backward behind it, not '%s'.",
                    text);
}
