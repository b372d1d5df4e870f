/* SPDX-License-Identifier: MIT
 * The liberties a caller has with shape strings, for every mechanism alike.
 *
 * One may be left out: a slot "B H T D" also takes "B T D" (one head) and "T D" (one sequence
 * of one head). Tensors are lifted to the full rank before a mechanism sees them, and the
 * shapes of outputs are brought down again the way the first slot was given.
 *
 * Sequences may be packed: then rows of queries and keys have a batch of 1, and everything else
 * that has a batch counts sequences, N.
 *
 * Keys and values "B G S D" may have a batch of 1: then all sequences share them. */
#include "mech/mech.h"

#include <string.h>

static bool lift_has_heads(const char *shape)
{
    return strncmp(shape, "B H", 3) == 0 || strncmp(shape, "B G", 3) == 0;
}

int attn__mech_missing(const char *shape, int rank)
{
    int missing = attn__shape_rank(shape) - rank;
    return missing >= 0 && missing <= (lift_has_heads(shape) ? 2 : 0) ? missing : -1;
}

static attn_tensor lift_insert(attn_tensor t, int at)
{
    size_t tail = (size_t)(t.rank - at) * sizeof t.shape[0];
    memmove(t.shape + at + 1, t.shape + at, tail);
    memmove(t.stride + at + 1, t.stride + at, tail);
    t.shape[at] = 1;
    t.stride[at] = 0;
    t.rank++;
    return t;
}

attn_tensor attn__mech_lift(const char *shape, attn_tensor t)
{
    int missing = attn__mech_missing(shape, t.rank);
    if (missing <= 0) return t;
    if (missing == 2) t = lift_insert(t, 0);
    return lift_insert(t, 1);
}

int attn__mech_drop(const char *shape, int missing, int rank, int64_t *dims)
{
    if (missing <= 0 || !lift_has_heads(shape)) return rank;
    int from = missing == 1 ? 1 : 0;
    memmove(dims + from, dims + from + missing, (size_t)(rank - from - missing) * sizeof *dims);
    return rank - missing;
}

bool attn__mech_shared(const char *shape, const attn_tensor *full)
{
    return strncmp(shape, "B G S", 5) == 0 && full->rank == 4 && full->shape[0] == 1;
}

attn__mech_shape attn__mech_packed(const char *shape)
{
    bool queries = strchr(shape, 'T') != NULL, keys = strchr(shape, 'S') != NULL;
    /* Rows of keys may be packed or not, independent of the queries: their batch is free. */
    const char *to = queries && !keys ? "BTS" : keys && !queries ? "CTS" : "NIJ";
    attn__mech_shape packed = {{0}};
    static const char from[] = "BTS";
    for (size_t i = 0; shape[i] && i + 1 < sizeof packed.text; i++) {
        const char *found = strchr(from, shape[i]);
        packed.text[i] = found ? to[found - from] : shape[i];
    }
    return packed;
}
