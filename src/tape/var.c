/* SPDX-License-Identifier: MIT
 * Variables: what the caller brings, what operations give, and their gradients. */
#include "tape/graph.h"

#include <string.h>

/* ---- handles ----------------------------------------------------------------------------- */

attn__variable *attn__var_find(const attn_tape *t, attn_var x, const char **why)
{
    *why = "an empty variable";
    if (!x.tape) return NULL;
    *why = "a variable of another tape";
    if (x.tape != t) return NULL;
    *why = "a variable from before a reset of the tape, or from inside a checkpoint";
    if (x.id < 0 || x.id >= t->n_vars || t->vars[x.id].age != x.age) return NULL;
    *why = "a variable that was dropped";
    return t->vars[x.id].gone ? NULL : &t->vars[x.id];
}

attn_var attn__var_handle(const attn_tape *t, int64_t id)
{
    if (id < 0) return (attn_var){0};
    return (attn_var){.tape = t, .id = (int32_t)id, .age = t->vars[id].age};
}

/* For calls that only look: problems are not worth an error. */
static attn__variable *var_look(const attn_tape *t, attn_var x)
{
    const char *why;
    return attn__tape_alive(t) ? attn__var_find(t, x, &why) : NULL;
}

bool attn__var_live(attn_tape *t, attn_var x)
{
    return attn__tape_ready(t) && var_look(t, x);
}

bool attn__var_needs(attn_tape *t, attn_var x)
{
    return attn__var_live(t, x) && var_look(t, x)->needs;
}

attn_tensor attn__var_value(attn_tape *t, attn_var x)
{
    return attn__var_live(t, x) ? var_look(t, x)->value : (attn_tensor){0};
}

attn_var attn__var_fail(attn_tape *t, attn_status s, const char *op, const char *what,
                        int64_t want, int64_t got)
{
    attn_error error;
    attn__fail_count(&error, s, op, what, want, got);
    error.counted = want != 0 || got != 0; /* nothing and nothing explain nothing */
    if (attn__tape_alive(t)) attn__tape_fail(t, &error);
    return (attn_var){0};
}

/* ---- making ------------------------------------------------------------------------------ */

attn_status attn__var_room(attn_tape *t, int64_t more)
{
    void *vars = t->vars;
    if (t->n_vars > INT32_MAX - more) return ATTN_E_LIMIT;
    const int64_t least = attn__max(t->n_vars + more, 16);
    const attn_status s = attn__tape_grow(t, &vars, &t->vars_room, least, sizeof *t->vars);
    t->vars = vars;
    return s;
}

attn_var attn__var_add(attn_tape *t, const attn_tensor *value, attn__block *memory)
{
    t->vars[t->n_vars] =
        (attn__variable){.value = *value, .memory = memory, .node = -1, .age = t->age};
    return attn__var_handle(t, t->n_vars++);
}

static attn_status var_check(const attn_tape *t, const char *where, const attn_tensor *x,
                             bool param, attn_error *error)
{
    ATTN_TRY(attn__tensor_check(x, where, error));
    if (!x->data && attn_tensor_count(*x) > 0)
        return attn__fail(error, ATTN_E_NULL, where, "data is NULL");
    if (param && !attn__dtype_is_float(x->dtype))
        return attn__fail_name(error, ATTN_E_DTYPE, where, "a parameter must be of floats",
                               attn_dtype_name(x->dtype));
    if (param && (t->pauses > 0 || t->walking))
        return attn__fail(error, ATTN_E_PARAM, where,
                          "a checkpointed segment reaches parameters through its inputs");
    return ATTN_OK;
}

static attn_var var_leaf(attn_tape *t, const char *where, const attn_tensor *x, bool param)
{
    attn_error error;
    if (!attn__tape_ready(t)) return (attn_var){0};
    attn_status s = var_check(t, where, x, param, &error);
    if (s == ATTN_OK && (s = attn__var_room(t, 1)) != ATTN_OK)
        attn__fail(&error, s, where, "no room for another variable");
    if (s != ATTN_OK) {
        attn__tape_fail(t, &error);
        return (attn_var){0};
    }
    attn_var made = attn__var_add(t, x, NULL);
    t->vars[made.id].param = param;
    t->vars[made.id].needs = param && !t->config.compute;
    return made;
}

attn_var attn_tape_input(attn_tape *t, attn_tensor x)
{
    return var_leaf(t, "attn_tape_input", &x, false);
}

attn_var attn_tape_param(attn_tape *t, attn_tensor x)
{
    return var_leaf(t, "attn_tape_param", &x, true);
}

attn_var attn_tape_scalar(attn_tape *t, double x)
{
    if (!attn__tape_ready(t)) return (attn_var){0};
    attn_status s = attn__var_room(t, 1);
    attn__block *memory = s == ATTN_OK ? attn__block_new(t, sizeof(double)) : NULL;
    if (!memory) {
        attn_error error;
        attn__fail(&error, s == ATTN_OK ? ATTN_E_MEMORY : s, "attn_tape_scalar",
                   "no room for another variable");
        attn__tape_fail(t, &error);
        return (attn_var){0};
    }
    const attn_tensor value =
        attn_tensor_make(attn__block_data(memory), t->config.dtype, 0, NULL);
    attn__put(t->config.dtype, value.data, 0, x);
    return attn__var_add(t, &value, memory);
}

/* ---- looking and forgetting -------------------------------------------------------------- */

attn_tensor attn_tape_value(const attn_tape *t, attn_var x)
{
    const attn__variable *v = var_look(t, x);
    return v ? v->value : (attn_tensor){0};
}

attn_tensor attn__var_grad_tensor(const attn_tape *t, const attn__variable *v)
{
    if (!v->grad) return (attn_tensor){0};
    return attn_tensor_make(attn__block_data(v->grad), t->config.dtype, v->value.rank,
                            v->value.shape);
}

attn_tensor attn_tape_grad(const attn_tape *t, attn_var x)
{
    const attn__variable *v = var_look(t, x);
    return v ? attn__var_grad_tensor(t, v) : (attn_tensor){0};
}

void attn_tape_retain(attn_tape *t, attn_var x)
{
    attn__variable *v = var_look(t, x);
    if (v) v->retained = true;
}

void attn__var_forget(attn_tape *t, attn__variable *v)
{
    attn__block_release(t, &v->memory);
    v->value.data = NULL;
    v->gone = true;
}

void attn_tape_drop(attn_tape *t, attn_var x)
{
    attn__variable *v = var_look(t, x);
    if (!v) return;
    attn__var_forget(t, v);
    if (!t->walking) attn__block_release(t, &v->grad); /* a walk may be under way to it */
}

/* ---- gradients --------------------------------------------------------------------------- */

void *attn__var_grad(attn_tape *t, attn__variable *v, bool *fresh)
{
    *fresh = !v->grad;
    if (*fresh) {
        const size_t bytes =
            (size_t)attn_tensor_count(v->value) * attn_dtype_size(t->config.dtype);
        v->grad = attn__block_new(t, bytes);
        if (v->grad) memset(attn__block_data(v->grad), 0, bytes);
    }
    return v->grad ? attn__block_data(v->grad) : NULL;
}

void attn_tape_zero_grads(attn_tape *t)
{
    if (!attn__tape_alive(t) || t->walking) return;
    for (int64_t i = 0; i < t->n_vars; i++) attn__block_release(t, &t->vars[i].grad);
}
