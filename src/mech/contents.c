/* SPDX-License-Identifier: MIT
 * What the slots and parameters of a mechanism on the tape hold, where the table says it:
 * kinds of elements, ids that name something, words that are a choice, numbers that are finite.
 * Called by registry.c before anything runs; mechanisms that run an engine leave it to its own
 * check. */
#include "mech/mech.h"

#include <math.h>

/* The kinds of elements a slot takes, and what it is called when another comes. */
static attn_status contents_dtype(const attn_slot *slot, const attn_tensor *t,
                                  attn_error *error)
{
    static const struct {
        int bit;
        bool floats, ints, flags;
        const char *what;
    } rules[] = {{ATTN_IDS, false, true, false, "must hold integers"},
                 {ATTN_FLAGS, false, false, true, "must hold bool or u8"},
                 {0, true, false, false, "must hold floats"}};
    size_t i = 0;
    while ((slot->kind & rules[i].bit) != rules[i].bit) i++;
    const bool flag = t->dtype == ATTN_DTYPE_BOOL || t->dtype == ATTN_DTYPE_U8;
    const bool real = attn__dtype_is_float(t->dtype);
    const bool ok = real             ? rules[i].floats
                    : rules[i].flags ? flag
                                     : rules[i].ints && t->dtype != ATTN_DTYPE_BOOL;
    return ok ? ATTN_OK
              : attn__fail_name(error, ATTN_E_DTYPE, slot->name, rules[i].what,
                                attn_dtype_name(t->dtype));
}

/* Ids must name something: each is looked at once. */
static attn_status contents_ids(const attn__sizes *sizes, const attn_slot *slot,
                                const attn_tensor *t, attn_error *error)
{
    int rank;
    int64_t below, index[ATTN_MAX_RANK] = {0};
    ATTN_TRY(attn__shape_resolve(sizes, slot->name, slot->below, &rank, &below, error));
    for (int64_t n = attn_tensor_count(*t); n > 0; n--) {
        int64_t at = 0;
        for (int d = 0; d < t->rank; d++) at += index[d] * t->stride[d];
        const int64_t id = attn__get_int(t->dtype, t->data, at);
        if (id < 0 || id >= below)
            return attn__fail_count(error, ATTN_E_PARAM, slot->name,
                                    "an id is negative or not below", below, id);
        for (int d = t->rank - 1; d >= 0 && ++index[d] == t->shape[d]; d--) index[d] = 0;
    }
    return ATTN_OK;
}

/* Words are numbers by now: each must be one of its choices. */
static attn_status contents_word(const attn_param *param, int64_t value, attn_error *error)
{
    int64_t choices = 1;
    for (const char *p = param->choices; *p; p++) choices += *p == '|';
    return value >= 0 && value < choices
               ? ATTN_OK
               : attn__fail_count(error, ATTN_E_ENUM, param->name, "not one of the choices",
                                  choices, value);
}

static attn_status contents_params(const attn_mech *mech, const attn_value *params,
                                   attn_error *error)
{
    for (int i = 0; mech->params[i].name; i++) {
        const attn_param *param = &mech->params[i];
        const double x = params[i].f;
        if (param->kind == 'e') ATTN_TRY(contents_word(param, params[i].i, error));
        if (param->kind == 'f' && !isfinite(x))
            return attn__fail_name(error, ATTN_E_PARAM, param->name, "must be finite",
                                   isnan(x) ? "nan"
                                   : x > 0  ? "inf"
                                            : "-inf");
    }
    return ATTN_OK;
}

/* What is written of a gradient, or read, are floats. */
static attn_status contents_gradient(const attn_slot *slot, const attn_tensor *d,
                                     attn_error *error)
{
    return !attn__present(d) || attn__dtype_is_float(d->dtype)
               ? ATTN_OK
               : attn__fail_name(error, ATTN_E_DTYPE, slot->name,
                                 "its gradient must hold floats", attn_dtype_name(d->dtype));
}

attn_status attn__mech_contents(const attn_mech *mech, const attn_mech_call *call,
                                const attn__sizes *sizes, attn_error *error)
{
    ATTN_TRY(contents_params(mech, call->params, error));
    for (int i = 0; mech->slots[i].name; i++) {
        const attn_slot *slot = &mech->slots[i];
        const attn_tensor *t = &call->slots[i];
        if (call->d_slots) ATTN_TRY(contents_gradient(slot, &call->d_slots[i], error));
        if (!attn__present(t)) continue;
        if (!t->data && attn_tensor_count(*t) > 0)
            return attn__fail(error, ATTN_E_NULL, slot->name, "has no data");
        ATTN_TRY(contents_dtype(slot, t, error));
        if (slot->below && !(slot->kind & ATTN_OUT))
            ATTN_TRY(contents_ids(sizes, slot, t, error));
    }
    return ATTN_OK;
}
