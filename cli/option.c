/* SPDX-License-Identifier: MIT
 * The parser: --name value, --name=value, -n value, -nvalue, flags in a cluster, -- ends the
 * options, a single - is an operand. Options and operands mix in any order; names are not
 * abbreviated. Numbers are checked here, so that commands may trust them. */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *option_name(const void *command, int i)
{
    return ((const cli_command *)command)->options[i].name;
}

static const cli_option *option_long(const cli_command *command, const char *name, size_t n)
{
    for (const cli_option *o = command->options; o->name; o++)
        if (strlen(o->name) == n && memcmp(o->name, name, n) == 0) return o;
    return NULL;
}

static const cli_option *option_short(const cli_command *command, char letter)
{
    for (const cli_option *o = command->options; o->name; o++)
        if (o->letter && o->letter == letter) return o;
    return NULL;
}

static int option_check(const cli_option *o, const char *value)
{
    char *end = NULL;
    errno = 0;
    if (o->kind == 'i') strtoll(value, &end, 10);
    if (o->kind == 'f') strtod(value, &end);
    if (!end || (end != value && *end == '\0' && errno == 0)) return 0;
    return cli_fail(CLI_USAGE, "--%s needs %s, not '%s'.", o->name,
                    o->kind == 'i' ? "an integer" : "a number", value);
}

static int option_add(cli_args *args, const cli_option *o, const char *value)
{
    args->given[args->n_given++] = (cli_given){.option = o, .value = value};
    return option_check(o, value);
}

/* The reading position in argv. */
typedef struct option_scan {
    int argc, at;
    char **argv;
} option_scan;

static int option_value(cli_args *args, const cli_option *o, option_scan *scan)
{
    if (scan->at + 1 >= scan->argc)
        return cli_fail(CLI_USAGE, "--%s needs a value: --%s %s", o->name, o->name, o->value);
    return option_add(args, o, scan->argv[++scan->at]);
}

static int option_read_long(cli_args *args, const char *word, option_scan *scan)
{
    size_t n = strcspn(word, "=");
    const cli_option *o = option_long(args->command, word, n);
    if (!o) {
        char name[64] = "";
        memcpy(name, word, n < sizeof name ? n : sizeof name - 1);
        const char *best = cli_nearest(name, option_name, args->command);
        return cli_fail(CLI_USAGE, "unknown option '--%s'%s%s%s", name,
                        best ? ". Did you mean '--" : ", see 'attn help ",
                        best ? best : args->command->name, best ? "'?" : "'.");
    }
    if (o->kind != 'b')
        return word[n] ? option_add(args, o, word + n + 1) : option_value(args, o, scan);
    if (word[n]) return cli_fail(CLI_USAGE, "--%s takes no value.", o->name);
    return option_add(args, o, "");
}

static int option_read_short(cli_args *args, const char *word, option_scan *scan)
{
    for (const char *c = word; *c; c++) {
        const cli_option *o = option_short(args->command, *c);
        if (!o)
            return cli_fail(CLI_USAGE, "unknown option '-%c', see 'attn help %s'.", *c,
                            args->command->name);
        if (o->kind != 'b')
            return c[1] ? option_add(args, o, c + 1) : option_value(args, o, scan);
        int code = option_add(args, o, "");
        if (code) return code;
    }
    return 0;
}

static int option_read(cli_args *args, bool plain, option_scan *scan)
{
    const char *word = scan->argv[scan->at];
    if (plain || word[0] != '-' || word[1] == '\0') {
        args->operands[args->n_operands++] = word;
        return 0;
    }
    return word[1] == '-' ? option_read_long(args, word + 2, scan)
                          : option_read_short(args, word + 1, scan);
}

int cli_args_init(cli_args *args, const cli_command *command, int argc, char **argv)
{
    /* A cluster of flags can be longer than argv: count letters, not words. */
    size_t room = 1;
    for (int i = 0; i < argc; i++) room += strlen(argv[i]) + 1;
    *args = (cli_args){.command = command};
    args->operands = calloc((size_t)argc + 1, sizeof *args->operands);
    args->given = calloc(room, sizeof *args->given);
    if (!args->operands || !args->given) return cli_fail(CLI_LIMIT, "out of memory.");
    bool plain = false;
    option_scan scan = {.argc = argc, .argv = argv};
    for (; scan.at < argc; scan.at++) {
        if (!plain && strcmp(argv[scan.at], "--") == 0) {
            plain = true;
            continue;
        }
        int code = option_read(args, plain, &scan);
        if (code) return code;
    }
    return 0;
}

void cli_args_destroy(cli_args *args)
{
    free(args->operands);
    free(args->given);
    *args = (cli_args){0};
}

/* ---- asking -------------------------------------------------------------------------- */

const char *cli_each(const cli_args *args, const char *name, int *at)
{
    for (; *at < args->n_given; ++*at)
        if (strcmp(args->given[*at].option->name, name) == 0) return args->given[(*at)++].value;
    return NULL;
}

bool cli_flag(const cli_args *args, const char *name)
{
    int at = 0;
    return cli_each(args, name, &at) != NULL;
}

const char *cli_text(const cli_args *args, const char *name)
{
    const cli_option *o = option_long(args->command, name, strlen(name));
    const char *value = o ? o->fallback : NULL;
    int at = 0;
    for (const char *next; (next = cli_each(args, name, &at)) != NULL;) value = next;
    return value;
}

int64_t cli_integer(const cli_args *args, const char *name)
{
    const char *text = cli_text(args, name);
    return text ? strtoll(text, NULL, 10) : 0;
}

double cli_number(const cli_args *args, const char *name)
{
    const char *text = cli_text(args, name);
    return text ? strtod(text, NULL) : 0;
}
