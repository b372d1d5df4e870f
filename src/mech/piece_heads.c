/* SPDX-License-Identifier: MIT
 * Heads as views of features, and the fused engine as most mechanisms call it: B H T D
 * operands, keys hidden by a mask B S, weights into an output slot when it is wanted. */
#include "mech/mech.h"

/* More heads than features is no head at all, unless there are no features: then nothing but
 * this bounds how long a call of no numbers takes. */
enum { HEADS_EMPTY_MOST = 4096 };

attn_var attn__heads_split(attn_tape *t, attn_var x, int64_t heads)
{
    const attn_tensor v = attn_tape_value(t, x);
    if (!attn__present(&v)) return (attn_var){0};
    if (v.rank != 3 || heads < 1 || v.shape[2] % heads != 0)
        return attn__var_fail(t, ATTN_E_HEADS, "heads", "features must divide among the heads",
                              heads, v.shape[2]);
    if (v.shape[2] == 0 && heads > HEADS_EMPTY_MOST)
        return attn__var_fail(t, ATTN_E_HEADS, "heads", "so many need features to share",
                              HEADS_EMPTY_MOST, heads);
    attn_var split =
        attn_tape_reshape(t, x, ATTN_DIMS(v.shape[0], v.shape[1], heads, v.shape[2] / heads));
    return attn_tape_transpose(t, split, 1, 2);
}

attn_var attn__heads_join(attn_tape *t, attn_var x)
{
    const attn_tensor v = attn_tape_value(t, x);
    if (!attn__present(&v)) return (attn_var){0};
    return attn_tape_reshape(t, attn_tape_transpose(t, x, 1, 2),
                             ATTN_DIMS(v.shape[0], v.shape[2], v.shape[1] * v.shape[3]));
}

attn_var attn__heads_from(attn_tape *t, attn_var x, attn_var w, int64_t heads)
{
    return attn__heads_split(t, attn_tape_linear(t, x, w, (attn_var){0}, ATTN_ACT_NONE), heads);
}

attn_var attn__heads_to(attn_tape *t, attn_var x, attn_var w_o)
{
    const attn_tensor v = attn_tape_value(t, x), w = attn_tape_value(t, w_o);
    if (!attn__present(&v) || !attn__present(&w)) return (attn_var){0};
    if (w.shape[1] != v.shape[1] * v.shape[3])
        return attn__var_fail(t, ATTN_E_SHAPE, "w_o",
                              "it must have a column for each feature of all heads",
                              v.shape[1] * v.shape[3], w.shape[1]);
    return attn_tape_linear(t, attn__heads_join(t, x), w_o, (attn_var){0}, ATTN_ACT_NONE);
}

attn_var attn__heads_tables(const attn__build *b, attn_var x, const char *where)
{
    const int64_t L = attn__build_size(b, 'L'), H = attn__build_size(b, 'H');
    if (!attn__given(x)) return x;
    if (!attn__build_need(b, L == 1 || L == H, ATTN_E_HEADS, where,
                          "must have one table, or one for each head", H, L))
        return (attn_var){0};
    return attn_tape_expand(b->t, x, ATTN_DIMS(H, -1, -1));
}

/* Everything at once; mask B S goes in as B 1 1 S. */
static attn_var heads_attend(attn_tape *t, const attn_spec *spec,
                             const attn_attention_vars *vars, attn_args args, attn_var mask,
                             attn_tensor weights, attn_var *lse)
{
    args.weights = weights;
    if (attn__given(mask)) {
        const attn_tensor m = attn_tape_value(t, mask);
        args.mask = m;
        args.mask.rank = 4;
        args.mask.shape[1] = args.mask.shape[2] = 1;
        args.mask.stride[1] = args.mask.stride[2] = 0;
        args.mask.shape[3] = m.shape[1];
        args.mask.stride[3] = m.stride[1];
    }
    return attn_tape_attention(t, spec, vars, &args, lse);
}

attn_var attn__attend_with(attn_tape *t, const attn_spec *spec, const attn_attention_vars *vars,
                           const attn_args *args, attn_var mask, attn_tensor weights)
{
    return heads_attend(t, spec, vars, *args, mask, weights, NULL);
}

attn_var attn__attend_lse(attn_tape *t, const attn_spec *spec, const attn_attention_vars *vars,
                          attn_var mask, attn_tensor weights, attn_var *lse)
{
    return heads_attend(t, spec, vars, (attn_args){.size = sizeof(attn_args)}, mask, weights,
                        lse);
}

attn_var attn__attend(attn_tape *t, const attn_spec *spec, const attn_attention_vars *vars,
                      attn_var mask, attn_tensor weights)
{
    return attn__attend_lse(t, spec, vars, mask, weights, NULL);
}

attn_var attn__attend_part(attn_tape *t, const attn_spec *spec, const attn_attention_vars *vars,
                           attn_var mask, attn_tensor block_mask, attn_var *lse)
{
    return heads_attend(t, spec, vars, ATTN_ARGS(.block_mask = block_mask), mask,
                        (attn_tensor){0}, lse);
}

attn_var attn__attend_projected(const attn__build *b, const attn_spec *spec,
                                const attn__asking *a)
{
    attn_tape *t = b->t;
    const attn_var *w = &b->in[a->w_q];
    const int64_t heads = attn__build_size(b, 'H');
    const attn_attention_vars vars = {.q = attn__heads_from(t, a->x, w[0], heads),
                                      .k = attn__heads_from(t, a->y, w[1], heads),
                                      .v = attn__heads_from(t, a->y, w[2], heads)};
    const attn_var o = attn__attend(t, spec, &vars, a->mask, attn__build_output(b, a->weights));
    return attn__heads_to(t, o, w[3]);
}
