/* SPDX-License-Identifier: MIT
 * Sizes by letter, so that data can be made for any mechanism from its slot table alone. */
#include "cli.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

void cli_sizes_init(cli_sizes *sizes)
{
    for (int i = 0; i < 26; i++) sizes->of[i] = 4;
    sizes->of['B' - 'A'] = 1;
    sizes->of['H' - 'A'] = sizes->of['G' - 'A'] = 2;
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

int cli_sizes_shape(const cli_sizes *sizes, const char *shape, int64_t *dims)
{
    int rank = 0;
    for (const char *c = shape; *c && rank < ATTN_MAX_RANK;) {
        char *end = (char *)c + 1;
        if (isupper((unsigned char)*c))
            dims[rank++] = sizes->of[*c - 'A'] + (*end == '+' ? strtoll(end, &end, 10) : 0);
        else if (isdigit((unsigned char)*c))
            dims[rank++] = strtoll(c, &end, 10);
        c = end;
    }
    return rank;
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
        slots[i] = cli_array_new(ATTN_DTYPE_F32, rank, dims);
        if (!slots[i].data) return false;
        cli_array_normal(slots[i], seed * ATTN_MAX_SLOTS + (uint64_t)i);
    }
    return true;
}
