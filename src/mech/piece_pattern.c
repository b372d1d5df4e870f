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

/* ---- heads of two kinds ------------------------------------------------------------------ */

/* Head h of the result is head from(h, arg) of x. */
static attn_var pattern_heads(attn_tape *t, attn_var x, int64_t n,
                              int64_t (*from)(int64_t h, int64_t arg), int64_t arg)
{
    int64_t *ids = attn__tape_memory(t, n, sizeof *ids);
    for (int64_t h = 0; ids && h < n; h++) ids[h] = from(h, arg);
    return attn_tape_index_select(t, x, 1, attn__tape_ids(t, ids, ATTN_DIMS(n)));
}

static int64_t pattern_every_other(int64_t h, int64_t first)
{
    return 2 * h + first;
}

static int64_t pattern_in_turn(int64_t h, int64_t even)
{
    return h % 2 ? even + h / 2 : h / 2;
}

static attn_var pattern_half(attn_tape *t, attn_var x, int64_t first)
{
    const attn_tensor v = attn_tape_value(t, x);
    if (!attn__present(&v)) return (attn_var){0};
    return pattern_heads(t, x, (v.shape[1] + 1 - first) / 2, pattern_every_other, first);
}

attn_attention_vars attn__heads_every_other(attn_tape *t, const attn_attention_vars *vars,
                                            int64_t first)
{
    return (attn_attention_vars){.q = pattern_half(t, vars->q, first),
                                 .k = pattern_half(t, vars->k, first),
                                 .v = pattern_half(t, vars->v, first)};
}

attn_var attn__heads_alternate(attn_tape *t, attn_var even, attn_var odd)
{
    const attn_tensor v = attn_tape_value(t, even), w = attn_tape_value(t, odd);
    if (!attn__present(&v) || !attn__present(&w)) return (attn_var){0};
    const attn_var both = attn_tape_concat(t, 2, (const attn_var[]){even, odd}, 1);
    return pattern_heads(t, both, v.shape[1] + w.shape[1], pattern_in_turn, v.shape[1]);
}
