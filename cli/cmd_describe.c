/* SPDX-License-Identifier: MIT
 * attn describe NAME: what a mechanism computes, takes and gives, from its own table. */
#include "cli.h"

#include <string.h>

static const struct {
    uint32_t bit;
    const char *name, *about;
} describe_traits[] = {
    {ATTN_ROWS_SUM_1, "rows_sum_1", "the weights of a row sum to 1"},
    {ATTN_KEY_PERMUTABLE, "key_permutable", "the order of the keys does not matter"},
    {ATTN_SHIFT_INVARIANT, "shift_invariant", "a constant added to all scores changes nothing"},
    {ATTN_LINEAR_IN_V, "linear_in_v", "linear in the values"},
    {ATTN_BATCH_FREE, "batch_free", "each sequence as if it were alone"},
    {ATTN_MASKED_ROW_ZERO, "masked_row_zero", "a row that may see nothing is 0"},
    {ATTN_STREAMS, "streams", "never holds an n x n matrix"},
    {ATTN_CAUSAL, "causal", "what comes later changes nothing before (with causal=true)"},
    {ATTN_STEPS, "steps", "the first rows alone have the same bits"},
};

enum { DESCRIBE_TRAITS = (int)(sizeof describe_traits / sizeof describe_traits[0]) };

static const char *describe_kind(int kind)
{
    return kind & ATTN_OUT ? "output" : kind & ATTN_PARAM ? "weight" : "input";
}

static const char *describe_holds(const attn_slot *s)
{
    return s->kind & ATTN_IDS ? "ids" : s->kind & ATTN_FLAGS ? "flags" : "reals";
}

