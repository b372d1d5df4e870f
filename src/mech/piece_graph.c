/* SPDX-License-Identifier: MIT
 * What graph attention asks of its slots, and edges as a mask of scores. */
#include "mech/mech.h"

bool attn__graph_sound(const attn__build *b, int64_t heads, int64_t width, int64_t features)
{
    return attn__build_need(b, heads > 0, ATTN_E_HEADS, "heads", "there must be one", 1,
                            heads) &&
           attn__build_need(b, features / heads == width && features % heads == 0, ATTN_E_HEADS,
                            "features of a head", "must be those of all over the heads",
                            features / heads, width);
}

attn_var attn__graph_edges(attn_tape *t, attn_var edges, bool self_loops)
{
    const attn_tensor v = attn_tape_value(t, edges);
    if (!attn__present(&v)) return (attn_var){0};
    const attn_var nodes = attn__positions(t, v.shape[1]);
    const attn_var self = attn_tape_equal(t, nodes, attn_tape_unsqueeze(t, nodes, 1));
    const attn_var allowed = self_loops ? attn__flags_either(t, edges, self) : edges;
    return attn_tape_unsqueeze(t, allowed, 1);
}
