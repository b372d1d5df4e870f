/* SPDX-License-Identifier: MIT
 * attn conformance DIR: runs ONNX operator tests, directories with model.onnx and
 * test_data_set_*. DIR is one of them, or holds them. A line each, then a line for all. */
#define _POSIX_C_SOURCE 200809L
#include "conformance.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct conformance_op {
    const char *name;
    /* The opset that brought it. Operators of this name in other domains have low ones. */
    int64_t since;
    attn_status (*run)(onnx_case *c);
} conformance_ops[] = {{"Attention", 23, onnx_attention},
                       {"LinearAttention", 27, onnx_scan},
                       {"RotaryEmbedding", 23, onnx_rotary}};

enum verdict { PASS, FAIL, UNSUPPORTED, VERDICTS };
static const char *const conformance_words[] = {"pass", "FAIL", "unsupported"};

typedef struct conformance {
    attn_ctx *ctx;
    double rtol, atol;
    bool json;
    int counts[VERDICTS];
} conformance;

typedef struct conformance_result {
    enum verdict verdict;
    onnx_worst worst;
    char op[64], note[256];
} conformance_result;

static bool conformance_join(char *path, size_t n, const char *directory, const char *name)
{
    int length = snprintf(path, n, "%s/%s", directory, name);
    return length > 0 && (size_t)length < n;
}

/* ---- one data set, one directory -------------------------------------------------------- */

static void conformance_refused(conformance_result *r, const attn_error *error)
{
    bool unsupported = error->status == ATTN_E_UNSUPPORTED;
    r->verdict = unsupported ? UNSUPPORTED : FAIL;
    attn_error_text(error, r->note, sizeof r->note);
}

static void conformance_set(const conformance *t, const struct conformance_op *op,
                            const attn_onnx_node *node, const char *path, conformance_result *r)
{
    onnx_case c = {.ctx = t->ctx, .node = node};
    attn_status status = onnx_case_load(&c, path);
    if (status == ATTN_OK) status = op->run(&c);
    if (status == ATTN_OK) {
        onnx_compare(&c, t->rtol, t->atol, &r->worst);
        if (!r->worst.pass) {
            r->verdict = FAIL;
            snprintf(r->note, sizeof r->note, "output %s differs", r->worst.name);
        }
    } else {
        conformance_refused(r, &c.error);
    }
    onnx_case_destroy(&c);
}

static void conformance_sets(const conformance *t, const struct conformance_op *op,
                             const attn_onnx_node *node, const char *directory,
                             conformance_result *r)
{
    int found = 0;
    for (; r->verdict == PASS; found++) {
        char name[32], path[4096];
        snprintf(name, sizeof name, "test_data_set_%d", found);
        if (!conformance_join(path, sizeof path, directory, name) || access(path, R_OK) != 0)
            break;
        conformance_set(t, op, node, path, r);
    }
    if (found > 0) return;
    r->verdict = FAIL;
    snprintf(r->note, sizeof r->note, "there is no test_data_set_0");
}

static const struct conformance_op *conformance_find(const attn_onnx_node *node)
{
    for (size_t i = 0; i < sizeof conformance_ops / sizeof conformance_ops[0]; i++)
        if (strcmp(conformance_ops[i].name, attn_onnx_op(node)) == 0 &&
            attn_onnx_opset(node) >= conformance_ops[i].since)
            return &conformance_ops[i];
    return NULL;
}

static void conformance_directory(const conformance *t, const char *directory,
                                  conformance_result *r)
{
    char path[4096];
    attn_onnx_node *node = NULL;
    attn_error error;
    *r = (conformance_result){.verdict = PASS, .worst = {.pass = true}};
    if (!conformance_join(path, sizeof path, directory, "model.onnx")) return;
    if (attn_onnx_load(&node, t->ctx, path, &error) != ATTN_OK) {
        conformance_refused(r, &error);
        return;
    }
    snprintf(r->op, sizeof r->op, "%s", attn_onnx_op(node));
    const struct conformance_op *op = conformance_find(node);
    if (op) {
        conformance_sets(t, op, node, directory, r);
    } else {
        r->verdict = UNSUPPORTED;
        snprintf(r->note, sizeof r->note, "operator %s of opset %" PRId64, r->op,
                 attn_onnx_opset(node));
    }
    attn_onnx_destroy(node);
}

/* ---- reporting ----------------------------------------------------------------------- */

