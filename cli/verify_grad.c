/* SPDX-License-Identifier: MIT
 * Gradients on the problem of attn verify: all of one call as one array, so that bits can be
 * compared; what linearity in the values says of them; and values recorded from a computation
 * in double precision. */
#include "verify.h"

#include <math.h>
#include <string.h>

bool verify_differentiable(const attn_mech *mech)
{
    for (const attn_slot *s = mech->slots; s->name; s++)
        if (s->kind & ATTN_GRAD) return true;
    return false;
}

static bool grad_wanted(const verify_problem *p, int i)
{
    const int kind = p->mech->slots[i].kind;
    return (kind & ATTN_GRAD) && !(kind & ATTN_OUT) && p->slots[i].dtype == ATTN_DTYPE_F32;
}

/* Gradients of the inputs, dense, one behind the other in a new array. */
static attn_tensor grad_array(const verify_problem *p, attn_tensor *d_slots)
{
    int64_t n = 0;
    for (int i = 0; p->mech->slots[i].name; i++)
        if (grad_wanted(p, i)) n += attn_tensor_count(p->slots[i]);
    attn_tensor all = cli_array_new(ATTN_DTYPE_F32, 1, &n);
    int64_t at = 0;
    for (int i = 0; all.data && p->mech->slots[i].name; i++) {
        const attn_tensor *t = &p->slots[i];
        if (!grad_wanted(p, i)) continue;
        d_slots[i] = attn_tensor_make((float *)all.data + at, t->dtype, t->rank, t->shape);
        at += attn_tensor_count(*t);
    }
    return all;
}

attn_tensor verify_gradients(const verify_problem *p, attn_ctx *ctx, attn_tensor out,
                             attn_tensor d_out, attn_tensor *d_slots)
{
    attn_tensor slots[ATTN_MAX_SLOTS];
    const int o = verify_output(p->mech);
    memset(d_slots, 0, ATTN_MAX_SLOTS * sizeof *d_slots);
    memcpy(slots, p->slots, sizeof slots);
    attn_tensor all = grad_array(p, d_slots);
    slots[o] = out;
    d_slots[o] = d_out;
    if (all.data &&
        attn_mech_run_grad(ctx, p->mech, slots, d_slots, p->params, NULL) != ATTN_OK)
        cli_array_free(&all);
    return all;
}

/* Of a number whose gradient by the output is random. */
attn_tensor verify_random_gradients(const verify_problem *p, attn_ctx *ctx)
{
    enum { SEED = 43 };
    attn_tensor d_slots[ATTN_MAX_SLOTS], all = {0};
    attn_tensor out = verify_new_output(p), d_out = verify_new_output(p);
    if (d_out.data) cli_array_normal(d_out, SEED);
    if (out.data && d_out.data) all = verify_gradients(p, ctx, out, d_out, d_slots);
    cli_array_free(&out);
    cli_array_free(&d_out);
    return all;
}

/* ---- checks -------------------------------------------------------------------------- */

static double grad_dot(attn_tensor a, attn_tensor b)
{
    double sum = 0;
    const int64_t n = attn_tensor_count(a);
    for (int64_t i = 0; i < n; i++) sum += cli_array_get(a, i) * cli_array_get(b, i);
    return sum;
}

/* Where out is linear in v, d_v . v = d_out . out. */
static double grad_linear(const verify_problem *p, attn_ctx *ctx)
{
    const int v = attn_mech_slot(p->mech, "v");
    double error = HUGE_VAL;
    attn_tensor d_slots[ATTN_MAX_SLOTS], all = {0};
    attn_tensor out = verify_new_output(p), d_out = verify_new_output(p);
    if (d_out.data) cli_array_normal(d_out, 44);
    if (out.data && d_out.data && v >= 0) all = verify_gradients(p, ctx, out, d_out, d_slots);
    if (all.data)
        error = fabs(grad_dot(d_slots[v], p->slots[v]) - grad_dot(d_out, out)) /
                fmax(sqrt(grad_dot(d_out, d_out) * grad_dot(out, out)), 1e-30);
    cli_array_free(&out);
    cli_array_free(&d_out);
    cli_array_free(&all);
    return isnan(error) ? HUGE_VAL : error;
}

/* Causal attention of three positions; d_out, then d_q, d_k and d_v. */
static const float grad_q[3][2] = {{1, .5F}, {0, 1}, {-1, .5F}};
static const float grad_k[3][2] = {{1, 0}, {0, 1}, {1, 1}};
static const float grad_v[3][2] = {{1, 0}, {0, 1}, {2, -1}};
static const float grad_d_out[3][2] = {{1, -1}, {.5F, 2}, {-1, 0}};
static const double grad_recorded[18] = {
    0,         0,          -0.2345979, 0.2345979, -0.2784870, 0.0366853,
    0.0366853, -0.2529405, -0.2784870, 0.3738414, 0.2418017,  -0.1209008,
    0.9768803, -0.3395231, -0.2088055, 1.3395231, -0.2680747, 0};

static attn_tensor grad_tensor(const float (*x)[2])
{
    return ATTN_TENSOR((void *)(uintptr_t)x, F32, 3, 2);
}

static double grad_gold(const verify_problem *other, attn_ctx *ctx)
{
    verify_problem p = {.mech = other->mech};
    float out[3][2];
    double worst = 0;
    attn_tensor d_slots[ATTN_MAX_SLOTS];
    attn_mech_defaults(p.mech, p.params);
    p.slots[attn_mech_slot(p.mech, "q")] = grad_tensor(grad_q);
    p.slots[attn_mech_slot(p.mech, "k")] = grad_tensor(grad_k);
    p.slots[attn_mech_slot(p.mech, "v")] = grad_tensor(grad_v);
    if (!verify_set(&p, "causal=true")) return HUGE_VAL;
    attn_tensor all = verify_gradients(&p, ctx, grad_tensor((const float(*)[2])out),
                                       grad_tensor(grad_d_out), d_slots);
    if (!all.data) return HUGE_VAL;
    for (int i = 0; i < 18; i++) {
        double error = fabs(cli_array_get(all, i) - grad_recorded[i]);
        if (!(error <= worst)) worst = error;
    }
    cli_array_free(&all);
    return isnan(worst) ? HUGE_VAL : worst;
}

bool verify_grad(int i, const verify_problem *p, attn_ctx *ctx, const char **name,
                 verify_finding *finding)
{
    const bool softmax = strcmp(p->mech->name, "softmax") == 0;
    const bool linear = (p->mech->traits & ATTN_LINEAR_IN_V) && verify_differentiable(p->mech);
    const struct {
        const char *name;
        bool applies;
        double allowed;
        double (*error)(const verify_problem *p, attn_ctx *ctx);
    } rows[] = {{"gold: gradients", softmax, 1.5e-6, grad_gold},
                {"gradients: linear in the values", linear, 1e-6, grad_linear}};
    if (i >= (int)(sizeof rows / sizeof rows[0])) return false;
    *name = rows[i].name;
    *finding = (verify_finding){.applies = rows[i].applies, .allowed = rows[i].allowed};
    if (rows[i].applies) finding->error = rows[i].error(p, ctx);
    return true;
}
