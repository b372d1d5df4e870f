/* SPDX-License-Identifier: MIT
 * attn verify: checks this build on this machine in about two seconds: recorded values and
 * promises, for every mechanism and every kernel table that serves here. */
#include "verify.h"

#include <math.h>
#include <string.h>

/* ---- one problem --------------------------------------------------------------------- */

int verify_output(const attn_mech *mech)
{
    int i = 0;
    while (!(mech->slots[i].kind & ATTN_OUT)) i++;
    return i;
}

attn_tensor verify_new_output(const verify_problem *p)
{
    int rank;
    int64_t shape[ATTN_MAX_RANK];
    int out = verify_output(p->mech);
    if (attn_mech_shape(p->mech, p->slots, p->params, out, &rank, shape, NULL) != ATTN_OK)
        return (attn_tensor){0};
    return cli_array_new(ATTN_DTYPE_F32, rank, shape);
}

/* Sizes of the problem for engines, which take any: primes, and heads in groups. */
static const struct {
    char letter;
    int64_t size;
} verify_odd[] = {{'H', 4}, {'G', 2}, {'T', 19}, {'S', 37}, {'D', 24}, {'E', 20}};

bool verify_init(verify_problem *p, const attn_mech *mech)
{
    *p = (verify_problem){.mech = mech};
    attn_mech_defaults(mech, p->params);
    cli_sizes sizes;
    cli_sizes_init(&sizes, mech);
    sizes.of['B' - 'A'] = 2;
    for (size_t i = 0; mech->run && i < sizeof verify_odd / sizeof verify_odd[0]; i++)
        sizes.of[verify_odd[i].letter - 'A'] = verify_odd[i].size;
    return cli_slots_fill(mech, &sizes, 42, p->slots);
}

void verify_destroy(verify_problem *p)
{
    for (int i = 0; p->mech->slots[i].name; i++) cli_array_free(&p->slots[i]);
}

bool verify_run(const verify_problem *p, attn_ctx *ctx, attn_tensor out)
{
    attn_tensor slots[ATTN_MAX_SLOTS];
    memcpy(slots, p->slots, sizeof slots);
    slots[verify_output(p->mech)] = out;
    return attn_mech_run(ctx, p->mech, slots, p->params, NULL) == ATTN_OK;
}

bool verify_set(verify_problem *p, const char *params)
{
    for (const char *at = params; *at;) {
        char name[32] = "", value[32] = "";
        if (sscanf(at, "%31[^=]=%31[^ ]", name, value) != 2) return false;
        if (attn_mech_set(p->mech, p->params, name, value, NULL) != ATTN_OK) return false;
        at += strcspn(at, " ");
        at += *at == ' ';
    }
    return true;
}

double verify_difference(attn_tensor a, attn_tensor b)
{
    double worst = 0, most = 1;
    int64_t n = attn_tensor_count(a);
    for (int64_t i = 0; i < n; i++) {
        const double x = cli_array_get(a, i), y = cli_array_get(b, i), error = fabs(x - y);
        if (!(error <= worst)) worst = isnan(error) ? HUGE_VAL : error;
        most = fmax(most, fabs(y));
    }
    return worst / most;
}

bool verify_same_bits(attn_tensor a, attn_tensor b)
{
    int64_t n = attn_tensor_count(a);
    if (n != attn_tensor_count(b)) return false;
    return memcmp(a.data, b.data, (size_t)n * attn_dtype_size(a.dtype)) == 0;
}

/* ---- all of them --------------------------------------------------------------------- */

typedef struct verify {
    bool json;
    int passed, failed;
} verify;

static void verify_report(verify *v, const char *mech, const char *isa, const char *name,
                          const verify_finding *f)
{
    if (!f->applies) return;
    bool pass = f->error <= f->allowed;
    *(pass ? &v->passed : &v->failed) += 1;
    if (v->json) {
        cli_json json = cli_json_begin("verify");
        cli_json_text(&json, "mechanism", mech);
        cli_json_text(&json, "isa", isa);
        cli_json_text(&json, "check", name);
        cli_json_bool(&json, "pass", pass);
        cli_json_number(&json, "error", f->error);
        cli_json_number(&json, "allowed", f->allowed);
        cli_json_end(&json);
    } else {
        printf("%-4s  %-10s %-7s ", pass ? "ok" : "FAIL", mech, isa);
        if (f->allowed > 0)
            printf("%-38s %.1e of %.1e\n", name, f->error, f->allowed);
        else
            puts(name);
    }
}

static void verify_mech(verify *v, const verify_problem *p, attn_ctx *ctx, const char *isa)
{
    verify_finding finding;
    const char *name;
    for (int i = 0; verify_gold(i, p->mech, ctx, &name, &finding); i++)
        verify_report(v, p->mech->name, isa, name, &finding);
    if (verify_recorded(p->mech, ctx, &finding))
        verify_report(v, p->mech->name, isa, "recorded values", &finding);
    for (int i = 0; verify_promise(i, p, ctx, &name, &finding); i++)
        verify_report(v, p->mech->name, isa, name, &finding);
    for (int i = 0; verify_grad(i, p, ctx, &name, &finding); i++)
        verify_report(v, p->mech->name, isa, name, &finding);
}

static int verify_isa(verify *v, int isa)
{
    attn_ctx *ctx;
    attn_error error;
    /* Three threads, also where there are fewer CPUs: the split is what is checked. */
    attn_config config = ATTN_CONFIG(.threads = 3, .isa_mask = attn_isa_bit(isa));
    if (attn_ctx_create(&ctx, &config, &error) != ATTN_OK) return cli_fail_error(NULL, &error);
    int code = 0;
    for (int i = 0; !code && i < attn_mech_count(); i++) {
        verify_problem p;
        if (verify_init(&p, attn_mech_at(i)))
            verify_mech(v, &p, ctx, attn_isa_name(isa));
        else
            code = cli_fail(CLI_LIMIT, "not enough memory.");
        verify_destroy(&p);
    }
    attn_ctx_destroy(ctx);
    return code;
}

static int verify_command(const cli_args *args)
{
    verify v = {.json = cli_flag(args, "json")};
    attn_ctx *usual; /* says why when no table may be used at all */
    int code = cli_context_with(args, 1, &usual);
    attn_ctx_destroy(usual);
    for (int i = 0; !code && attn_isa_name(i); i++)
        if (attn_isa_usable(NULL, i)) code = verify_isa(&v, i);
    if (code) return code;
    if (v.passed + v.failed == 0)
        return cli_fail(CLI_CHECK, "no kernel table serves on this machine.");
    if (!v.json) printf("%d checks passed, %d failed\n", v.passed, v.failed);
    return v.failed ? CLI_CHECK : 0;
}

static const cli_option verify_options[] = {CLI_LAST};
static const char *const verify_examples[] = {"verify", "verify --json", NULL};

const cli_command cli_command_verify = {
    .name = "verify",
    .operands = "",
    .about = "check this build on this machine, in two seconds",
    .details = "Recorded values and promises, for every mechanism and every kernel table that\n"
               "serves here. Exit code 6 when a check fails.\n",
    .complete = "",
    .examples = verify_examples,
    .options = verify_options,
    .run = verify_command,
};
