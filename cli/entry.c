/* SPDX-License-Identifier: MIT
 * The tensors that attn compute deals in: the slots of a mechanism, and with --grad the
 * gradient d_<slot> of every slot that has one. That of an output comes in, that of an input
 * goes out. */
#include "compute.h"

#include <string.h>

void compute_entries(compute_set *set)
{
    for (int i = 0; set->mech->slots[i].name; i++) {
        const attn_slot *slot = &set->mech->slots[i];
        const int d = ATTN_MAX_SLOTS + i;
        snprintf(set->names[i], sizeof set->names[i], "%s", slot->name);
        if (set->grad && (slot->kind & ATTN_GRAD))
            snprintf(set->names[d], sizeof set->names[d], "d_%s", slot->name);
    }
}

const attn_slot *compute_slot(const compute_set *set, int entry)
{
    return &set->mech->slots[entry % ATTN_MAX_SLOTS];
}

bool compute_output(const compute_set *set, int entry)
{
    const bool out = compute_slot(set, entry)->kind & ATTN_OUT;
    return entry < ATTN_MAX_SLOTS ? out : !out;
}

int compute_entry(const compute_set *set, const char *name)
{
    for (int e = 0; e < COMPUTE_ENTRIES; e++)
        if (set->names[e][0] && strcmp(set->names[e], name) == 0) return e;
    return -1;
}

const char *compute_name(const void *set, int i)
{
    const compute_set *s = set;
    for (int e = 0; e < COMPUTE_ENTRIES; e++)
        if (s->names[e][0] && i-- == 0) return s->names[e];
    return NULL;
}

const char *compute_why(const compute_set *set, const char *name)
{
    int slot = strncmp(name, "d_", 2) == 0 ? attn_mech_slot(set->mech, name + 2) : -1;
    if (slot < 0) return NULL;
    if (!(set->mech->slots[slot].kind & ATTN_GRAD))
        return "would be the gradient of a slot that has none";
    return set->grad ? NULL : "is a gradient: say --grad";
}

int compute_unknown(const compute_set *set, const char *kind, const char *name)
{
    const char *why = compute_why(set, name);
    return why ? cli_fail(CLI_USAGE, "'%s' %s.", name, why)
               : cli_unknown(kind, name, compute_name, set);
}

int compute_split(const compute_set *set, const char *text, const char **path)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
    char name[64] = "";
    size_t n = strspn(text, letters);
    if (n == 0 || n >= sizeof name || text[n] != '=') return -1;
    memcpy(name, text, n);
    *path = text + n + 1;
    int entry = compute_entry(set, name);
    if (entry >= 0) return entry;
    compute_unknown(set, "slot", name);
    return -2;
}
