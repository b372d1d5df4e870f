/* SPDX-License-Identifier: MIT
 * Distances along an axis as waves, without a table of pairs. With f_t = base^(-2t/F),
 *
 *     sum_t s_t sin(f_t (j - i)) + c_t cos(f_t (j - i))
 *
 * is the product of (c_t cos f_t i - s_t sin f_t i, c_t sin f_t i + s_t cos f_t i), which is
 * (c, s) turned as a rotary position turns it, with (cos f_t j, sin f_t j). So a query carries
 * F turned numbers, a key F waves, and the engine's scores hold the distance. */
#include "mech/mech.h"

typedef struct wave_axis {
    const attn__wave *w;
    bool along_x;
} wave_axis;

/* Element i of places x F: cosines, then sines. */
static double wave_number(const void *arg, int64_t i)
{
    const wave_axis *a = arg;
    const attn__wave *w = a->w;
    const int64_t place = i / w->F, half = w->F / 2, column = i % w->F;
    const int64_t at = (a->along_x ? place % w->wide : place / w->wide) * w->stride;
    double s, c;
    attn__sincos((double)at * attn__root_power(w->base, column % half, half), &s, &c);
    return column < half ? c : s;
}

attn_var attn__wave_places(attn_tape *t, const attn__wave *w, bool along_x)
{
    const wave_axis axis = {w, along_x};
    const int64_t area = attn__size_times(t, w->high, w->wide);
    return attn__table(t, ATTN_DIMS(area, w->F), wave_number, &axis);
}

attn_var attn__wave_turn(attn_tape *t, attn_var asks, attn_var places)
{
    const attn_tensor v = attn_tape_value(t, asks);
    if (!attn__present(&v)) return (attn_var){0};
    const int64_t F = v.shape[v.rank - 1], half = F / 2;
    const attn_var s = attn_tape_slice(t, asks, -1, 0, half);
    const attn_var c = attn_tape_slice(t, asks, -1, half, F);
    const attn_var cosine = attn_tape_slice(t, places, -1, 0, half);
    const attn_var sine = attn_tape_slice(t, places, -1, half, F);
    const attn_var both[2] = {
        attn_tape_sub(t, attn_tape_mul(t, c, cosine), attn_tape_mul(t, s, sine)),
        attn_tape_add(t, attn_tape_mul(t, c, sine), attn_tape_mul(t, s, cosine))};
    return attn_tape_concat(t, 2, both, -1);
}
