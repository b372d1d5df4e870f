/* SPDX-License-Identifier: MIT
 * attn compute: applies a mechanism to tensors in files. The slot and parameter tables of the
 * mechanism do all the talking; this file only carries tensors to and fro. */
#include "compute.h"

#include <stdlib.h>
#include <string.h>

static int compute_params(compute_set *set, const cli_args *args)
{
    (void)attn_mech_defaults_of(args->operands[0], set->params, NULL); /* it was found */
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
        int i = compute_entry(set, name);
        if (i < 0) return compute_unknown(set, "output", name);
        if (!compute_output(set, i))
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
    set->random = true;
    cli_sizes_init(&sizes, set->mech);
    int code = cli_sizes_parse(&sizes, random);
    if (code) return code;
    for (int i = 0; set->mech->slots[i].name; i++) set->owned[i] = !set->from[i];
    bool filled =
        cli_slots_fill(set->mech, &sizes, (uint64_t)cli_integer(args, "seed"), set->slots);
    return filled ? 0 : cli_fail(CLI_LIMIT, "not enough memory for the random inputs.");
}

/* The library names a slot; the user knows files, or the sizes of --random. Of an output it is
 * the gradient that came from a file. */
static int compute_refuse(const compute_set *set, const attn_error *error)
{
    int i = compute_entry(set, error->where ? error->where : "");
    const char *file = i >= 0 ? set->from[i] : NULL;
    const int gradient = i < ATTN_MAX_SLOTS ? i + ATTN_MAX_SLOTS : i;
    if (i >= 0 && !file && cli_exit_of(error->status) == CLI_FILE) file = set->from[gradient];
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

/* A new tensor for entry i: of the shape of its slot. */
static int compute_allocate(compute_set *set, int i, attn_dtype dtype)
{
    int rank;
    int64_t shape[ATTN_MAX_RANK];
    attn_error error;
    const attn_tensor *slot = &set->slots[i % ATTN_MAX_SLOTS];
    if (slot->dtype != ATTN_DTYPE_NONE) {
        rank = slot->rank;
        memcpy(shape, slot->shape, sizeof shape);
    } else if (attn_mech_shape(set->mech, set->slots, set->params, i % ATTN_MAX_SLOTS, &rank,
                               shape, &error) != ATTN_OK) {
        return compute_refuse(set, &error);
    }
    set->slots[i] = cli_array_new(dtype, rank, shape);
    if (!set->slots[i].data)
        return cli_fail(CLI_LIMIT, "not enough memory for '%s'.", set->names[i]);
    set->owned[i] = true;
    return 0;
}

static int compute_first_output(const compute_set *set)
{
    int i = 0;
    while (!(set->mech->slots[i].kind & ATTN_OUT)) i++;
    return i;
}

static bool compute_float(const attn_tensor *t)
{
    return t->dtype == ATTN_DTYPE_F64 || t->dtype == ATTN_DTYPE_F32 ||
           t->dtype == ATTN_DTYPE_BF16 || t->dtype == ATTN_DTYPE_F16;
}

/* Gradients go out for every input that holds floats; entry i is one of those. */
static int compute_ask(compute_set *set, int i)
{
    const bool floats = compute_float(&set->slots[i - ATTN_MAX_SLOTS]);
    if (set->wanted[i] && !floats)
        return cli_fail(CLI_USAGE, "'%s' is asked for, but no '%s' of floats is given.",
                        set->names[i], compute_slot(set, i)->name);
    set->wanted[i] = floats;
    return 0;
}

/* Gradients of outputs come in. With --random those of the required outputs come from there
 * too. */
static int compute_gradients(compute_set *set, const cli_args *args, attn_dtype dtype)
{
    const uint64_t seed = (uint64_t)cli_integer(args, "seed");
    bool any = false;
    int code = 0;
    for (int i = ATTN_MAX_SLOTS; !code && i < COMPUTE_ENTRIES; i++) {
        if (!set->names[i][0]) continue;
        const int kind = compute_slot(set, i)->kind;
        if (compute_output(set, i)) {
            code = compute_ask(set, i);
        } else if (!set->from[i] && set->random && !(kind & ATTN_OPTIONAL)) {
            code = compute_allocate(set, i, ATTN_DTYPE_F32);
            if (!code) cli_array_normal(set->slots[i], seed * COMPUTE_ENTRIES + (uint64_t)i);
        }
        any = any || (!compute_output(set, i) && set->slots[i].dtype != ATTN_DTYPE_NONE);
        if (!code && set->wanted[i]) code = compute_allocate(set, i, dtype);
    }
    if (code || any) return code;
    return cli_fail(CLI_USAGE, "--grad needs the gradient of an output, for example 'd_%s'.",
                    set->mech->slots[compute_first_output(set)].name);
}

/* Flags and indices have a type of their own, whatever was asked for. */
static int compute_outputs(compute_set *set, attn_dtype dtype)
{
    int code = 0;
    for (int i = 0; !code && i < ATTN_MAX_SLOTS; i++) {
        if (!set->wanted[i]) continue;
        const int kind = set->mech->slots[i].kind;
        code = compute_allocate(set, i,
                                kind & ATTN_FLAGS ? ATTN_DTYPE_BOOL
                                : kind & ATTN_IDS ? ATTN_DTYPE_I64
                                                  : dtype);
    }
    return code;
}

static void compute_print_json(const compute_set *set, const cli_args *args, double seconds)
{
    bool saved = cli_text(args, "output") != NULL;
    cli_json json = cli_json_begin("compute");
    cli_json_text(&json, "mechanism", set->mech->name);
    cli_json_number(&json, "seconds", seconds);
    cli_json_open(&json, "outputs", '[');
    for (int i = 0; i < COMPUTE_ENTRIES; i++) {
        if (!set->wanted[i]) continue;
        const attn_tensor *t = &set->slots[i];
        cli_json_open(&json, NULL, '{');
        cli_json_text(&json, "name", set->names[i]);
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
    for (int i = 0; i < COMPUTE_ENTRIES; i++)
        if (set->wanted[i]) compute_show(set->names[i], set->slots[i]);
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
    if (!code) code = compute_outputs(set, dtype);
    return code || !set->grad ? code : compute_gradients(set, args, dtype);
}

static int compute_go(compute_set *set, const cli_args *args, attn_ctx *ctx)
{
    int code = compute_prepare(set, args);
    if (code) return code;
    attn_error error;
    double begin = cli_seconds();
    const attn_status status =
        set->grad ? attn_mech_run_grad(ctx, set->mech, set->slots, set->slots + ATTN_MAX_SLOTS,
                                       set->params, &error)
                  : attn_mech_run(ctx, set->mech, set->slots, set->params, &error);
    if (status != ATTN_OK) return compute_refuse(set, &error);
    return compute_finish(set, args, cli_seconds() - begin);
}

static int compute_run(const cli_args *args)
{
    const attn_mech *mech = attn_mech_find(args->operands[0]);
    if (!mech) return cli_unknown("mechanism", args->operands[0], cli_mech_name, NULL);
    compute_set *set = calloc(1, sizeof *set);
    if (!set) return cli_fail(CLI_LIMIT, "out of memory.");
    set->mech = mech;
    set->grad = cli_flag(args, "grad");
    compute_entries(set);
    attn_ctx *ctx;
    int code = cli_context(args, &ctx);
    if (!code) code = compute_go(set, args, ctx);
    attn_ctx_destroy(ctx);
    for (int i = 0; i < COMPUTE_ENTRIES; i++)
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
    {"grad", 0, 'b', NULL, NULL, "d_<output> in, d_<slot> out for every input of floats"},
    CLI_LAST};
static const char *const compute_examples[] = {
    "compute softmax --random T=6,S=6 -s causal=true",
    "compute softmax qkv.npz -s causal=true -o out.npz",
    "compute softmax q=q.npy k=k.npy v=v.npy --want lse -o result.safetensors",
    "compute softmax qkv.npz d_out=d_out.npy --grad -o gradients.npz", NULL};

const cli_command cli_command_compute = {
    .name = "compute",
    .operands = "NAME [IN...]",
    .about = "apply a mechanism to tensors in files",
    .details =
        "IN is a .npz or .safetensors file whose tensors are named as the slots, or\n"
        "SLOT=FILE for one tensor. Without -o the outputs are printed. A file that is\n"
        "written appears whole or not at all. With --grad, IN also holds d_<output>, the\n"
        "gradient of a number by that output, and d_<slot> comes out for each input.\n",
    .complete = "<mechanism>",
    .examples = compute_examples,
    .options = compute_options,
    .least = 1,
    .most = -1,
    .run = compute_run,
};
