/* SPDX-License-Identifier: MIT
 * attn list: every mechanism, by family, one line each. */
#include "cli.h"

#include <string.h>

static void list_json(const attn_mech *m)
{
    cli_json json = cli_json_begin("list");
    cli_json_text(&json, "name", m->name);
    cli_json_text(&json, "family", m->family);
    cli_json_text(&json, "about", m->about);
    cli_json_text(&json, "formula", m->formula);
    cli_json_text(&json, "source", m->source);
    cli_json_end(&json);
}

static bool list_family_seen(int before, const char *family)
{
    for (int i = 0; i < before; i++)
        if (strcmp(attn_mech_at(i)->family, family) == 0) return true;
    return false;
}

static void list_family(int from)
{
    const char *family = attn_mech_at(from)->family;
    printf("%s\n", family);
    for (int i = from; i < attn_mech_count(); i++) {
        const attn_mech *m = attn_mech_at(i);
        if (strcmp(m->family, family) == 0) printf("  %-20s %s\n", m->name, m->about);
    }
}

static int list_run(const cli_args *args)
{
    bool json = cli_flag(args, "json");
    for (int i = 0; i < attn_mech_count(); i++) {
        if (json)
            list_json(attn_mech_at(i));
        else if (!list_family_seen(i, attn_mech_at(i)->family))
            list_family(i);
    }
    return 0;
}

static const cli_option list_options[] = {CLI_LAST};
static const char *const list_examples[] = {"list", "list --json", NULL};

const cli_command cli_command_list = {
    .name = "list",
    .operands = "",
    .about = "every mechanism, by family",
    .complete = "",
    .examples = list_examples,
    .options = list_options,
    .run = list_run,
};
