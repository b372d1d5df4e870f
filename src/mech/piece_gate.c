/* SPDX-License-Identifier: MIT
 * Gates: numbers in 0 .. 1 that multiply channels or places of a picture B C Y X. No query asks
 * for them; a small network finds them from what the picture holds on the whole. */
#include "mech/mech.h"

attn_var attn__gate_channels(attn_tape *t, attn_var x, attn_var gate)
{
    return attn_tape_mul(t, x, attn_tape_unsqueeze(t, attn_tape_unsqueeze(t, gate, 2), 3));
}

attn_var attn__gate_hidden(attn_tape *t, attn_var z, const attn__gate_layers *w)
{
    const attn_var hidden = attn_tape_linear(t, z, w->w1, w->b1, ATTN_ACT_RELU);
    return attn_tape_linear(t, hidden, w->w2, w->b2, ATTN_ACT_NONE);
}

attn_var attn__cbam_channels(attn_tape *t, attn_var x, const attn__gate_layers *w)
{
    const attn_dims places = ATTN_DIMS(2, 3);
    const attn_var mean = attn__gate_hidden(t, attn__picture_mean(t, x, places), w);
    const attn_var top = attn__gate_hidden(t, attn_tape_max(t, x, places, false), w);
    return attn_tape_sigmoid(t, attn_tape_add(t, mean, top));
}

/* To mean 0 and variance 1 over everything. */
static attn_var gate_normalise(attn_tape *t, attn_var map, double eps)
{
    const attn_tensor v = attn_tape_value(t, map);
    if (!attn__present(&v)) return (attn_var){0};
    const attn_var none = {0};
    attn_var row = attn_tape_reshape(t, map, ATTN_DIMS(attn_tensor_count(v)));
    row = attn_tape_layernorm(t, row, 1, none, none, eps);
    return attn_tape_reshape(t, row, ATTN_DIMS(v.shape[0], 1, v.shape[2], v.shape[3]));
}

attn_var attn__cbam_places(attn_tape *t, attn_var x, const attn__gate_map *g)
{
    const attn_var none = {0};
    const attn_var both[2] = {attn_tape_max(t, x, ATTN_DIMS(1), true),
                              attn_tape_mean(t, x, ATTN_DIMS(1), true)};
    attn_var map = attn_tape_concat(t, 2, both, 1);
    map = attn__conv_same(t, map, attn_tape_unsqueeze(t, g->w, 0), none, 1);
    if (g->batch_norm) map = gate_normalise(t, map, g->eps);
    if (attn__given(g->gamma)) map = attn_tape_mul(t, map, g->gamma);
    if (attn__given(g->beta)) map = attn_tape_add(t, map, g->beta);
    return attn_tape_sigmoid(t, map);
}
