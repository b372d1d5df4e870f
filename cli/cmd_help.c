/* SPDX-License-Identifier: MIT
 * attn help [COMMAND]: the overview, one command, or the whole manual page. */
#include "cli.h"

static void help_json(const cli_command *c)
{
    cli_json json = cli_json_begin("help");
    cli_json_text(&json, "command", c->name);
    cli_json_text(&json, "operands", c->operands);
    cli_json_text(&json, "about", c->about);
    cli_json_open(&json, "options", '[');
    for (const cli_option *o = c->options; o->name; o++) {
        cli_json_open(&json, NULL, '{');
        cli_json_text(&json, "name", o->name);
        cli_json_text(&json, "value", o->value);
        cli_json_text(&json, "default", o->fallback);
        cli_json_text(&json, "about", o->about);
        cli_json_close(&json, '}');
    }
    cli_json_close(&json, ']');
    cli_json_end(&json);
}

static int help_all(const cli_args *args)
{
    if (!cli_flag(args, "json")) {
        cli_overview(stdout);
        return 0;
    }
    const cli_command *c;
    for (int i = 0; (c = cli_command_at(i)) != NULL; i++) help_json(c);
    return 0;
}

static int help_run(const cli_args *args)
{
    if (cli_flag(args, "man")) {
        cli_man(stdout);
        return 0;
    }
    if (args->n_operands == 0) return help_all(args);
    const cli_command *c = cli_command_find(args->operands[0]);
    if (!c) return cli_unknown_command(args->operands[0]);
    if (cli_flag(args, "json"))
        help_json(c);
    else
        cli_help(c, stdout);
    return 0;
}

static const cli_option help_options[] = {
    {"man", 0, 'b', NULL, NULL, "the manual page attn(1) as mdoc source"}, CLI_LAST};
static const char *const help_examples[] = {"help compute", "help --man | man -l -", NULL};

const cli_command cli_command_help = {
    .name = "help",
    .operands = "[COMMAND]",
    .about = "all commands, or one of them in full",
    .complete = "<command>",
    .examples = help_examples,
    .options = help_options,
    .most = 1,
    .run = help_run,
};
