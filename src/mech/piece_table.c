/* SPDX-License-Identifier: MIT
 * Constants that a mechanism computes for itself: tables of numbers, the sinusoidal encoding of
 * positions, and which pairs of a composed matrix are allowed. Angles and functions are doubles
 * with the same bits everywhere (kernel/math.c) and are rounded once to the tape's reals. */
#include "mech/mech.h"

attn_var attn__table(attn_tape *t, attn_dims shape, attn__table_fn fn, const void *arg)
{
    const attn_var y =
        attn__tape_contiguous(t, attn_tape_expand(t, attn_tape_scalar(t, 0), shape));
    const attn_tensor v = attn_tape_value(t, y);
    const int64_t n = attn__present(&v) ? attn_tensor_count(v) : 0;
    for (int64_t i = 0; i < n; i++) {
        if (v.dtype == ATTN_DTYPE_F64)
            ((double *)v.data)[i] = fn(arg, i);
        else
            ((float *)v.data)[i] = (float)fn(arg, i);
    }
    return y;
}

/* ---- sinusoids --------------------------------------------------------------------------- */

typedef struct table_waves {
    int64_t first, width;
    double base;
} table_waves;

static double table_wave(const void *arg, int64_t i)
{
    const table_waves *w = arg;
    const int64_t column = i % w->width, pairs = (w->width + 1) / 2;
    const double position = (double)w->first + (double)(i / w->width);
    /* An odd width has a last sine without its cosine; its pairs are those of width + 1. */
    const double theta = attn__root_power(w->base, column / 2, pairs);
    double s, c;
    attn__sincos(position * theta, &s, &c);
    return column % 2 ? c : s;
}

attn_var attn__table_sinusoid(attn_tape *t, int64_t first, int64_t n, int64_t width,
                              double base)
{
    const table_waves waves = {first, width, base};
    return attn__table(t, ATTN_DIMS(n, width), table_wave, &waves);
}

/* ---- pairs ------------------------------------------------------------------------------- */

typedef struct table_pairs {
    int64_t n_keys, offset;
} table_pairs;

static double table_seen(const void *arg, int64_t i)
{
    const table_pairs *p = arg;
    return i % p->n_keys - i / p->n_keys <= p->offset;
}

attn_var attn__table_allowed(attn_tape *t, attn_var mask, bool causal, int64_t offset,
                             int64_t n_queries, int64_t n_keys)
{
    const table_pairs pairs = {n_keys, offset};
    const attn_dims shape = ATTN_DIMS(1, 1, n_queries, n_keys);
    attn_var seen = {0};
    if (causal) seen = attn__table(t, shape, table_seen, &pairs);
    if (attn__given(mask)) {
        const attn_var keys = attn_tape_unsqueeze(
            t, attn_tape_unsqueeze(t, attn_tape_cast(t, mask), 1), 1); /* B 1 1 S */
        seen = causal ? attn_tape_mul(t, keys, seen) : keys;
    }
    if (!attn__given(seen)) return seen;
    return attn_tape_less(t, attn_tape_scalar(t, 0), seen);
}
