/* SPDX-License-Identifier: MIT
 * attn measure: what weights look like (entropy, support, ranks against other weights ...), and
 * the alignment error rate of links between words, which are read here as text: a line a
 * sentence, "3-1" a sure link, "3p1" a possible one. */
#define _POSIX_C_SOURCE 200809L
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- links ------------------------------------------------------------------------------- */

enum { MEASURE_LINKS = 4096 }; /* of one sentence */

typedef struct measure_file {
    const char *path;
    FILE *file;
    int64_t base, line; /* the number of the first word */
    char *text;
    size_t room;
    attn_link links[MEASURE_LINKS];
    int64_t n;
} measure_file;

/* Reads "i-j" or "ipj" at *c, which moves behind it. */
static bool measure_link(const char **c, int64_t base, attn_link *link)
{
    char *end;
    if (!isdigit((unsigned char)**c)) return false;
    link->from = strtoll(*c, &end, 10) - base;
    if ((*end != '-' && *end != 'p') || !isdigit((unsigned char)end[1])) return false;
    link->possible = *end == 'p';
    link->to = strtoll(end + 1, &end, 10) - base;
    *c = end;
    return (isspace((unsigned char)*end) || !*end) && link->from >= 0 && link->to >= 0;
}

/* The next line's links: 1, 0 at the end of the file, or -1 after a message. */
static int measure_line(measure_file *f)
{
    f->n = 0;
    f->line++;
    if (getline(&f->text, &f->room, f->file) < 0) return 0;
    for (const char *c = f->text; *c;) {
        if (isspace((unsigned char)*c)) {
            c++;
            continue;
        }
        if (f->n == MEASURE_LINKS || !measure_link(&c, f->base, &f->links[f->n++])) {
            cli_fail(CLI_FILE,
                     f->n == MEASURE_LINKS
                         ? "%s: line %" PRId64 " has more links than one sentence may have."
                         : "%s: line %" PRId64 " is not a list of links such as 3-1 4p2.",
                     f->path, f->line);
            return -1;
        }
    }
    return 1;
}

static int measure_open(measure_file **out, const char *path, int64_t base)
{
    measure_file *f = *out = calloc(1, sizeof *f);
    if (!f) return cli_fail(CLI_LIMIT, "out of memory.");
    f->path = path, f->base = base;
    f->file = fopen(path, "r");
    return f->file ? 0 : cli_fail(CLI_FILE, "%s: %s.", path, strerror(errno));
}

static void measure_close(measure_file *f)
{
    if (f && f->file) fclose(f->file);
    if (f) free(f->text);
    free(f);
}

static int measure_count(measure_file *found, measure_file *gold, attn_link_counts *counts)
{
    attn_error error;
    for (;;) {
        const int left = measure_line(found), right = left < 0 ? -1 : measure_line(gold);
        if (left < 0 || right < 0) return CLI_FILE;
        if (left != right)
            return cli_fail(CLI_FILE, "%s ends at line %" PRId64 ", before %s.",
                            left ? gold->path : found->path, found->line - 1,
                            left ? found->path : gold->path);
        if (!left) return 0;
        if (attn_measure_links(NULL, found->n, found->links, gold->n, gold->links, counts,
                               &error) != ATTN_OK)
            return cli_fail_error(NULL, &error);
    }
}

static void measure_say_links(const cli_args *args, const attn_link_counts *c)
{
    if (!cli_flag(args, "json")) {
        printf("aer        %.6f\nprecision  %.6f\nrecall     %.6f\n", attn_measure_aer(c),
               attn_measure_precision(c), attn_measure_recall(c));
        printf("links      %" PRId64 " found, %" PRId64 " sure\n", c->found, c->sure);
        return;
    }
    cli_json json = cli_json_begin("measure");
    cli_json_text(&json, "measure", "aer");
    cli_json_number(&json, "aer", attn_measure_aer(c));
    cli_json_number(&json, "precision", attn_measure_precision(c));
    cli_json_number(&json, "recall", attn_measure_recall(c));
    cli_json_integer(&json, "found", c->found);
    cli_json_integer(&json, "sure", c->sure);
    cli_json_end(&json);
}

static int measure_aer(const cli_args *args)
{
    measure_file *found = NULL, *gold = NULL;
    attn_link_counts counts = {0};
    if (args->n_operands != 3)
        return cli_fail(CLI_USAGE, "aer compares two files of links: FOUND and GOLD.");
    int code = measure_open(&found, args->operands[1], cli_integer(args, "found-base"));
    if (!code) code = measure_open(&gold, args->operands[2], cli_integer(args, "gold-base"));
    if (!code) code = measure_count(found, gold, &counts);
    if (!code) measure_say_links(args, &counts);
    measure_close(found);
    measure_close(gold);
    return code;
}

