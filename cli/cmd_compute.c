/* SPDX-License-Identifier: MIT
 * attn compute: applies a mechanism to tensors in files. The slot and parameter tables of the
 * mechanism do all the talking; this file only carries tensors to and fro. */
#include "compute.h"

#include <stdlib.h>
#include <string.h>

static int compute_params(compute_set *set, const cli_args *args)
{
    attn_mech_defaults(set->mech, set->params);
    int at = 0;
    for (const char *text; (text = cli_each(args, "set", &at)) != NULL;) {
        char name[64] = "";
        size_t n = strcspn(text, "=");
        if (!text[n] || n >= sizeof name)
            return cli_fail(CLI_USAGE, "'%s' is not of the form NAME=VALUE.", text);
        memcpy(name, text, n);
        int i = attn_mech_param(set->mech, name);
        if (i < 0) return cli_unknown("parameter", name, cli_param_name, set->mech);
        const char *choices = set->mech->params[i].choices;
        attn_error error;
        if (attn_mech_set(set->mech, set->params, name, text + n + 1, &error) == ATTN_OK)
            continue;
        return choices ? cli_fail(CLI_USAGE, "%s must be one of %s, not '%s'.", name, choices,
                                  text + n + 1)
                       : cli_fail_error(NULL, &error);
    }
    return 0;
}

static int compute_want(compute_set *set, const cli_args *args)
{
    for (int i = 0; set->mech->slots[i].name; i++) {
        int kind = set->mech->slots[i].kind;
        set->wanted[i] = (kind & ATTN_OUT) && !(kind & ATTN_OPTIONAL);
    }
    const char *list = cli_text(args, "want");
    while (list && *list) {
        char name[64] = "";
        size_t n = strcspn(list, ",");
        memcpy(name, list, n < sizeof name ? n : sizeof name - 1);
        int i = attn_mech_slot(set->mech, name);
        if (i < 0) return cli_unknown("output", name, cli_slot_name, set->mech);
        if (!(set->mech->slots[i].kind & ATTN_OUT))
            return cli_fail(CLI_USAGE, "'%s' is an input of %s, not an output.", name,
                            set->mech->name);
        set->wanted[i] = true;
        list += n + (list[n] == ',');
    }
    return compute_check_outputs(set, args);
}

static int compute_inputs(compute_set *set, const cli_args *args)
{
    for (int i = 1; i < args->n_operands; i++) {
        int code = compute_load(set, args->operands[i], cli_flag(args, "extra-ok"));
        if (code) return code;
    }
    const char *random = cli_text(args, "random");
    if (!random) return 0;
    cli_sizes sizes;
    cli_sizes_init(&sizes);
    int code = cli_sizes_parse(&sizes, random);
    if (code) return code;
    for (int i = 0; set->mech->slots[i].name; i++) set->owned[i] = !set->from[i];
    bool filled =
        cli_slots_fill(set->mech, &sizes, (uint64_t)cli_integer(args, "seed"), set->slots);
    return filled ? 0 : cli_fail(CLI_LIMIT, "not enough memory for the random inputs.");
}

/* The library names a slot; the user knows files, or the sizes of --random. */
static int compute_refuse(const compute_set *set, const attn_error *error)
{
    int i = attn_mech_slot(set->mech, error->where ? error->where : "");
    const char *file = i >= 0 ? set->from[i] : NULL;
    int code = cli_fail_error(file, error);
    return code == CLI_FILE && i >= 0 && !file ? CLI_USAGE : code;
}

static int compute_missing(const compute_set *set)
{
    for (int i = 0; set->mech->slots[i].name; i++) {
        const attn_slot *s = &set->mech->slots[i];
        if ((s->kind & (ATTN_OUT | ATTN_OPTIONAL)) || set->slots[i].dtype != ATTN_DTYPE_NONE)
            continue;
        return cli_fail(CLI_USAGE,
                        "%s needs '%s' (%s: %s); give a file that holds it, or %s=FILE.",
                        set->mech->name, s->name, s->shape, s->about, s->name);
    }
    return 0;
}

static int compute_allocate(compute_set *set, attn_dtype dtype)
{
    for (int i = 0; set->mech->slots[i].name; i++) {
        if (!set->wanted[i]) continue;
        int rank;
        int64_t shape[ATTN_MAX_RANK];
        attn_error error;
        if (attn_mech_shape(set->mech, set->slots, i, &rank, shape, &error) != ATTN_OK)
            return compute_refuse(set, &error);
        attn_tensor t = cli_array_new(dtype, rank, shape);
        if (!t.data)
            return cli_fail(CLI_LIMIT, "not enough memory for '%s'.", set->mech->slots[i].name);
        set->slots[i] = t;
        set->owned[i] = true;
    }
    return 0;
}

