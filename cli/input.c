/* SPDX-License-Identifier: MIT
 * Files to slots: an archive brings tensors named as the slots, slot=FILE brings one. */
#include "compute.h"

#include <string.h>

static int input_take(compute_set *set, int slot, attn_tensor t, const char *path)
{
    if (compute_output(set, slot))
        return cli_fail(CLI_FILE, "%s: '%s' is an output of %s, not an input.", path,
                        set->names[slot], set->mech->name);
    if (set->from[slot])
        return cli_fail(CLI_FILE, "%s: '%s' was already given by %s.", path, set->names[slot],
                        set->from[slot]);
    set->slots[slot] = t;
    set->from[slot] = path;
    return 0;
}

static int input_unknown(const compute_set *set, const char *name, const char *path)
{
    if (name[0] == '\0')
        return cli_fail(CLI_USAGE, "%s holds one tensor without a name: write SLOT=%s.", path,
                        path);
    const char *why = compute_why(set, name);
    if (why)
        return cli_fail(CLI_FILE, "%s: '%s' %s (--extra-ok ignores such tensors).", path, name,
                        why);
    const char *best = cli_nearest(name, compute_name, set);
    return cli_fail(CLI_FILE,
                    "%s: '%s' is no slot of %s%s%s%s (--extra-ok ignores such tensors).", path,
                    name, set->mech->name, best ? "; did you mean '" : "", best ? best : "",
                    best ? "'?" : "");
}

static int input_take_all(compute_set *set, const attn_archive *a, const char *path,
                          bool extra_ok)
{
    for (int64_t i = 0; i < attn_archive_count(a); i++) {
        const char *name = attn_archive_name(a, i);
        int slot = compute_entry(set, name);
        bool usable = slot >= 0 && !compute_output(set, slot);
        if (!usable && extra_ok) continue;
        int code = slot < 0 ? input_unknown(set, name, path)
                            : input_take(set, slot, attn_archive_tensor(a, i), path);
        if (code) return code;
    }
    return 0;
}

/* slot=FILE: the entry of that name, or the only one there is. */
static int input_take_one(compute_set *set, const attn_archive *a, int slot, const char *path)
{
    int64_t i = attn_archive_find(a, set->names[slot]);
    if (i < 0 && attn_archive_count(a) == 1) i = 0;
    if (i < 0)
        return cli_fail(CLI_FILE, "%s holds no tensor named '%s'.", path, set->names[slot]);
    return input_take(set, slot, attn_archive_tensor(a, i), path);
}

int compute_load(compute_set *set, const char *operand, bool extra_ok)
{
    const char *path = operand;
    int slot = compute_split(set, operand, &path);
    if (slot == -2) return CLI_USAGE;
    if (path[0] == '\0') return cli_fail(CLI_USAGE, "'%s' names no file.", operand);
    if (set->n_archives == COMPUTE_FILES)
        return cli_fail(CLI_USAGE, "more than %d input files.", COMPUTE_FILES);
    attn_archive *a = NULL;
    attn_error error;
    if (attn_archive_load(&a, NULL, path, ATTN_FORMAT_AUTO, &error) != ATTN_OK)
        return cli_fail_input(path, &error);
    set->archives[set->n_archives++] = a;
    return slot >= 0 ? input_take_one(set, a, slot, path)
                     : input_take_all(set, a, path, extra_ok);
}
