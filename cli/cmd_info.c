/* SPDX-License-Identifier: MIT
 * attn info: what this machine offers and which kernel tables serve on it. */
#include "cli.h"

#include <stdlib.h>

static const char *info_chosen(void)
{
    const char *best = NULL, *name;
    for (int i = 0; (name = attn_isa_name(i)) != NULL; i++)
        if (attn_isa_usable(NULL, i)) best = name;
    return best;
}

/* Why better tables may be idle. */
static const char *info_cap(void)
{
    const char *cap = getenv("ATTN_ISA");
    return cap && cap[0] ? cap : NULL;
}

static void info_json(const char *features)
{
    cli_json json = cli_json_begin("info");
    cli_json_text(&json, "version", attn_version());
    cli_json_text(&json, "cpu", features);
    cli_json_integer(&json, "threads", attn_cpu_count());
    cli_json_text(&json, "isa", info_chosen());
    cli_json_text(&json, "isa_cap", info_cap());
    cli_json_open(&json, "kernels", '[');
    const char *name;
    for (int i = 0; (name = attn_isa_name(i)) != NULL; i++) {
        cli_json_open(&json, NULL, '{');
        cli_json_text(&json, "name", name);
        cli_json_bool(&json, "usable", attn_isa_usable(NULL, i));
        cli_json_close(&json, '}');
    }
    cli_json_close(&json, ']');
    cli_json_bool(&json, "blas", attn_matmul_has_blas());
    cli_json_integer(&json, "mechanisms", attn_mech_count());
    cli_json_end(&json);
}

static void info_text(const char *features)
{
    const char *chosen = info_chosen(), *name;
    printf("version     %s\nthreads     %d\ncpu         %s\n", attn_version(), attn_cpu_count(),
           features);
    for (int i = 0; (name = attn_isa_name(i)) != NULL; i++)
        printf("%-11s %-8s %s\n", i ? "" : "kernels", name,
               name == chosen             ? "usable, chosen"
               : attn_isa_usable(NULL, i) ? "usable"
                                          : "not usable here");
    if (info_cap()) printf("%-11s at most %s (environment ATTN_ISA)\n", "", info_cap());
    printf("blas        %s\n", attn_matmul_has_blas() ? "for large products" : "none");
    printf("mechanisms  %d\n", attn_mech_count());
}

static int info_run(const cli_args *args)
{
    char features[256];
    attn_cpu_text(features, sizeof features);
    if (cli_flag(args, "json"))
        info_json(features);
    else
        info_text(features);
    return 0;
}

static const cli_option info_options[] = {CLI_LAST};
static const char *const info_examples[] = {"info", "info --json", NULL};

const cli_command cli_command_info = {
    .name = "info",
    .operands = "",
    .about = "version, CPU features, kernel tables, threads",
    .complete = "",
    .examples = info_examples,
    .options = info_options,
    .run = info_run,
};
