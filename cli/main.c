/* SPDX-License-Identifier: MIT
 * attn, the command: finds the command by its name, parses by its table, runs it, and makes
 * sure that what was printed has arrived. */
#define _POSIX_C_SOURCE 200809L
#include "cli.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define COMMAND(name) extern const cli_command cli_command_##name;
#include "commands.def"
#undef COMMAND
#define COMMAND(name) &cli_command_##name,
static const cli_command *const main_commands[] = {
#include "commands.def"
    NULL};
#undef COMMAND

enum { MAIN_COUNT = (int)(sizeof main_commands / sizeof main_commands[0]) - 1 };

const cli_command *cli_command_at(int i)
{
    return i >= 0 && i < MAIN_COUNT ? main_commands[i] : NULL;
}

const cli_command *cli_command_find(const char *name)
{
    for (int i = 0; i < MAIN_COUNT; i++)
        if (strcmp(main_commands[i]->name, name) == 0) return main_commands[i];
    return NULL;
}

static const char *main_name(const void *unused, int i)
{
    (void)unused;
    return i < MAIN_COUNT ? main_commands[i]->name : NULL;
}

int cli_unknown_command(const char *name)
{
    return cli_unknown("command", name, main_name, NULL);
}

static int main_run(const cli_command *command, const cli_args *args)
{
    if (cli_flag(args, "help")) {
        cli_help(command, stdout);
        return 0;
    }
    if (args->n_operands < command->least) {
        cli_usage(command, stderr);
        return CLI_USAGE;
    }
    if (command->most >= 0 && args->n_operands > command->most)
        return cli_fail(CLI_USAGE, "'%s' is one operand too many, see 'attn help %s'.",
                        args->operands[command->most], command->name);
    return command->run(args);
}

static int main_dispatch(int argc, char **argv)
{
    static const struct {
        const char *word, *command;
    } aliases[] = {{"--help", "help"}, {"-h", "help"}, {"--version", "version"}};
    if (argc < 2) {
        cli_overview(stdout);
        return 0;
    }
    const char *name = argv[1];
    for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++)
        if (strcmp(name, aliases[i].word) == 0) name = aliases[i].command;
    const cli_command *command = cli_command_find(name);
    if (!command) return cli_unknown_command(name);
    cli_args args;
    int code = cli_args_init(&args, command, argc - 2, argv + 2);
    if (!code) code = main_run(command, &args);
    cli_args_destroy(&args);
    return code;
}

/* The reader of our output went away (head, less): leave without a word. */
static void main_broken_pipe(int number)
{
    (void)number;
    _exit(CLI_PIPE);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, main_broken_pipe);
    int code = main_dispatch(argc, argv);
    if (fflush(stdout) == 0 && !ferror(stdout)) return code;
    return code ? code : cli_fail(CLI_RUNTIME, "standard output: %s.", strerror(errno));
}
