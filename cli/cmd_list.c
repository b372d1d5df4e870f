/* SPDX-License-Identifier: MIT
 * attn list: every mechanism, by family in the order of the tree: what it costs, whether it
 * streams, and its formula. */
#include "cli.h"

#include <string.h>

/* The cost begins with its class: "n^2: time T S (D + E)". */
static int list_class(const attn_mech *m)
{
    return (int)strcspn(m->cost, ":");
}

static void list_json(const attn_mech *m, const attn_family *family)
{
    char class[64];
    snprintf(class, sizeof class, "%.*s", list_class(m), m->cost);
    cli_json json = cli_json_begin("list");
    cli_json_text(&json, "name", m->name);
    cli_json_text(&json, "family", m->family);
    cli_json_text(&json, "branch", family->branch);
    cli_json_text(&json, "about", m->about);
    cli_json_text(&json, "formula", m->formula);
    cli_json_text(&json, "class", class);
    cli_json_bool(&json, "streams", m->traits & ATTN_STREAMS);
    cli_json_text(&json, "source", m->source);
    cli_json_end(&json);
}

static void list_aliases(const char *of)
{
    const attn_alias *alias;
    for (int i = 0; (alias = attn_alias_at(i)) != NULL; i++)
        if (strcmp(alias->of, of) == 0)
            printf("    %-22s alias of %s: %s\n", alias->name, of, alias->why);
}

static void list_line(const attn_mech *m)
{
    printf("  %-24s %-10.*s %-8s %s\n", m->name, list_class(m), m->cost,
           m->traits & ATTN_STREAMS ? "streams" : "", m->formula);
    list_aliases(m->name);
}

static void list_family(const attn_family *family, bool json)
{
    bool any = false;
    const attn_mech *m;
    for (int i = 0; (m = attn_mech_at(i)) != NULL; i++) {
        if (strcmp(m->family, family->name) != 0) continue;
        if (!json && !any) printf("%s - %s: %s\n", family->branch, family->name, family->about);
        any = true;
        if (json)
            list_json(m, family);
        else
            list_line(m);
    }
}

static int list_run(const cli_args *args)
{
    const attn_family *family;
    for (int i = 0; (family = attn_family_at(i)) != NULL; i++)
        list_family(family, cli_flag(args, "json"));
    return 0;
}

static const cli_option list_options[] = {CLI_LAST};
static const char *const list_examples[] = {"list", "list --json", NULL};

const cli_command cli_command_list = {
    .name = "list",
    .operands = "",
    .about = "every mechanism, by family: cost, streaming, formula",
    .complete = "",
    .examples = list_examples,
    .options = list_options,
    .run = list_run,
};
