/* SPDX-License-Identifier: MIT
 * The manual page attn(1), written in mdoc from the same tables as the help. */
#include "cli.h"

#include <string.h>

#define MAN_DATE "November 20, 2026"

/* Plain text inside a macro line or a paragraph: a backslash is special anywhere, a dot or a
 * quote only at the beginning of a line. */
static void man_text(FILE *to, const char *text)
{
    bool start = true;
    for (const char *c = text; *c; c++) {
        if (start && (*c == '.' || *c == '\'')) fputs("\\&", to);
        if (*c == '\\')
            fputs("\\e", to);
        else if (*c == '"')
            fputs("\\(dq", to);
        else
            fputc(*c, to);
        start = *c == '\n';
    }
}

static void man_option(FILE *to, const cli_option *o)
{
    fputs(".It ", to);
    if (o->letter) fprintf(to, "Fl %c , ", o->letter);
    fprintf(to, "Fl \\-%s", o->name);
    if (o->value) fprintf(to, " Ar %s", o->value);
    fputc('\n', to);
    man_text(to, o->about);
    fputs(".\n", to);
    if (!o->fallback) return;
    fputs("Default: ", to);
    man_text(to, o->fallback);
    fputs(".\n", to);
}

static void man_details(FILE *to, const char *details)
{
    if (!details) return;
    fputs(".Bd -literal\n", to);
    man_text(to, details);
    fputs(".Ed\n", to);
}

static void man_command(FILE *to, const cli_command *c)
{
    fprintf(to, ".Ss attn %s Op Ar options%s%s\n", c->name, c->operands[0] ? " Ar " : "",
            c->operands);
    man_text(to, c->about);
    fputs(".\n", to);
    man_details(to, c->details);
    fputs(".Bl -tag -width Ds\n", to);
    for (const cli_option *o = c->options; o->name; o++) man_option(to, o);
    fputs(".El\n", to);
}

static void man_head(FILE *to)
{
    fputs(".Dd " MAN_DATE "\n.Dt ATTN 1\n.Os\n"
          ".Sh NAME\n.Nm attn\n.Nd exact attention, fast on any CPU\n"
          ".Sh SYNOPSIS\n.Nm\n.Ar command\n.Op Ar options\n.Op Ar operands\n"
          ".Sh DESCRIPTION\n"
          "The result goes to standard output, everything else to standard error.\n"
          "Nothing is ever fetched from a network.\n"
          "Options and operands mix in any order;\n.Fl \\-\nends the options.\n"
          ".Sh COMMANDS\n",
          to);
}

static void man_examples(FILE *to)
{
    fputs(".Sh EXAMPLES\n.Bd -literal\n", to);
    const cli_command *c;
    for (int i = 0; (c = cli_command_at(i)) != NULL; i++)
        for (const char *const *e = c->examples; *e; e++) {
            fputs("attn ", to);
            man_text(to, *e);
            fputc('\n', to);
        }
    fputs(".Ed\n", to);
}

void cli_man(FILE *to)
{
    man_head(to);
    const cli_command *c;
    for (int i = 0; (c = cli_command_at(i)) != NULL; i++) man_command(to, c);
    fputs(".Sh ENVIRONMENT\n.Bl -tag -width Ds\n"
          ".It Ev ATTN_ISA\nThe strongest kernel table that may be used, see\n.Nm Cm info .\n"
          ".It Ev NO_COLOR\nWhen set and not empty, no colours.\n.El\n"
          ".Sh EXIT STATUS\n.Bl -tag -width Ds\n",
          to);
    for (const cli_exit_row *e = cli_exits(); e->about; e++)
        fprintf(to, ".It %d\n%s.\n", e->code, e->about);
    fputs(".El\n", to);
    man_examples(to);
}
