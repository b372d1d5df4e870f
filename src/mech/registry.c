/* SPDX-License-Identifier: MIT
 * The gallery's desk: mechanisms by name and the one way to run any of them. The shape strings
 * of the slots are checked here, for every mechanism alike; what they cannot say is left to the
 * mechanism itself. */
#include "mech/mech.h"

#include <string.h>

#define MECH(family, name) &attn__mech_##name,
static const attn_mech *const registry[] = {
#include "mech/mechs.def"
};
#undef MECH

static const attn_family families[] = {
#define FAMILY(name, branch, about) {#name, branch, about},
#include "mech/families.def"
#undef FAMILY
};

static const attn_alias aliases[] = {
#define ALIAS(name, of, why)          {#name, #of, why, NULL},
#define ALIAS_SET(name, of, set, why) {#name, #of, why, set},
#include "mech/aliases.def"
#undef ALIAS
#undef ALIAS_SET
};

#define REGISTRY_LENGTH(table) ((int)(sizeof(table) / sizeof((table)[0])))
enum {
    REGISTRY_COUNT = REGISTRY_LENGTH(registry),
    FAMILY_COUNT = REGISTRY_LENGTH(families),
    ALIAS_COUNT = REGISTRY_LENGTH(aliases)
};

const attn_family *attn_family_at(int i)
{
    return i >= 0 && i < FAMILY_COUNT ? &families[i] : NULL;
}

const attn_alias *attn_alias_at(int i)
{
    return i >= 0 && i < ALIAS_COUNT ? &aliases[i] : NULL;
}

int attn_mech_count(void)
{
    return REGISTRY_COUNT;
}

const attn_mech *attn_mech_at(int i)
{
    return i >= 0 && i < REGISTRY_COUNT ? registry[i] : NULL;
}

const attn_mech *attn_mech_find(const char *name)
{
    for (int i = 0; name && i < ALIAS_COUNT; i++)
        if (strcmp(aliases[i].name, name) == 0) name = aliases[i].of;
    for (int i = 0; name && i < REGISTRY_COUNT; i++)
        if (strcmp(registry[i]->name, name) == 0) return registry[i];
    return NULL;
}

int attn_mech_slot(const attn_mech *mech, const char *name)
{
    for (int i = 0; mech && name && mech->slots[i].name; i++)
        if (strcmp(mech->slots[i].name, name) == 0) return i;
    return -1;
}

/* ---- binding ------------------------------------------------------------------------- */

/* The sizes of one call; packed: a slot "N+1" with the beginnings of the sequences is there. */
typedef struct registry_call {
    const attn_mech *mech;
    const attn_tensor *slots;
    const attn_value *params;
    bool packed;
    attn__sizes sizes;
} registry_call;

static attn__mech_shape registry_shape(const registry_call *call, const attn_slot *slot)
{
    attn__mech_shape shape = {{0}};
    if (call->packed) return attn__mech_packed(slot->shape);
    strncpy(shape.text, slot->shape, sizeof shape.text - 1);
    return shape;
}

static attn_status registry_bind_slot(registry_call *call, int i, attn_error *error)
{
    const attn_slot *slot = &call->mech->slots[i];
    const attn_tensor *t = &call->slots[i];
    ATTN_TRY(attn__tensor_check(t, slot->name, error));
    attn_tensor full = attn__mech_lift(slot->shape, *t);
    attn__mech_shape shape = registry_shape(call, slot);
    if (attn__mech_shared(slot->shape, &full)) shape.text[0] = 'C'; /* as if packed: free */
    return attn__shape_bind(&call->sizes, slot->name, shape.text, &full, error);
}

/* A letter nobody has bound takes the size of another. */
static void registry_default(attn__sizes *sizes, char letter, char other)
{
    if (sizes->size[letter - 'A'] < 0) sizes->size[letter - 'A'] = sizes->size[other - 'A'];
}

/* Letters whose size is a parameter. */
static attn_status registry_bind_params(registry_call *call, attn_error *error)
{
    const attn_param *params = call->mech->params;
    for (int i = 0; params[i].name; i++) {
        const int64_t size = call->params[i].i;
        if (!params[i].letter) continue;
        if (size < 1)
            return attn__fail_count(error, ATTN_E_PARAM, params[i].name, "must be positive", 1,
                                    size);
        call->sizes.size[params[i].letter - 'A'] = size;
        call->sizes.from[params[i].letter - 'A'] = params[i].name;
    }
    return ATTN_OK;
}

