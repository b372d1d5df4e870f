/* SPDX-License-Identifier: MIT
 * attn completion SHELL: the tables once more, as a completion script for bash, zsh or fish. */
#include "cli.h"

#include <string.h>

/* Descriptions stand between quotes and brackets in these languages. */
static void completion_plain(const char *text)
{
    for (const char *c = text; *c; c++)
        if (!strchr("'\"[]:`$\\", *c)) putchar(*c);
}

static void completion_names(cli_name_fn name, const char *separator)
{
    const char *word;
    for (int i = 0; (word = name(NULL, i)) != NULL; i++)
        printf("%s%s", i ? separator : "", word);
}

static const char *completion_command_name(const void *unused, int i)
{
    (void)unused;
    const cli_command *c = cli_command_at(i);
    return c ? c->name : NULL;
}

/* The words an operand can be, or nothing when it is a file. */
static void completion_words(const char *complete)
{
    if (strcmp(complete, "<mechanism>") == 0)
        completion_names(cli_mech_name, " ");
    else if (strcmp(complete, "<command>") == 0)
        completion_names(completion_command_name, " ");
    else if (complete[0] != '<')
        fputs(complete, stdout);
}

static bool completion_directory(const cli_command *c)
{
    return strcmp(c->complete, "<directory>") == 0;
}

static bool completion_files(const cli_command *c)
{
    bool words = c->complete[0] && c->complete[0] != '<';
    return completion_directory(c) || (c->most < 0 && !words);
}

/* ---- bash ---------------------------------------------------------------------------- */

static void completion_isa(void)
{
    const char *name;
    for (int i = 0; (name = attn_isa_name(i)) != NULL; i++) printf("%s ", name);
}

static void completion_dtype(void)
{
    fputs("f64 f32 bf16 f16", stdout);
}

/* Many mechanisms share a name: it is offered where the first of them has it. */

static void completion_params(void)
{
    const attn_mech *mech, *before;
    for (int m = 0; (mech = attn_mech_at(m)) != NULL; m++)
        for (const attn_param *p = mech->params; p->name; p++) {
            int first = 0;
            while ((before = attn_mech_at(first)) != mech &&
                   attn_mech_param(before, p->name) < 0)
                first++;
            if (first == m) printf("%s= ", p->name);
        }
}

static void completion_outputs(void)
{
    const attn_mech *mech, *before;
    for (int m = 0; (mech = attn_mech_at(m)) != NULL; m++)
        for (const attn_slot *s = mech->slots; s->name; s++) {
            int first = 0;
            if (!(s->kind & ATTN_OUT)) continue;
            while ((before = attn_mech_at(first)) != mech &&
                   attn_mech_slot(before, s->name) < 0)
                first++;
            if (first == m) printf("%s ", s->name);
        }
}

/* What the value of an option can be; nothing is offered for other ones. */
static const struct {
    const char *option;
    void (*words)(void);
    const char *more; /* shell */
} completion_values[] = {{"isa", completion_isa, ""},
                         {"dtype", completion_dtype, ""},
                         {"want", completion_outputs, ""},
                         {"set", completion_params, "; compopt -o nospace 2> /dev/null"},
                         {"output", NULL, "; files=-f"}};

static void completion_bash_value(const cli_option *o)
{
    fputs("        ", stdout);
    if (o->letter) printf("-%c | ", o->letter);
    printf("--%s) words=\"", o->name);
    const char *more = "";
    for (size_t i = 0; i < sizeof completion_values / sizeof completion_values[0]; i++) {
        if (strcmp(completion_values[i].option, o->name) != 0) continue;
        if (completion_values[i].words) completion_values[i].words();
        more = completion_values[i].more;
    }
    printf("\"%s ;;\n", more);
}

static void completion_bash_command(const cli_command *c)
{
    printf("    %s)\n        options=\"", c->name);
    for (const cli_option *o = c->options; o->name; o++) printf("--%s ", o->name);
    puts("\"\n        case $before in");
    for (const cli_option *o = c->options; o->name; o++)
        if (o->value) completion_bash_value(o);
    fputs("        *) words=\"", stdout);
    completion_words(c->complete);
    const char *files = completion_directory(c) ? "-d" : completion_files(c) ? "-f" : "";
    printf("\"; files=%s ;;\n        esac ;;\n", files);
}
static void completion_bash(void)
{
    puts("# bash completion for attn\n"
         "_attn()\n"
         "{\n"
         "    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
         "    local options=\"\" words=\"\" files=\"\"\n"
         "    if [ \"$COMP_CWORD\" -eq 1 ]; then");
    fputs("        COMPREPLY=($(compgen -W \"", stdout);
    completion_names(completion_command_name, " ");
    puts("\" -- \"$current\"))\n"
         "        return\n"
         "    fi\n"
         "    case ${COMP_WORDS[1]} in");
    const cli_command *c;
    for (int i = 0; (c = cli_command_at(i)) != NULL; i++) completion_bash_command(c);
    puts("    esac\n"
         "    [[ $current == -* ]] && words=$options files=\"\"\n"
         "    COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
         "    [ -z \"$files\" ] ||\n"
         "        mapfile -t -O ${#COMPREPLY[@]} COMPREPLY "
         "< <(compgen $files -- \"$current\")\n"
         "}\n"
         "complete -o filenames -F _attn attn");
}

