/* SPDX-License-Identifier: MIT
 * What monotonic mechanisms share: energies with a scale and an offset of their own, what is
 * made of them at a key, and heads that each walk along the keys by themselves. */
#include "mech/mech.h"

#include <math.h>

attn_var attn__monotonic_energy(attn_tape *t, const attn__energy *e, attn_var q, attn_var k)
{
    const attn_var none = {0};
    attn_var w = e->w;
    if (attn__given(e->g)) w = attn_tape_mul(t, attn__unit(t, w, 0), e->g);
    const attn_var scores =
        attn_tape_additive_scores(t, attn_tape_linear(t, q, e->w_q, none, ATTN_ACT_NONE),
                                  attn_tape_linear(t, k, e->w_k, e->b, ATTN_ACT_NONE), w);
    return attn__given(e->r) ? attn_tape_add(t, scores, e->r) : scores;
}

/* mask B S in front of which T and, with rank 4, H stand. */
static attn_var monotonic_spread(attn_tape *t, attn_var mask, int rank)
{
    for (int i = 2; i < rank; i++) mask = attn_tape_unsqueeze(t, mask, 1);
    return mask;
}

attn_var attn__monotonic_stops(attn_tape *t, attn_var energy, attn_var mask, bool hard)
{
    const int rank = attn_tape_value(t, energy).rank;
    const attn_var zero = attn_tape_scalar(t, 0);
    const attn_var p = hard ? attn_tape_cast(t, attn_tape_less(t, zero, energy))
                            : attn_tape_sigmoid(t, energy);
    if (!attn__given(mask)) return p;
    return attn_tape_where(t, monotonic_spread(t, mask, rank), p, zero);
}

attn_var attn__monotonic_chunks(attn_tape *t, attn_var a, attn_var u, attn_var mask, int64_t w)
{
    const int rank = attn_tape_value(t, a).rank;
    if (w == 1) return a;
    if (attn__given(mask))
        u = attn_tape_where(t, monotonic_spread(t, mask, rank), u,
                            attn_tape_scalar(t, -(double)INFINITY));
    return attn_tape_chunkwise(t, a, u, w);
}

static attn_var monotonic_dot(attn_tape *t, const attn__monotonic *m, attn_var y, attn_var w_q,
                              attn_var w_k)
{
    const attn_var none = {0};
    const attn_var q =
        attn__heads_split(t, attn_tape_linear(t, m->x, w_q, none, ATTN_ACT_NONE), m->heads);
    const attn_var k =
        attn__heads_split(t, attn_tape_linear(t, y, w_k, none, ATTN_ACT_NONE), m->heads);
    const int64_t width = attn_tape_value(t, q).shape[3];
    return attn_tape_mul_scalar(t, attn_tape_matmul(t, q, attn_tape_transpose(t, k, 2, 3)),
                                width > 0 ? 1 / sqrt((double)width) : 0);
}

bool attn__monotonic_sound(const attn__build *b, const attn__monotonic *m)
{
    const bool chunks = attn__given(m->w_uq) && attn__given(m->w_uk);
    return attn__build_need(b, m->heads > 0, ATTN_E_HEADS, "r", "there must be a head", 1,
                            m->heads) &&
           attn__build_need(b, m->chunk >= 0, ATTN_E_PARAM, "chunk", "must not be negative", 0,
                            m->chunk) &&
           attn__build_need(b, m->chunk == 1 || chunks, ATTN_E_NULL, "w_uq and w_uk",
                            "are needed unless chunk is 1", 1, m->chunk);
}

attn_var attn__monotonic_heads(attn_tape *t, const attn__monotonic *m, attn_var *stops,
                               attn_var *weights)
{
    const attn_var none = {0}, y = attn__mask_rows(t, m->y, m->mask);
    const attn_var r = attn_tape_reshape(t, m->r, ATTN_DIMS(m->heads, 1, 1));
    const attn_var e = attn_tape_add(t, monotonic_dot(t, m, y, m->w_q, m->w_k), r);
    *stops = attn_tape_monotonic(t, attn__monotonic_stops(t, e, m->mask, m->hard), none);
    *weights = *stops;
    if (m->chunk != 1)
        *weights = attn__monotonic_chunks(t, *stops, monotonic_dot(t, m, y, m->w_uq, m->w_uk),
                                          m->mask, m->chunk);
    const attn_var v =
        attn__heads_split(t, attn_tape_linear(t, y, m->w_v, none, ATTN_ACT_NONE), m->heads);
    return attn_tape_matmul(t, *weights, v);
}
