/* SPDX-License-Identifier: MIT
 * What is asked of a matrix of scores s_ij = a_i.b_j that is never whole: a tile of its rows at
 * a time.
 *
 *     max   max_j s_ij                       for every row
 *     mass  sum_i w_i softmax_j(s_ij)        for every column: what b_j got in all
 *     mix   sum_j tanh(s_ij) v_j             for every row
 *
 * a B T D, b B S D. mass and mix compute a tile again on the way back; max needs nothing of it
 * but the winners' places. */
#include "mech/mech.h"

#include <math.h>

enum { SCORE_ROWS = 64 };

/* s of a tile: rows B n D against all of b. */
static attn_var score_tile(attn_tape *t, attn_var rows, attn_var b)
{
    return attn_tape_matmul(t, rows, attn_tape_transpose(t, b, 1, 2));
}

/* How many rows x B T D has; 0 on a tape that has failed. */
static int64_t score_rows(attn_tape *t, attn_var x)
{
    const attn_tensor v = attn_tape_value(t, x);
    return attn__present(&v) ? v.shape[1] : 0;
}

/* ---- the largest of each row ------------------------------------------------------------- */

/* B S flags to B 1 S: 0 or -inf. */
static attn_var score_bias(attn_tape *t, attn_var mask)
{
    const attn_var bias = attn_tape_where(t, mask, attn_tape_scalar(t, 0),
                                          attn_tape_scalar(t, -(double)INFINITY));
    return attn_tape_unsqueeze(t, bias, 1);
}

/* Neither a sum nor a maximum reads its operands on the way back. */
static attn_var score_max_tile(attn_tape *t, attn_var rows, attn_var b, attn_var bias)
{
    const attn_var s = score_tile(t, rows, b);
    const attn_var hidden = attn__given(bias) ? attn_tape_add(t, s, bias) : s;
    const attn_var top = attn_tape_max(t, hidden, ATTN_DIMS(-1), false);
    attn_tape_drop(t, s);
    if (attn__given(bias)) attn_tape_drop(t, hidden);
    return top;
}

attn_var attn__score_max(attn_tape *t, attn_var a, attn_var b, attn_var mask)
{
    const attn_tensor rows = attn_tape_value(t, a), keys = attn_tape_value(t, b);
    attn__series row = {.t = t, .dim = 1, .own = true};
    if (!attn__present(&rows) || !attn__present(&keys)) return (attn_var){0};
    if (keys.shape[1] == 0 || rows.shape[1] == 0)
        return attn_tape_expand(t, attn_tape_scalar(t, -(double)INFINITY),
                                ATTN_DIMS(rows.shape[0], rows.shape[1]));
    const attn_var clean = attn__mask_rows(t, b, mask);
    const attn_var bias = attn__given(mask) ? score_bias(t, mask) : (attn_var){0};
    for (int64_t i = 0; i < rows.shape[1]; i += SCORE_ROWS) {
        const attn_var tile = attn_tape_slice(t, a, 1, i, i + SCORE_ROWS);
        attn__series_add(&row, score_max_tile(t, tile, clean, bias));
    }
    return attn__series_end(&row, ATTN_DIMS(rows.shape[0], 0));
}

/* ---- what every column gets -------------------------------------------------------------- */

enum { MASS_W, MASS_A, MASS_B, MASS_MASK, MASS_IN };

static void score_mass_tile(attn_tape *t, void *user, const attn_var *in, attn_var *out)
{
    (void)user;
    attn_var mask = in[MASS_MASK];
    if (attn__given(mask)) mask = attn_tape_unsqueeze(t, mask, 1);
    const attn_var share =
        attn_tape_softmax(t, score_tile(t, in[MASS_A], in[MASS_B]), mask, -1);
    out[0] = attn__pool(t, in[MASS_W], share);
}

static attn_var score_sum(attn_tape *t, attn_var sum, attn_var part)
{
    if (!attn__given(sum)) return part;
    const attn_var more = attn_tape_add(t, sum, part);
    attn_tape_drop(t, sum);
    attn_tape_drop(t, part);
    return more;
}

attn_var attn__score_mass(attn_tape *t, attn_var w, attn_var a, attn_var b, attn_var mask)
{
    attn_var in[MASS_IN] = {[MASS_B] = b, [MASS_MASK] = mask}, sum = {0};
    for (int64_t i = 0; i == 0 || i < score_rows(t, a); i += SCORE_ROWS) {
        attn_var part;
        in[MASS_W] = attn_tape_slice(t, w, 1, i, i + SCORE_ROWS);
        in[MASS_A] = attn_tape_slice(t, a, 1, i, i + SCORE_ROWS);
        if (!attn_tape_checkpoint(t, score_mass_tile, NULL, MASS_IN, in, 1, &part)) break;
        sum = score_sum(t, sum, part);
    }
    return sum;
}

/* ---- tanh of the scores as weights ------------------------------------------------------- */

enum { MIX_A, MIX_B, MIX_V, MIX_IN };

static void score_mix_tile(attn_tape *t, void *user, const attn_var *in, attn_var *out)
{
    (void)user;
    const attn_var c = attn_tape_tanh(t, score_tile(t, in[MIX_A], in[MIX_B]));
    out[0] = attn_tape_matmul(t, c, in[MIX_V]);
}

attn_var attn__score_mix(attn_tape *t, attn_var a, attn_var b, attn_var v)
{
    attn_var in[MIX_IN] = {[MIX_B] = b, [MIX_V] = v};
    attn__series rows = {.t = t, .dim = 1, .own = true};
    for (int64_t i = 0; i == 0 || i < score_rows(t, a); i += SCORE_ROWS) {
        attn_var part;
        in[MIX_A] = attn_tape_slice(t, a, 1, i, i + SCORE_ROWS);
        if (!attn_tape_checkpoint(t, score_mix_tile, NULL, MIX_IN, in, 1, &part)) break;
        attn__series_add(&rows, part);
    }
    return attn__series_end(&rows, ATTN_DIMS(0)); /* there is one tile at least */
}