/* ---- zsh ----------------------------------------------------------------------------- */

static void completion_zsh_option(const cli_option *o)
{
    fputs(" \\\n            '", stdout);
    if (o->kind == 'm') putchar('*');
    printf("--%s[", o->name);
    completion_plain(o->about);
    putchar(']');
    if (o->value) printf(":%s:_files", o->value);
    putchar('\'');
}

static void completion_zsh_command(const cli_command *c)
{
    printf("        %s) _arguments", c->name);
    for (const cli_option *o = c->options; o->name; o++) completion_zsh_option(o);
    if (c->complete[0]) {
        fputs(" \\\n            '1:operand:(", stdout);
        completion_words(c->complete);
        fputs(")'", stdout);
    }
    if (completion_files(c)) fputs(" \\\n            '*:file:_files'", stdout);
    puts(" ;;");
}

static void completion_zsh(void)
{
    puts("#compdef attn\n"
         "_attn()\n"
         "{\n"
         "    local -a commands\n"
         "    commands=(");
    const cli_command *c;
    for (int i = 0; (c = cli_command_at(i)) != NULL; i++) {
        printf("        '%s:", c->name);
        completion_plain(c->about);
        puts("'");
    }
    puts("    )\n"
         "    if (( CURRENT == 2 )); then\n"
         "        _describe command commands\n"
         "        return\n"
         "    fi\n"
         "    shift words\n"
         "    (( CURRENT-- ))\n"
         "    case $words[1] in");
    for (int i = 0; (c = cli_command_at(i)) != NULL; i++) completion_zsh_command(c);
    puts("    esac\n"
         "}\n"
         "_attn \"$@\"");
}

/* ---- fish ---------------------------------------------------------------------------- */

static void completion_fish_line(const cli_command *c, const char *kind, const char *word,
                                 const char *about)
{
    printf("complete -c attn -n '__fish_seen_subcommand_from %s' %s '%s'", c->name, kind, word);
    if (about) {
        fputs(" -d '", stdout);
        completion_plain(about);
        putchar('\'');
    }
    putchar('\n');
}

static void completion_fish_command(const cli_command *c)
{
    for (const cli_option *o = c->options; o->name; o++)
        completion_fish_line(c, o->value ? "-r -l" : "-l", o->name, o->about);
    if (!c->complete[0] || c->complete[0] == '<') {
        if (strcmp(c->complete, "<mechanism>") != 0 && strcmp(c->complete, "<command>") != 0)
            return;
    }
    printf("complete -c attn -n '__fish_seen_subcommand_from %s' -a '", c->name);
    completion_words(c->complete);
    puts("'");
}

static void completion_fish(void)
{
    puts("# fish completion for attn");
    const cli_command *c;
    for (int i = 0; (c = cli_command_at(i)) != NULL; i++) {
        printf("complete -c attn -n __fish_use_subcommand -f -a %s -d '", c->name);
        completion_plain(c->about);
        puts("'");
    }
    for (int i = 0; (c = cli_command_at(i)) != NULL; i++) completion_fish_command(c);
}

/* ---- the command --------------------------------------------------------------------- */

static const struct completion_shell {
    const char *name;
    void (*write)(void);
} completion_shells[] = {
    {"bash", completion_bash}, {"zsh", completion_zsh}, {"fish", completion_fish}};

enum { COMPLETION_SHELLS = (int)(sizeof completion_shells / sizeof completion_shells[0]) };

static const char *completion_shell_name(const void *unused, int i)
{
    (void)unused;
    return i < COMPLETION_SHELLS ? completion_shells[i].name : NULL;
}

static int completion_run(const cli_args *args)
{
    for (int i = 0; i < COMPLETION_SHELLS; i++)
        if (strcmp(args->operands[0], completion_shells[i].name) == 0) {
            completion_shells[i].write();
            return 0;
        }
    return cli_unknown("shell", args->operands[0], completion_shell_name, NULL);
}

static const cli_option completion_options[] = {CLI_LAST};
static const char *const completion_examples[] = {
    "completion bash > ~/.local/share/bash-completion/completions/attn",
    "completion fish > ~/.config/fish/completions/attn.fish", NULL};

const cli_command cli_command_completion = {
    .name = "completion",
    .operands = "SHELL",
    .about = "a completion script for bash, zsh or fish",
    .complete = "bash zsh fish",
    .examples = completion_examples,
    .options = completion_options,
    .least = 1,
    .most = 1,
    .run = completion_run,
};
