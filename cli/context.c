/* SPDX-License-Identifier: MIT
 * From options to a context: --threads and --isa; and the two other options many commands
 * share, --dtype and whether colours are welcome. */
#define _POSIX_C_SOURCE 200809L
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *context_isa_name(const void *unused, int i)
{
    (void)unused;
    return attn_isa_name(i);
}

static int context_isa(const char *wanted, uint32_t *mask)
{
    *mask = 0;
    if (!wanted) return 0;
    const char *name;
    for (int i = 0; (name = attn_isa_name(i)) != NULL; i++) {
        if (strcmp(name, wanted) != 0) continue;
        if (!attn_isa_usable(NULL, i))
            return cli_fail(CLI_UNSUPPORTED,
                            "the kernel table '%s' does not serve here, see "
                            "'attn info'.",
                            name);
        *mask = attn_isa_bit(i);
        return 0;
    }
    return cli_unknown("kernel table", wanted, context_isa_name, NULL);
}

int cli_context_with(const cli_args *args, int64_t threads, attn_ctx **ctx)
{
    *ctx = NULL;
    uint32_t mask;
    int code = context_isa(cli_text(args, "isa"), &mask);
    if (code) return code;
    if (threads < 0 || threads > 1024)
        return cli_fail(CLI_USAGE, "--threads must be between 0 and 1024.");
    attn_error error;
    attn_config config = ATTN_CONFIG(.threads = (int)threads, .isa_mask = mask);
    if (attn_ctx_create(ctx, &config, &error) != ATTN_OK) return cli_fail_error(NULL, &error);
    return 0;
}

int cli_context(const cli_args *args, attn_ctx **ctx)
{
    return cli_context_with(args, cli_integer(args, "threads"), ctx);
}

int cli_dtype(const cli_args *args, attn_dtype *dtype)
{
    static const attn_dtype floats[] = {ATTN_DTYPE_F64, ATTN_DTYPE_F32, ATTN_DTYPE_BF16,
                                        ATTN_DTYPE_F16};
    const char *name = cli_text(args, "dtype");
    *dtype = attn_dtype_find(name);
    for (size_t i = 0; i < sizeof floats / sizeof floats[0]; i++)
        if (floats[i] == *dtype) return 0;
    return cli_fail(CLI_USAGE, "--dtype must be f64, f32, bf16 or f16, not '%s'.", name);
}

bool cli_color(FILE *to)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(fileno(to)) && !(no && no[0]) && term && strcmp(term, "dumb") != 0;
}
