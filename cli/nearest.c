/* SPDX-License-Identifier: MIT
 * Did you mean: the name in a table that is fewest edits away from what was typed. An edit is a
 * letter put in, taken out, changed, or swapped with its neighbour. */
#include "cli.h"

#include <string.h>

enum { NEAREST_MAX = 64 };

static int nearest_min(int a, int b)
{
    return a < b ? a : b;
}

/* Rows of the table of edit distances between prefixes: two back, one back, and the new one. */
typedef struct nearest_rows {
    int older[NEAREST_MAX], old[NEAREST_MAX], now[NEAREST_MAX];
} nearest_rows;

static void nearest_row(nearest_rows *r, const char *a, int i, const char *b, int n)
{
    r->now[0] = i;
    for (int j = 1; j <= n; j++) {
        int edit = r->old[j - 1] + (a[i - 1] != b[j - 1]);
        edit = nearest_min(edit, nearest_min(r->old[j], r->now[j - 1]) + 1);
        bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
        r->now[j] = swapped ? nearest_min(edit, r->older[j - 2] + 1) : edit;
    }
}

static int nearest_distance(const char *a, const char *b)
{
    int m = (int)strlen(a), n = (int)strlen(b);
    nearest_rows r;
    for (int j = 0; j <= n; j++) r.old[j] = r.older[j] = j;
    for (int i = 1; i <= m; i++) {
        nearest_row(&r, a, i, b, n);
        memcpy(r.older, r.old, sizeof r.old);
        memcpy(r.old, r.now, sizeof r.now);
    }
    return r.old[n];
}

const char *cli_nearest(const char *word, cli_name_fn name, const void *table)
{
    const char *best = NULL;
    size_t length = strlen(word);
    if (length == 0 || length >= NEAREST_MAX) return NULL;
    int least = (int)length / 3 + 2;
    const char *other;
    for (int i = 0; (other = name(table, i)) != NULL; i++) {
        if (strlen(other) >= NEAREST_MAX) continue;
        int distance = nearest_distance(word, other);
        if (distance < least) least = distance, best = other;
    }
    return best;
}

int cli_unknown(const char *kind, const char *word, cli_name_fn name, const void *table)
{
    const char *best = cli_nearest(word, name, table);
    if (best)
        return cli_fail(CLI_USAGE, "unknown %s '%s'. Did you mean '%s'?", kind, word, best);
    return cli_fail(CLI_USAGE, "unknown %s '%s'.", kind, word);
}

const char *cli_slot_name(const void *mech, int i)
{
    return ((const attn_mech *)mech)->slots[i].name;
}

const char *cli_param_name(const void *mech, int i)
{
    return ((const attn_mech *)mech)->params[i].name;
}

const char *cli_mech_name(const void *unused, int i)
{
    (void)unused;
    const attn_mech *mech = attn_mech_at(i);
    return mech ? mech->name : NULL;
}
