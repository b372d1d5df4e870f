/* SPDX-License-Identifier: MIT
 * The gallery's desk: mechanisms by name and the one way to run any of them. The shape strings
 * of the slots are checked here, for every mechanism alike; what they cannot say is left to the
 * mechanism itself. */
#include "mech/mech.h"

#include <string.h>

#define MECH(name) &attn__mech_##name,
static const attn_mech *const registry[] = {
#include "mech/mechs.def"
};
#undef MECH

enum { REGISTRY_COUNT = (int)(sizeof registry / sizeof registry[0]) };

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

static attn_status registry_bind(registry_call *call, attn_error *error)
{
    const attn_slot *slots = call->mech->slots;
    attn__sizes_init(&call->sizes);
    for (int i = 0; slots[i].name; i++)
        call->packed |= attn__present(&call->slots[i]) && strcmp(slots[i].shape, "N+1") == 0;
    for (int i = 0; slots[i].name; i++)
        if (attn__present(&call->slots[i])) ATTN_TRY(registry_bind_slot(call, i, error));
    /* No sequence is longer than all of them together. */
    registry_default(&call->sizes, 'I', 'T');
    registry_default(&call->sizes, 'J', 'S');
    return ATTN_OK;
}

/* Outputs may all be left out as long as one is there: who wants only lse asks only for lse. */
static attn_status registry_require(const attn_mech *mech, const attn_tensor *slots,
                                    attn_error *error)
{
    bool any_output = false;
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

attn_status attn_mech_shape(const attn_mech *mech, const attn_tensor *slots, int i, int *rank,
                            int64_t *shape, attn_error *error)
{
    if (!mech || !slots || !rank || !shape)
        return attn__fail(error, ATTN_E_NULL, "mech", "an argument is missing");
    int n_slots = 0;
    while (mech->slots[n_slots].name) n_slots++;
    if (i < 0 || i >= n_slots)
        return attn__fail(error, ATTN_E_NAME, mech->name, "no slot has this number");
    registry_call call = {.mech = mech, .slots = slots};
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

attn_status attn_mech_run(attn_ctx *ctx, const attn_mech *mech, const attn_tensor *slots,
                          const attn_value *params, attn_error *error)
{
    if (!mech || !slots || !params)
        return attn__fail(error, ATTN_E_NULL, "mech", "an argument is missing");
    ATTN_TRY(attn__ctx_check(ctx, error));
    ATTN_TRY(registry_require(mech, slots, error));
    registry_call call = {.mech = mech, .slots = slots};
    ATTN_TRY(registry_bind(&call, error));
    attn_tensor full[ATTN_MAX_SLOTS] = {0};
    for (int i = 0; mech->slots[i].name; i++)
        if (attn__present(&slots[i])) full[i] = attn__mech_lift(mech->slots[i].shape, slots[i]);
    return mech->run(ctx, &(attn_mech_call){.slots = full, .params = params}, error);
}