static const char *describe_type(const attn_param *p)
{
    static const struct {
        char kind;
        const char *name;
    } types[] = {{'f', "number"}, {'i', "integer"}, {'b', "true|false"}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (types[i].kind == p->kind) return types[i].name;
    return p->choices;
}

/* What runs as it stands after `attn`. */
static void describe_example(const attn_mech *m, char *text, size_t n)
{
    if (m->example)
        snprintf(text, n, "%s", m->example);
    else
        snprintf(text, n, "compute %s --random %s", m->name, m->sizes);
}

static const attn_family *describe_family(const attn_mech *m)
{
    const attn_family *family;
    for (int i = 0; (family = attn_family_at(i)) != NULL; i++)
        if (strcmp(family->name, m->family) == 0) return family;
    return NULL;
}

/* Its other names, each with the reason. */
static void describe_aliases(const attn_mech *m)
{
    const attn_alias *alias;
    for (int i = 0; (alias = attn_alias_at(i)) != NULL; i++)
        if (strcmp(alias->of, m->name) == 0)
            printf("Also     %s: %s\n", alias->name, alias->why);
}

static void describe_params(const attn_mech *m)
{
    if (m->params[0].name) puts("\nParameters (-s name=value):");
    for (const attn_param *p = m->params; p->name; p++)
        printf("  %-17s %s [%s]\n  %-17s   %s\n", p->name, p->about, p->fallback, "",
               describe_type(p));
}

static void describe_slots(const attn_mech *m)
{
    puts("\nSlots (a * broadcasts; those in brackets may be left out; d has a gradient):");
    for (const attn_slot *s = m->slots; s->name; s++) {
        bool optional = s->kind & ATTN_OPTIONAL;
        printf("  %c%s%c%*s %-7s %c %-9s %s\n", optional ? '[' : ' ', s->name,
               optional ? ']' : ' ', 12 - (int)snprintf(NULL, 0, "%s", s->name), "",
               describe_kind(s->kind), s->kind & ATTN_GRAD ? 'd' : ' ', s->shape, s->about);
    }
}

static void describe_text(const attn_mech *m)
{
    char example[256];
    describe_example(m, example, sizeof example);
    printf("%s - %s\n\n  %s\n\nFamily   %s (%s)\nCost     %s\nSource   %s\n", m->name, m->about,
           m->formula, m->family, describe_family(m)->branch, m->cost, m->source);
    describe_aliases(m);
    describe_slots(m);
    describe_params(m);
    puts("\nPromises, tested:");
    for (int i = 0; i < DESCRIBE_TRAITS; i++)
        if (m->traits & describe_traits[i].bit) printf("  %s\n", describe_traits[i].about);
    printf("\nTry:\n  attn %s\n", example);
}

static void describe_json_slots(cli_json *json, const attn_mech *m)
{
    cli_json_open(json, "slots", '[');
    for (const attn_slot *s = m->slots; s->name; s++) {
        cli_json_open(json, NULL, '{');
        cli_json_text(json, "name", s->name);
        cli_json_text(json, "kind", describe_kind(s->kind));
        cli_json_bool(json, "optional", s->kind & ATTN_OPTIONAL);
        cli_json_bool(json, "gradient", s->kind & ATTN_GRAD);
        cli_json_text(json, "shape", s->shape);
        cli_json_text(json, "holds", describe_holds(s));
        if (s->below) cli_json_text(json, "below", s->below);
        cli_json_text(json, "about", s->about);
        cli_json_close(json, '}');
    }
    cli_json_close(json, ']');
}

static void describe_json_params(cli_json *json, const attn_mech *m)
{
    cli_json_open(json, "params", '[');
    for (const attn_param *p = m->params; p->name; p++) {
        cli_json_open(json, NULL, '{');
        cli_json_text(json, "name", p->name);
        cli_json_text(json, "type", describe_type(p));
        cli_json_text(json, "default", p->fallback);
        const char letter[2] = {p->letter, 0};
        cli_json_text(json, "letter", p->letter ? letter : NULL);
        cli_json_text(json, "about", p->about);
        cli_json_close(json, '}');
    }
    cli_json_close(json, ']');
}

static void describe_json_aliases(cli_json *json, const attn_mech *m)
{
    const attn_alias *alias;
    cli_json_open(json, "aliases", '[');
    for (int i = 0; (alias = attn_alias_at(i)) != NULL; i++)
        if (strcmp(alias->of, m->name) == 0) cli_json_text(json, NULL, alias->name);
    cli_json_close(json, ']');
}

static void describe_json(const attn_mech *m)
{
    char example[256];
    describe_example(m, example, sizeof example);
    cli_json json = cli_json_begin("describe");
    cli_json_text(&json, "name", m->name);
    cli_json_text(&json, "family", m->family);
    cli_json_text(&json, "branch", describe_family(m)->branch);
    cli_json_text(&json, "about", m->about);
    cli_json_text(&json, "formula", m->formula);
    cli_json_text(&json, "cost", m->cost);
    cli_json_text(&json, "source", m->source);
    cli_json_text(&json, "sizes", m->sizes);
    cli_json_text(&json, "grows", m->grows);
    cli_json_text(&json, "example", example);
    describe_json_aliases(&json, m);
    describe_json_slots(&json, m);
    describe_json_params(&json, m);
    cli_json_open(&json, "traits", '[');
    for (int i = 0; i < DESCRIBE_TRAITS; i++)
        if (m->traits & describe_traits[i].bit)
            cli_json_text(&json, NULL, describe_traits[i].name);
    cli_json_close(&json, ']');
    cli_json_end(&json);
}

static int describe_run(const cli_args *args)
{
    const attn_mech *m = attn_mech_find(args->operands[0]);
    if (!m) return cli_unknown("mechanism", args->operands[0], cli_mech_name, NULL);
    if (cli_flag(args, "json"))
        describe_json(m);
    else
        describe_text(m);
    return 0;
}

static const cli_option describe_options[] = {CLI_LAST};
static const char *const describe_examples[] = {"describe softmax", NULL};

const cli_command cli_command_describe = {
    .name = "describe",
    .operands = "NAME",
    .about = "formula, slots, parameters and promises of a mechanism",
    .complete = "<mechanism>",
    .examples = describe_examples,
    .options = describe_options,
    .least = 1,
    .most = 1,
    .run = describe_run,
};