static void compute_print_json(const compute_set *set, const cli_args *args, double seconds)
{
    bool saved = cli_text(args, "output") != NULL;
    cli_json json = cli_json_begin("compute");
    cli_json_text(&json, "mechanism", set->mech->name);
    cli_json_number(&json, "seconds", seconds);
    cli_json_open(&json, "outputs", '[');
    for (int i = 0; set->mech->slots[i].name; i++) {
        if (!set->wanted[i]) continue;
        const attn_tensor *t = &set->slots[i];
        cli_json_open(&json, NULL, '{');
        cli_json_text(&json, "name", set->mech->slots[i].name);
        cli_json_text(&json, "dtype", attn_dtype_name(t->dtype));
        cli_json_open(&json, "shape", '[');
        for (int d = 0; d < t->rank; d++) cli_json_integer(&json, NULL, t->shape[d]);
        cli_json_close(&json, ']');
        if (!saved) compute_show_json(&json, *t);
        cli_json_close(&json, '}');
    }
    cli_json_close(&json, ']');
    cli_json_end(&json);
}

static int compute_finish(const compute_set *set, const cli_args *args, double seconds)
{
    int code = compute_save(set, args);
    if (code) return code;
    if (cli_flag(args, "json")) {
        compute_print_json(set, args, seconds);
        return 0;
    }
    if (cli_text(args, "output")) return 0;
    for (int i = 0; set->mech->slots[i].name; i++)
        if (set->wanted[i]) compute_show(set->mech->slots[i].name, set->slots[i]);
    return 0;
}

static int compute_prepare(compute_set *set, const cli_args *args)
{
    attn_dtype dtype;
    int code = cli_dtype(args, &dtype);
    if (!code) code = compute_params(set, args);
    if (!code) code = compute_want(set, args);
    if (!code) code = compute_inputs(set, args);
    if (!code) code = compute_missing(set);
    return code ? code : compute_allocate(set, dtype);
}

static int compute_go(compute_set *set, const cli_args *args, attn_ctx *ctx)
{
    int code = compute_prepare(set, args);
    if (code) return code;
    attn_error error;
    double begin = cli_seconds();
    if (attn_mech_run(ctx, set->mech, set->slots, set->params, &error) != ATTN_OK)
        return compute_refuse(set, &error);
    return compute_finish(set, args, cli_seconds() - begin);
}

static int compute_run(const cli_args *args)
{
    const attn_mech *mech = attn_mech_find(args->operands[0]);
    if (!mech) return cli_unknown("mechanism", args->operands[0], cli_mech_name, NULL);
    if (cli_flag(args, "grad"))
        return cli_fail(CLI_UNSUPPORTED,
                        "--grad: gradients are not available in this version.");
    compute_set *set = calloc(1, sizeof *set);
    if (!set) return cli_fail(CLI_LIMIT, "out of memory.");
    set->mech = mech;
    attn_ctx *ctx;
    int code = cli_context(args, &ctx);
    if (!code) code = compute_go(set, args, ctx);
    attn_ctx_destroy(ctx);
    for (int i = 0; mech->slots[i].name; i++)
        if (set->owned[i]) cli_array_free(&set->slots[i]);
    for (int i = 0; i < set->n_archives; i++) attn_archive_destroy(set->archives[i]);
    free(set);
    return code;
}

static const cli_option compute_options[] = {
    {"set", 's', 'm', "NAME=VALUE", NULL, "set a parameter, see 'attn describe NAME'"},
    {"output", 'o', 'm', "FILE", NULL, "where outputs go: .npz, .safetensors, SLOT=FILE.npy"},
    {"want", 0, 's', "LIST", NULL, "optional outputs as well, for example lse,weights"},
    CLI_DTYPE,
    CLI_THREADS,
    CLI_ISA,
    {"random", 0, 's', "SIZES", NULL, "random numbers for inputs not given: B=1,H=2,T=8"},
    {"seed", 0, 'i', "N", "0", "of the random numbers"},
    {"compress", 0, 'b', NULL, NULL, "compress .npz files"},
    {"extra-ok", 0, 'b', NULL, NULL, "ignore tensors that are no slot"},
    {"grad", 0, 'b', NULL, NULL, "gradients (not available in this version)"},
    CLI_LAST};
static const char *const compute_examples[] = {
    "compute softmax --random T=6,S=6 -s causal=true",
    "compute softmax qkv.npz -s causal=true -o out.npz",
    "compute softmax q=q.npy k=k.npy v=v.npy --want lse -o result.safetensors", NULL};

const cli_command cli_command_compute = {
    .name = "compute",
    .operands = "NAME [IN...]",
    .about = "apply a mechanism to tensors in files",
    .details = "IN is a .npz or .safetensors file whose tensors are named as the slots, or\n"
               "SLOT=FILE for one tensor. Without -o the outputs are printed. A file that is\n"
               "written appears whole or not at all.\n",
    .complete = "<mechanism>",
    .examples = compute_examples,
    .options = compute_options,
    .least = 1,
    .most = -1,
    .run = compute_run,
};