static attn_status registry_bind(registry_call *call, attn_error *error)
{
    const attn_slot *slots = call->mech->slots;
    attn__sizes_init(&call->sizes);
    ATTN_TRY(registry_bind_params(call, error));
    for (int i = 0; slots[i].name; i++)
        call->packed |= attn__present(&call->slots[i]) && strcmp(slots[i].shape, "N+1") == 0;
    for (int i = 0; slots[i].name; i++)
        if (attn__present(&call->slots[i])) ATTN_TRY(registry_bind_slot(call, i, error));
    /* No sequence is longer than all of them together. */
    registry_default(&call->sizes, 'I', 'T');
    registry_default(&call->sizes, 'J', 'S');
    return ATTN_OK;
}

/* ---- running --------------------------------------------------------------------------- */

/* Outputs may all be left out as long as one is there: who wants only lse asks only for lse. */
static attn_status registry_require(const attn_mech *mech, const attn_tensor *slots,
                                    bool outputs, attn_error *error)
{
    bool any_output = !outputs;
    for (int i = 0; mech->slots[i].name; i++) {
        int kind = mech->slots[i].kind;
        bool present = attn__present(&slots[i]);
        any_output |= present && (kind & ATTN_OUT);
        if (!present && !(kind & (ATTN_OUT | ATTN_OPTIONAL)))
            return attn__fail(error, ATTN_E_NULL, mech->slots[i].name, "this slot is required");
    }
    return any_output ? ATTN_OK
                      : attn__fail(error, ATTN_E_NULL, mech->name, "no output was given");
}

attn_status attn_mech_shape(const attn_mech *mech, const attn_tensor *slots,
                            const attn_value *params, int i, int *rank, int64_t *shape,
                            attn_error *error)
{
    attn_value defaults[ATTN_MAX_PARAMS];
    if (!mech || !slots || !rank || !shape)
        return attn__fail(error, ATTN_E_NULL, "mech", "an argument is missing");
    int n_slots = 0;
    while (mech->slots[n_slots].name) n_slots++;
    if (i < 0 || i >= n_slots)
        return attn__fail(error, ATTN_E_NAME, mech->name, "no slot has this number");
    attn_mech_defaults(mech, defaults);
    registry_call call = {.mech = mech, .slots = slots, .params = params ? params : defaults};
    ATTN_TRY(registry_bind(&call, error));
    const attn_slot *slot = &mech->slots[i];
    attn__mech_shape text = registry_shape(&call, slot);
    ATTN_TRY(attn__shape_resolve(&call.sizes, slot->name, text.text, rank, shape, error));
    if (!attn__present(&slots[0])) return ATTN_OK;
    int missing = attn__mech_missing(mech->slots[0].shape, slots[0].rank);
    /* Where the batch counts packed sequences it stays. */
    if (missing == 2 && text.text[0] == 'N') missing = 1;
    *rank = attn__mech_drop(slot->shape, missing, *rank, shape);
    return ATTN_OK;
}

static void registry_lift(const attn_mech *mech, const attn_tensor *slots, attn_tensor *full)
{
    for (int i = 0; mech->slots[i].name; i++)
        full[i] = attn__present(&slots[i]) ? attn__mech_lift(mech->slots[i].shape, slots[i])
                                           : (attn_tensor){0};
}

/* Whether anything else that belongs to slot j lies where `to`, of slot i, is written. */
static attn_status registry_apart_from(const attn_mech_call *call, const attn_mech *mech, int i,
                                       const attn_tensor *to, int j, attn_error *error)
{
    const attn_tensor *others[] = {&call->slots[j], call->d_slots ? &call->d_slots[j] : NULL};
    for (int d = 0; d < 2 && others[d]; d++) {
        if (others[d] == to || !attn__present(others[d])) continue;
        if (!attn__tensor_overlap(to, others[d])) continue;
        return attn__fail_name(error, ATTN_E_ALIAS, mech->slots[i].name,
                               d ? "what is written overlaps the gradient of another slot"
                                 : "what is written overlaps another slot",
                               mech->slots[j].name);
    }
    return ATTN_OK;
}

/* Outputs, and gradients of the rest, are written, some before others are read. */
static attn_status registry_apart(const attn_mech_call *call, const attn_mech *mech,
                                  attn_error *error)
{
    for (int i = 0; mech->slots[i].name; i++) {
        const attn_slot *slot = &mech->slots[i];
        const bool out = slot->kind & ATTN_OUT;
        const attn_tensor *to = out || !call->d_slots ? &call->slots[i] : &call->d_slots[i];
        if (!attn__present(to) || (!out && !call->d_slots)) continue;
        if (attn__tensor_self_overlap(to))
            return attn__fail(error, ATTN_E_ALIAS, slot->name,
                              "what is written reaches an element twice");
        for (int j = 0; mech->slots[j].name; j++)
            ATTN_TRY(registry_apart_from(call, mech, i, to, j, error));
    }
    return ATTN_OK;
}

