/* SPDX-License-Identifier: MIT
 * Help in three lengths: all commands, one command, and the six lines for a call that lacks its
 * operands. Everything comes from the tables. */
#include "cli.h"

#include <string.h>

void cli_overview(FILE *to)
{
    fprintf(to, "attn - exact attention, fast on any CPU (version %s)\n\n", attn_version());
    const cli_command *c;
    for (int i = 0; (c = cli_command_at(i)) != NULL; i++)
        fprintf(to, "  attn %-12s %s\n", c->name, c->about);
    fputs("\nTry:\n", to);
    static const char *const first[] = {"compute", "describe", "bench"};
    for (size_t i = 0; i < sizeof first / sizeof first[0]; i++)
        fprintf(to, "  attn %s\n", cli_command_find(first[i])->examples[0]);
    fputs("\nHelp: 'attn help COMMAND'.  Mechanisms: 'attn list'.\n", to);
}

void cli_option_text(const cli_option *o, char *text, size_t n)
{
    char letter[8] = "    ";
    if (o->letter) snprintf(letter, sizeof letter, "-%c, ", o->letter);
    snprintf(text, n, "%s--%s%s%s", letter, o->name, o->value ? " " : "",
             o->value ? o->value : "");
}

static void help_synopsis(const cli_command *c, FILE *to)
{
    fprintf(to, "usage: attn %s [options]%s%s\n", c->name, c->operands[0] ? " " : "",
            c->operands);
}

void cli_usage(const cli_command *c, FILE *to)
{
    help_synopsis(c, to);
    fprintf(to, "\n%s\n  attn %s\n\nOptions: 'attn help %s'.\n", c->about, c->examples[0],
            c->name);
}

static void help_option(const cli_option *o, FILE *to)
{
    char text[64];
    cli_option_text(o, text, sizeof text);
    fprintf(to, "  %-26s %s", text, o->about);
    if (o->fallback) fprintf(to, " [%s]", o->fallback);
    fputc('\n', to);
}

void cli_help(const cli_command *c, FILE *to)
{
    help_synopsis(c, to);
    fprintf(to, "\n%s\n", c->about);
    if (c->details) fprintf(to, "\n%s", c->details);
    fputs("\nOptions:\n", to);
    for (const cli_option *o = c->options; o->name; o++) help_option(o, to);
    fputs("\nExamples:\n", to);
    for (const char *const *e = c->examples; *e; e++) fprintf(to, "  attn %s\n", *e);
}
