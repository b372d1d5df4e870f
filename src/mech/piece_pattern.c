/* SPDX-License-Identifier: MIT
 * What a sparse pattern lets be seen, as an output of flags: for pictures, and for comparing
 * with the dense engine under the same mask. */
#include "mech/mech.h"

void attn__build_flags(const attn__build *b, int i,
                       bool (*flag)(const void *user, const int64_t *at), const void *user)
{
    const attn_slot *slot = &b->mech->slots[i];
    attn_dims shape;
    int64_t at[ATTN_MAX_RANK] = {0}, n = 1;
    if (!b->wanted[i] || attn__shape_resolve(b->sizes, slot->name, slot->shape, &shape.n,
                                             shape.at, NULL) != ATTN_OK)
        return;
    for (int d = 0; d < shape.n; d++) n *= shape.at[d];
    uint8_t *flags = attn__tape_memory(b->t, n, 1);
    for (int64_t x = 0; flags && x < n; x++) {
        flags[x] = flag(user, at);
        for (int d = shape.n - 1; d >= 0 && ++at[d] == shape.at[d]; d--) at[d] = 0;
    }
    if (flags)
        b->out[i] =
            attn_tape_input(b->t, attn_tensor_make(flags, ATTN_DTYPE_BOOL, shape.n, shape.at));
}