/* The mechanism's own way. Those that run an engine have its own look at overlaps when they go
 * forward. */
static attn_status registry_go(attn_ctx *ctx, const registry_call *call,
                               const attn_mech_call *run, attn_error *error)
{
    const attn_mech *mech = call->mech;
    if (mech->build) ATTN_TRY(attn__mech_contents(mech, run, &call->sizes, error));
    if (run->d_slots || mech->build) ATTN_TRY(registry_apart(run, mech, error));
    return mech->build ? attn__mech_build(ctx, mech, run, &call->sizes, error)
                       : mech->run(ctx, run, error);
}

attn_status attn_mech_run(attn_ctx *ctx, const attn_mech *mech, const attn_tensor *slots,
                          const attn_value *params, attn_error *error)
{
    if (!mech || !slots || !params)
        return attn__fail(error, ATTN_E_NULL, "mech", "an argument is missing");
    ATTN_TRY(attn__ctx_check(ctx, error));
    ATTN_TRY(registry_require(mech, slots, true, error));
    registry_call call = {.mech = mech, .slots = slots, .params = params};
    ATTN_TRY(registry_bind(&call, error));
    attn_tensor full[ATTN_MAX_SLOTS];
    registry_lift(mech, slots, full);
    return registry_go(ctx, &call, &(attn_mech_call){.slots = full, .params = params}, error);
}

/* A gradient belongs to a slot that has one; of an input it has that input's shape. */
static attn_status registry_gradient(const attn_slot *slot, const attn_tensor *t,
                                     const attn_tensor *d, attn_error *error)
{
    if (!attn__present(d)) return ATTN_OK;
    ATTN_TRY(attn__tensor_check(d, slot->name, error));
    if (!(slot->kind & ATTN_GRAD))
        return attn__fail(error, ATTN_E_UNSUPPORTED, slot->name, "this slot has no gradient");
    if (!d->data && attn_tensor_count(*d) > 0)
        return attn__fail(error, ATTN_E_NULL, slot->name, "its gradient has no data");
    if (!attn__present(t)) {
        return slot->kind & ATTN_OUT ? ATTN_OK
                                     : attn__fail(error, ATTN_E_NULL, slot->name,
                                                  "a gradient is asked of what is not given");
    }
    if (!attn__dtype_is_float(t->dtype))
        return attn__fail(error, ATTN_E_DTYPE, slot->name, "only floats have a gradient");
    if (d->rank != t->rank)
        return attn__fail_count(error, ATTN_E_RANK, slot->name,
                                "its gradient has other dimensions", t->rank, d->rank);
    for (int i = 0; i < t->rank; i++)
        if (d->shape[i] != t->shape[i])
            return attn__fail_count(error, ATTN_E_SHAPE, slot->name,
                                    "its gradient has another size", t->shape[i], d->shape[i]);
    return ATTN_OK;
}

static attn_status registry_gradients(const attn_mech *mech, const attn_tensor *slots,
                                      const attn_tensor *d_slots, attn_error *error)
{
    bool in = false, out = false;
    for (int i = 0; mech->slots[i].name; i++) {
        ATTN_TRY(registry_gradient(&mech->slots[i], &slots[i], &d_slots[i], error));
        bool *side = mech->slots[i].kind & ATTN_OUT ? &in : &out;
        *side = *side || attn__present(&d_slots[i]);
    }
    if (!in)
        return attn__fail(error, ATTN_E_NULL, mech->name, "no gradient of an output is given");
    return out ? ATTN_OK
               : attn__fail(error, ATTN_E_NULL, mech->name, "no gradient is asked for");
}

attn_status attn_mech_run_grad(attn_ctx *ctx, const attn_mech *mech, const attn_tensor *slots,
                               const attn_tensor *d_slots, const attn_value *params,
                               attn_error *error)
{
    if (!mech || !slots || !d_slots || !params)
        return attn__fail(error, ATTN_E_NULL, "mech", "an argument is missing");
    ATTN_TRY(attn__ctx_check(ctx, error));
    ATTN_TRY(registry_require(mech, slots, false, error));
    ATTN_TRY(registry_gradients(mech, slots, d_slots, error));
    registry_call call = {.mech = mech, .slots = slots, .params = params};
    ATTN_TRY(registry_bind(&call, error));
    attn_tensor full[ATTN_MAX_SLOTS], d_full[ATTN_MAX_SLOTS];
    registry_lift(mech, slots, full);
    registry_lift(mech, d_slots, d_full);
    const attn_mech_call run = {.slots = full, .d_slots = d_full, .params = params};
    return registry_go(ctx, &call, &run, error);
}
