/* SPDX-License-Identifier: MIT
 * Sums over a window that moves along a sequence, with weights that the heads' channels share:
 *
 *     out_i,c = sum_k weights_i,h(c),k x_{i + k - lead},c        0 beyond the ends
 *
 * One pass a tap, so nothing wider than the sequence is kept. */
#include "mech/mech.h"

/* Tap k of x, padded along dim 1, for all of T. */
static attn_var window_tap(attn_tape *t, attn_var padded, int64_t k, int64_t T)
{
    return attn_tape_slice(t, padded, 1, k, k + T);
}

/* x B T C, weights (B or 1) (T or 1) H taps. */
static attn_var window_sum(attn_tape *t, attn_var x, attn_var weights, int64_t lead)
{
    const attn_tensor v = attn_tape_value(t, x), w = attn_tape_value(t, weights);
    if (!attn__present(&v) || !attn__present(&w)) return (attn_var){0};
    const int64_t T = v.shape[1], heads = w.shape[2], taps = w.shape[3];
    if (v.shape[2] % attn__max(heads, 1) != 0 || heads < 1)
        return attn__var_fail(t, ATTN_E_HEADS, "heads", "channels must divide among the heads",
                              heads, v.shape[2]);
    const attn_dims split = ATTN_DIMS(v.shape[0], T, heads, v.shape[2] / heads);
    const attn_var own = attn_tape_reshape(t, x, split);
    const attn_var padded = attn_tape_pad(t, own, 1, lead, taps - 1 - lead, 0);
    attn_var sum = {0};
    for (int64_t k = 0; k < taps; k++) {
        const attn_var part = attn_tape_mul(t, window_tap(t, padded, k, T),
                                            attn_tape_slice(t, weights, 3, k, k + 1));
        const attn_var more = attn__given(sum) ? attn_tape_add(t, sum, part) : part;
        if (!attn__given(more)) return more;
        if (attn__given(sum)) attn_tape_drop(t, sum), attn_tape_drop(t, part);
        sum = more;
    }
    return attn_tape_reshape(t, sum, ATTN_DIMS(v.shape[0], T, v.shape[2]));
}

typedef struct window_view {
    const attn_tensor *mask; /* absent: all is allowed */
    int64_t T, taps, lead;
} window_view;

/* Element i of B T 1 taps: whether a tap sees a place of the sequence that mask allows. */
static double window_sees(const void *arg, int64_t i)
{
    const window_view *w = arg;
    const int64_t b = i / w->taps / w->T, j = i / w->taps % w->T + i % w->taps - w->lead;
    const attn_tensor *m = w->mask;
    if (j < 0 || j >= w->T) return 0;
    return !attn__present(m) ||
           attn__get_int(m->dtype, m->data, b * m->stride[0] + j * m->stride[1]) != 0;
}

static attn_var window_seen(attn_tape *t, attn_var x, attn_var mask, int64_t taps, int64_t lead)
{
    const attn_tensor v = attn_tape_value(t, x), m = attn_tape_value(t, mask);
    if (!attn__present(&v)) return (attn_var){0};
    const window_view view = {&m, v.shape[1], taps, lead};
    const attn_dims shape = ATTN_DIMS(v.shape[0], v.shape[1], 1, taps);
    return attn_tape_less(t, attn_tape_scalar(t, 0), attn__table(t, shape, window_sees, &view));
}

attn_var attn__window_attend(attn_tape *t, attn_var x, const attn__window *window,
                             attn_var *weights)
{
    const attn_tensor s = attn_tape_value(t, window->scores);
    if (!attn__present(&s)) return (attn_var){0};
    const int64_t taps = s.shape[3], lead = window->causal ? taps - 1 : taps / 2;
    const attn_var mask = window->mask;
    attn_var seen = {0};
    if (taps < 1)
        return attn__var_fail(t, ATTN_E_SHAPE, "w", "the window must see a place", 1, taps);
    if (window->renormalise) seen = window_seen(t, x, mask, taps, lead);
    x = attn__mask_rows(t, x, mask);
    attn_var scores = window->scores;
    if (attn__given(seen)) { /* a window at the end has other weights than one inside */
        const attn_tensor v = attn_tape_value(t, x);
        scores = attn_tape_expand(t, scores, ATTN_DIMS(v.shape[0], v.shape[1], -1, -1));
    }
    *weights = attn_tape_softmax(t, scores, seen, 3);
    return window_sum(t, x, *weights, lead);
}
