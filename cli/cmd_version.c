/* SPDX-License-Identifier: MIT
 * attn version: one line; in JSON also what this build was made with. */
#include "cli.h"

static int version_run(const cli_args *args)
{
    if (!cli_flag(args, "json")) {
        printf("attn %s\n", attn_version());
        return 0;
    }
    cli_json json = cli_json_begin("version");
    cli_json_text(&json, "version", attn_version());
    cli_json_text(&json, "header", ATTN_VERSION);
#ifdef HAVE_ZLIB
    cli_json_bool(&json, "zlib", true);
#else
    cli_json_bool(&json, "zlib", false);
#endif
    cli_json_end(&json);
    return 0;
}

static const cli_option version_options[] = {CLI_LAST};
static const char *const version_examples[] = {"version", NULL};

const cli_command cli_command_version = {
    .name = "version",
    .operands = "",
    .about = "the version, one line",
    .complete = "",
    .examples = version_examples,
    .options = version_options,
    .run = version_run,
};
