/* SPDX-License-Identifier: MIT
 * Results of steps, one after the other, as one tensor: parts are collected sixteen at a time,
 * and sixteen of those, so that a long loop copies each a few times only and needs no list. */
#include "mech/mech.h"

/* The parts of one level become one part of the next. */
static attn_var series_join(attn__series *s, int level)
{
    const int n = s->n[level];
    s->n[level] = 0;
    if (n == 1) return s->part[level][0];
    const attn_var whole = attn_tape_concat(s->t, n, s->part[level], s->dim);
    for (int i = 0; i < n && s->own; i++) attn_tape_drop(s->t, s->part[level][i]);
    return whole;
}

void attn__series_add(attn__series *s, attn_var part)
{
    for (int level = 0; level < ATTN__SERIES_LEVELS; level++) {
        s->part[level][s->n[level]++] = part;
        if (s->n[level] < ATTN__SERIES_PARTS) return;
        part = series_join(s, level);
    }
}

attn_var attn__series_end(attn__series *s, attn_dims none)
{
    attn_var whole = {0};
    for (int level = 0; level < ATTN__SERIES_LEVELS; level++) {
        if (attn__given(whole)) s->part[level][s->n[level]++] = whole;
        if (s->n[level] > 0) whole = series_join(s, level);
    }
    if (attn__given(whole)) return whole;
    return attn_tape_expand(s->t, attn_tape_scalar(s->t, 0), none);
}