/* ---- rows of weights --------------------------------------------------------------------- */

/* The tensor called weights of an archive, or its only one. */
static int measure_load(const char *path, attn_archive **a, attn_tensor *t)
{
    attn_error error;
    if (attn_archive_load(a, NULL, path, ATTN_FORMAT_AUTO, &error) != ATTN_OK)
        return cli_fail_input(path, &error);
    int64_t i = attn_archive_find(*a, "weights");
    if (i < 0 && attn_archive_count(*a) == 1) i = 0;
    if (i < 0)
        return cli_fail(CLI_FILE, "%s: holds several tensors, and none is called weights.",
                        path);
    *t = attn_archive_tensor(*a, i);
    return 0;
}

static void measure_say_rows(const cli_args *args, const char *name, attn_tensor out)
{
    const int64_t n = attn_tensor_count(out);
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += cli_array_get(out, i);
    if (!cli_flag(args, "json")) {
        for (int64_t i = 0; i < n; i++) printf("%.6g\n", cli_array_get(out, i));
        printf("mean %.6g of %" PRId64 " rows\n", n ? sum / (double)n : 0, n);
        return;
    }
    cli_json json = cli_json_begin("measure");
    cli_json_text(&json, "measure", name);
    cli_json_open(&json, "rows", '[');
    for (int64_t i = 0; i < n; i++) cli_json_number(&json, NULL, cli_array_get(out, i));
    cli_json_close(&json, ']');
    cli_json_number(&json, "mean", n ? sum / (double)n : 0);
    cli_json_end(&json);
}

static int measure_rows(const cli_args *args, int measure)
{
    const attn_measure_info *info = attn_measure_at(measure);
    attn_archive *archives[2] = {NULL, NULL};
    attn_tensor t[2] = {{0}}, out = {0};
    attn_error error;
    if (args->n_operands != (info->other ? 3 : 2))
        return cli_fail(CLI_USAGE, "%s takes %s.", info->name,
                        info->other ? "two files: WEIGHTS and OTHER" : "one file: WEIGHTS");
    int code = measure_load(args->operands[1], &archives[0], &t[0]);
    if (!code && info->other) code = measure_load(args->operands[2], &archives[1], &t[1]);
    if (!code && t[0].rank < 1)
        code = cli_fail(CLI_FILE, "%s: weights need a dimension.", args->operands[1]);
    if (!code) out = cli_array_new(ATTN_DTYPE_F64, t[0].rank - 1, t[0].shape);
    if (!code && !out.data) code = cli_fail(CLI_LIMIT, "out of memory.");
    if (!code && attn_measure_rows(NULL, (attn_measure)measure, &t[0],
                                   info->other ? &t[1] : NULL, &out, &error) != ATTN_OK)
        code = cli_fail_error(NULL, &error);
    if (!code) measure_say_rows(args, info->name, out);
    cli_array_free(&out);
    attn_archive_destroy(archives[0]);
    attn_archive_destroy(archives[1]);
    return code;
}

/* aer, which reads links, stands behind those of rows. */
static const char *measure_name(const void *unused, int i)
{
    (void)unused;
    return i == ATTN_MEASURES ? "aer" : i < ATTN_MEASURES ? attn_measure_at(i)->name : NULL;
}

static int measure_run(const cli_args *args)
{
    for (int i = 0; measure_name(NULL, i); i++)
        if (strcmp(measure_name(NULL, i), args->operands[0]) == 0)
            return i == ATTN_MEASURES ? measure_aer(args) : measure_rows(args, i);
    return cli_unknown("measure", args->operands[0], measure_name, NULL);
}

static const cli_option measure_options[] = {
    {"found-base", 0, 'i', "N", "0", "aer: the number of the first word in FOUND"},
    {"gold-base", 0, 'i', "N", "0", "aer: the number of the first word in GOLD"},
    CLI_LAST};
static const char *const measure_examples[] = {
    "measure entropy weights.npy", "measure spearman weights.npy human.npy",
    "measure aer system.links gold.links --gold-base 1", NULL};

const cli_command cli_command_measure = {
    .name = "measure",
    .operands = "MEASURE WEIGHTS [OTHER]",
    .about = "what weights look like, and the error rate of alignments",
    .details = "Of every row of weights (.npy, or the tensor called weights of an archive):\n"
               "entropy support largest zeros first last; against another file of weights\n"
               "spearman kendall divergence variation; against marked regions correctness.\n"
               "aer reads links as text, a line a sentence: 3-1 is sure, 3p1 possible.\n",
    .complete = "entropy support largest zeros first last correctness spearman kendall "
                "divergence variation aer",
    .examples = measure_examples,
    .options = measure_options,
    .least = 2,
    .most = 3,
    .run = measure_run,
};
