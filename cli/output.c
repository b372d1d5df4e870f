/* SPDX-License-Identifier: MIT
 * Outputs to files, or to the screen. What -o asks for is checked before anything is computed.
 */
#include "compute.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static bool output_ends(const char *path, const char *end)
{
    size_t n = strlen(path), m = strlen(end);
    return n > m && strcmp(path + n - m, end) == 0;
}

static int output_check_path(const compute_set *set, const char *path, bool one)
{
    static const char *const many[] = {".npz", ".safetensors"};
    for (size_t i = 0; i < sizeof many / sizeof many[0]; i++)
        if (output_ends(path, many[i])) return 0;
    if (!output_ends(path, ".npy"))
        return cli_fail(CLI_USAGE, "%s: the name must end in .npz, .safetensors or .npy.",
                        path);
    int wanted = 0;
    for (int i = 0; i < COMPUTE_ENTRIES; i++) wanted += set->wanted[i];
    if (one || (wanted == 1 && !set->grad)) return 0; /* gradients come beside out */
    return cli_fail(CLI_USAGE, "%s: a .npy file holds one tensor: write SLOT=%s.", path, path);
}

/* NumPy knows no bf16. */
static int output_check_dtype(const cli_args *args, const char *path)
{
    attn_dtype dtype;
    int code = cli_dtype(args, &dtype);
    if (code || dtype != ATTN_DTYPE_BF16 || output_ends(path, ".safetensors")) return code;
    return cli_fail(CLI_USAGE, "%s: this format has no bf16, .safetensors has.", path);
}

static int output_check_one(compute_set *set, const cli_args *args, const char *text)
{
    const char *path = text;
    int slot = compute_split(set, text, &path);
    if (slot == -2) return CLI_USAGE;
    if (slot >= 0 && !compute_output(set, slot))
        return cli_fail(CLI_USAGE, "'%s' is an input of %s, not an output.", set->names[slot],
                        set->mech->name);
    if (path[0] == '\0') return cli_fail(CLI_USAGE, "'%s' names no file.", text);
    if (slot >= 0) set->wanted[slot] = true;
    int code = output_check_path(set, path, slot >= 0);
    return code ? code : output_check_dtype(args, path);
}

/* The second would take the place of the first. */
static int output_check_twice(const compute_set *set, const cli_args *args, const char *text,
                              int at)
{
    const char *path = text;
    compute_split(set, text, &path);
    for (const char *next; (next = cli_each(args, "output", &at)) != NULL;) {
        const char *other = next;
        compute_split(set, next, &other);
        if (strcmp(path, other) == 0)
            return cli_fail(CLI_USAGE, "%s: two outputs cannot go to one file.", path);
    }
    return 0;
}

int compute_check_outputs(compute_set *set, const cli_args *args)
{
    int at = 0, code = 0;
    for (const char *text; !code && (text = cli_each(args, "output", &at)) != NULL;) {
        code = output_check_one(set, args, text);
        if (!code) code = output_check_twice(set, args, text, at);
    }
    if (!code && cli_flag(args, "compress") && !compute_deflate())
        return cli_fail(CLI_UNSUPPORTED, "--compress: this build was made without zlib.");
    return code;
}

/* One -o: the slot it names, or every output that is there. */
static int output_save_one(const compute_set *set, const char *text, bool compress)
{
    const char *path = text, *names[COMPUTE_ENTRIES];
    attn_tensor tensors[COMPUTE_ENTRIES];
    int only = compute_split(set, text, &path), n = 0;
    for (int i = 0; i < COMPUTE_ENTRIES; i++) {
        if (!set->wanted[i] || (only >= 0 && i != only)) continue;
        names[n] = set->names[i];
        tensors[n++] = set->slots[i];
    }
    attn_save_options options = {.size = sizeof options,
                                 .deflate = compress ? compute_deflate() : NULL};
    attn_error error;
    if (attn_archive_save(NULL, path, n, names, tensors, &options, &error) != ATTN_OK)
        return cli_fail_error(path, &error);
    fprintf(stderr, "attn: wrote %s\n", path);
    return 0;
}

int compute_save(const compute_set *set, const cli_args *args)
{
    int at = 0, code = 0;
    for (const char *text; !code && (text = cli_each(args, "output", &at)) != NULL;)
        code = output_save_one(set, text, cli_flag(args, "compress"));
    return code;
}

/* ---- the screen ------------------------------------------------------------------------- */

enum { OUTPUT_ROWS = 16, OUTPUT_COLUMNS = 8 };

static void output_index(attn_tensor t, int64_t row)
{
    int64_t index[ATTN_MAX_RANK] = {0};
    for (int d = t.rank - 2; d >= 0; d--) {
        index[d] = row % t.shape[d];
        row /= t.shape[d];
    }
    char text[8 * 24] = "";
    int n = 0;
    for (int d = 0; d + 1 < t.rank; d++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%s%" PRId64, d ? "," : "", index[d]);
    printf("  %-10s", text);
}

void compute_show(const char *name, attn_tensor t)
{
    printf("%s %s [", name, attn_dtype_name(t.dtype));
    for (int d = 0; d < t.rank; d++) printf("%s%" PRId64, d ? ", " : "", t.shape[d]);
    puts("]");
    int64_t columns = t.rank ? t.shape[t.rank - 1] : 1, count = attn_tensor_count(t);
    if (count <= 0) return;
    int64_t rows = count / columns;
    for (int64_t r = 0; r < rows && r < OUTPUT_ROWS; r++) {
        output_index(t, r);
        for (int64_t c = 0; c < columns && c < OUTPUT_COLUMNS; c++)
            printf(" %12.6g", cli_array_get(t, r * columns + c));
        puts(columns > OUTPUT_COLUMNS ? "  ..." : "");
    }
    if (rows > OUTPUT_ROWS) printf("  ... %" PRId64 " rows in all\n", rows);
}

void compute_show_json(cli_json *json, attn_tensor t)
{
    cli_json_open(json, "data", '[');
    int64_t count = attn_tensor_count(t);
    for (int64_t i = 0; i < count; i++) cli_json_number(json, NULL, cli_array_get(t, i));
    cli_json_close(json, ']');
}