static void conformance_report(const conformance *t, const char *name,
                               const conformance_result *r)
{
    const char *word = conformance_words[r->verdict];
    if (t->json) {
        cli_json json = cli_json_begin("conformance");
        cli_json_text(&json, "test", name);
        cli_json_text(&json, "operator", r->op);
        cli_json_text(&json, "result", r->verdict == FAIL ? "fail" : word);
        cli_json_number(&json, "of_tolerance", r->worst.error);
        cli_json_number(&json, "max_error", r->worst.absolute);
        cli_json_text(&json, "note", r->note[0] ? r->note : NULL);
        cli_json_end(&json);
    } else if (r->verdict == UNSUPPORTED) {
        printf("%-11s  %-66s  %s\n", word, name, r->note);
    } else {
        printf("%-11s  %-66s  %7.1e  %7.1e%s%s\n", word, name, r->worst.absolute,
               r->worst.error, r->note[0] ? "  " : "", r->note);
    }
}

static void conformance_summary(const conformance *t)
{
    if (t->json) {
        cli_json json = cli_json_begin("conformance.summary");
        cli_json_integer(&json, "pass", t->counts[PASS]);
        cli_json_integer(&json, "fail", t->counts[FAIL]);
        cli_json_integer(&json, "unsupported", t->counts[UNSUPPORTED]);
        cli_json_end(&json);
        return;
    }
    printf("%d passed, %d failed, %d unsupported\n"
           "Columns: largest error; largest share of the error allowed, %g + %g |value|.\n",
           t->counts[PASS], t->counts[FAIL], t->counts[UNSUPPORTED], t->atol, t->rtol);
}

static void conformance_one(conformance *t, const char *directory, const char *name)
{
    conformance_result result;
    conformance_directory(t, directory, &result);
    conformance_report(t, name, &result);
    t->counts[result.verdict]++;
}

/* ---- the walk ------------------------------------------------------------------------ */

static bool conformance_is_test(const char *directory)
{
    char path[4096];
    return conformance_join(path, sizeof path, directory, "model.onnx") &&
           access(path, R_OK) == 0;
}

static void conformance_entry(conformance *t, const char *root, const char *name)
{
    char path[4096];
    if (name[0] == '.' || !conformance_join(path, sizeof path, root, name)) return;
    if (conformance_is_test(path)) conformance_one(t, path, name);
}

static int conformance_walk(conformance *t, const char *root)
{
    if (conformance_is_test(root)) {
        const char *slash = strrchr(root, '/');
        conformance_one(t, root, slash && slash[1] ? slash + 1 : root);
        return 0;
    }
    struct dirent **entries;
    int n = scandir(root, &entries, NULL, alphasort);
    if (n < 0) return cli_fail(CLI_FILE, "%s: not a directory that can be read.", root);
    for (int i = 0; i < n; i++) {
        conformance_entry(t, root, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    if (t->counts[PASS] + t->counts[FAIL] + t->counts[UNSUPPORTED] > 0) return 0;
    return cli_fail(CLI_FILE, "%s: no model.onnx in it or in its subdirectories.", root);
}

static int conformance_run(const cli_args *args)
{
    conformance t = {.rtol = cli_number(args, "rtol"),
                     .atol = cli_number(args, "atol"),
                     .json = cli_flag(args, "json")};
    if (!(t.rtol >= 0) || !(t.atol >= 0))
        return cli_fail(CLI_USAGE, "--rtol and --atol must not be negative.");
    int code = cli_context(args, &t.ctx);
    for (int i = 0; !code && i < args->n_operands; i++)
        code = conformance_walk(&t, args->operands[i]);
    attn_ctx_destroy(t.ctx);
    if (code) return code;
    conformance_summary(&t);
    return t.counts[FAIL] ? CLI_CHECK : 0;
}

static const cli_option conformance_options[] = {
    {"rtol", 0, 'f', "X", "1e-3", "error allowed, relative to the value"},
    {"atol", 0, 'f', "X", "1e-7", "error allowed, absolute"},
    CLI_THREADS,
    CLI_ISA,
    CLI_LAST};
static const char *const conformance_examples[] = {"conformance onnx/backend/test/data/node",
                                                   NULL};

const cli_command cli_command_conformance = {
    .name = "conformance",
    .operands = "DIR...",
    .about = "run ONNX operator tests (Attention, LinearAttention ...)",
    .details =
        "DIR holds model.onnx and test_data_set_0, or directories that do. Exit code 6 when\n"
        "a test fails; operators this version does not know are listed, not failed.\n",
    .complete = "<directory>",
    .examples = conformance_examples,
    .options = conformance_options,
    .least = 1,
    .most = -1,
    .run = conformance_run,
};
