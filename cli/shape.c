/* SPDX-License-Identifier: MIT
 * Sizes by letter, so that data can be made for any mechanism from its slot table alone. */
#include "cli.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

void cli_sizes_init(cli_sizes *sizes, const attn_mech *mech)
{
    for (int i = 0; i < 26; i++) sizes->of[i] = 4;
    for (const char *c = mech->sizes; *c; c++)
        if (isupper((unsigned char)*c) && c[1] == '=')
            sizes->of[*c - 'A'] = strtoll(c + 2, NULL, 10);
}

int cli_sizes_parse(cli_sizes *sizes, const char *text)
{
    for (const char *c = text; *c;) {
        char *end = NULL;
        bool letter = *c >= 'A' && *c <= 'Z' && c[1] == '=' && isdigit((unsigned char)c[2]);
        long long size = letter ? strtoll(c + 2, &end, 10) : -1;
        bool stops = letter && (*end == '\0' || (*end == ',' && end[1]));
        if (!stops || size > INT64_C(1) << 40)
            return cli_fail(CLI_USAGE, "'%s' is not a list of sizes such as B=1,H=2,T=8.",
                            text);
        sizes->of[*c - 'A'] = size;
        c = *end ? end + 1 : end;
    }
    return 0;
}

/* Reads one dimension, [factor]LETTER[+number] or a number, at *c, which moves behind it. */
static int64_t shape_dim(const cli_sizes *sizes, const char **c)
{
    char *end = (char *)(uintptr_t)*c;
    int64_t size = strtoll(*c, &end, 10);
    if (isupper((unsigned char)*end)) {
        size = (end == *c ? 1 : size) * sizes->of[*end - 'A'];
        end++;
        if (*end == '+') size += strtoll(end, &end, 10);
    }
    *c = end;
    return size;
}

int cli_sizes_shape(const cli_sizes *sizes, const char *shape, int64_t *dims)
{
    int rank = 0;
    for (const char *c = shape; *c && rank < ATTN_MAX_RANK;)
        if (isalnum((unsigned char)*c))
            dims[rank++] = shape_dim(sizes, &c);
        else
            c++;
    return rank;
}

static attn_dtype shape_dtype(const attn_slot *slot)
{
    return slot->kind & ATTN_IDS     ? ATTN_DTYPE_I64
           : slot->kind & ATTN_FLAGS ? ATTN_DTYPE_BOOL
                                     : ATTN_DTYPE_F32;
}

/* Whole numbers below the slot's end, or two truths to one falsehood. */
static void shape_choose(const cli_sizes *sizes, const attn_slot *slot, uint64_t seed,
                         attn_tensor t)
{
    int64_t below = 4;
    if (slot->below) cli_sizes_shape(sizes, slot->below, &below);
    for (int64_t i = 0; i < attn_tensor_count(t); i++) {
        const double u = cli_uniform(seed, (uint64_t)i);
        if (t.dtype == ATTN_DTYPE_BOOL)
            ((uint8_t *)t.data)[i] = u < 2.0 / 3;
        else
            ((int64_t *)t.data)[i] = (int64_t)(u * (double)below);
    }
}

bool cli_slots_fill(const attn_mech *mech, const cli_sizes *sizes, uint64_t seed,
                    attn_tensor *slots)
{
    for (int i = 0; mech->slots[i].name; i++) {
        const attn_slot *slot = &mech->slots[i];
        if ((slot->kind & (ATTN_OUT | ATTN_OPTIONAL)) || slots[i].dtype != ATTN_DTYPE_NONE)
            continue;
        int64_t dims[ATTN_MAX_RANK];
        int rank = cli_sizes_shape(sizes, slot->shape, dims);
        slots[i] = cli_array_new(shape_dtype(slot), rank, dims);
        if (!slots[i].data) return false;
        const uint64_t own = seed * ATTN_MAX_SLOTS + (uint64_t)i;
        if (slots[i].dtype == ATTN_DTYPE_F32)
            cli_array_normal(slots[i], own);
        else
            shape_choose(sizes, slot, own, slots[i]);
    }
    return true;
}
