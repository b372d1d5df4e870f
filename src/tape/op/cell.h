/* SPDX-License-Identifier: MIT
 * One step of one row of a recurrent cell, forward and backward. a = x w_x^T + b_x lies in the
 * gates, p = h w_h^T + b_h in pushed, H numbers for each gate; s is the logistic function.
 *   GRU    r = s(a_r + p_r), z = s(a_z + p_z), n = tanh(a_n + r p_n), h' = n + z (h - n)
 *   LSTM   i, f, o = s(a + p), g = tanh(a_g + p_g), c' = f c + i g, h' = o tanh(c')
 * Forward leaves the gates where a was, and in extra (when kept) p_n or tanh(c'). Backward gets
 * gradients of the new states in d and leaves those of the old ones, without what comes through
 * p; d_a and d_p are the gradients of a and p. Plain products and sums, each rounded. */
#ifndef ATTN__TAPE_OP_CELL_H
#define ATTN__TAPE_OP_CELL_H

#include "tape/op/real.h"

enum { CELL_STATES = 2 };

typedef struct cell_row {
    const attn__kernels *k;
    int64_t H;
    real *gates, *pushed; /* pushed: scratch afterwards */
    real *extra;          /* H, or NULL */
    real *state[CELL_STATES];
} cell_row;

typedef struct cell_back {
    int64_t H;
    const real *gates, *extra;
    const real *before[CELL_STATES]; /* the old states */
    real *d[CELL_STATES];
    real *da, *dp; /* the same memory when they are the same numbers */
} cell_back;

/* ---- GRU --------------------------------------------------------------------------------- */

static void K(cell_gru)(const cell_row *row)
{
    const int64_t H = row->H;
    real *r = row->gates, *z = r + H, *n = z + H, *h = row->state[0];
    const real *p_n = row->pushed + 2 * H;
    for (int64_t i = 0; i < 2 * H; i++) r[i] += row->pushed[i];
    row->k->map[ATTN__MAP_sigmoid](2 * H, r, r);
    for (int64_t i = 0; i < H; i++) n[i] += r[i] * p_n[i];
    row->k->map[ATTN__MAP_tanh](H, n, n);
    for (int64_t i = 0; i < H; i++) h[i] = n[i] + z[i] * (h[i] - n[i]);
    if (row->extra) memcpy(row->extra, p_n, (size_t)H * sizeof(real));
}

static void K(cell_gru_back)(const cell_back *row)
{
    const int64_t H = row->H;
    const real *r = row->gates, *z = r + H, *n = z + H, *h = row->before[0];
    real *d = row->d[0], *da = row->da, *dp = row->dp;
    for (int64_t i = 0; i < H; i++) {
        const real d_n = d[i] * (1 - z[i]) * (1 - n[i] * n[i]);
        const real d_r = d_n * row->extra[i] * (r[i] * (1 - r[i]));
        const real d_z = d[i] * (h[i] - n[i]) * (z[i] * (1 - z[i]));
        da[i] = dp[i] = d_r;
        da[H + i] = dp[H + i] = d_z;
        da[2 * H + i] = d_n;
        dp[2 * H + i] = d_n * r[i];
        d[i] *= z[i];
    }
}

/* ---- LSTM -------------------------------------------------------------------------------- */

static void K(cell_lstm)(const cell_row *row)
{
    const int64_t H = row->H;
    real *in = row->gates, *f = in + H, *g = f + H, *o = g + H;
    real *h = row->state[0], *c = row->state[1], *t = row->extra ? row->extra : row->pushed;
    for (int64_t i = 0; i < 4 * H; i++) in[i] += row->pushed[i];
    row->k->map[ATTN__MAP_sigmoid](2 * H, in, in);
    row->k->map[ATTN__MAP_tanh](H, g, g);
    row->k->map[ATTN__MAP_sigmoid](H, o, o);
    for (int64_t i = 0; i < H; i++) c[i] = f[i] * c[i] + in[i] * g[i];
    row->k->map[ATTN__MAP_tanh](H, c, t);
    for (int64_t i = 0; i < H; i++) h[i] = o[i] * t[i];
}

static void K(cell_lstm_back)(const cell_back *row)
{
    const int64_t H = row->H;
    const real *in = row->gates, *f = in + H, *g = f + H, *o = g + H;
    const real *t = row->extra, *c = row->before[1];
    real *d_h = row->d[0], *d_c = row->d[1], *da = row->da;
    for (int64_t i = 0; i < H; i++) {
        const real d = d_c[i] + d_h[i] * o[i] * (1 - t[i] * t[i]);
        da[i] = d * g[i] * (in[i] * (1 - in[i]));
        da[H + i] = d * c[i] * (f[i] * (1 - f[i]));
        da[2 * H + i] = d * in[i] * (1 - g[i] * g[i]);
        da[3 * H + i] = d_h[i] * t[i] * (o[i] * (1 - o[i]));
        d_c[i] = d * f[i];
        d_h[i] = 0;
    }
}

/* ---- the kinds --------------------------------------------------------------------------- */

typedef struct cell_kind {
    int gates, states;
    void (*forward)(const cell_row *row);
    void (*backward)(const cell_back *row);
    bool same; /* da and dp are one */
} cell_kind;

static const cell_kind cell_kind_gru = {3, 1, K(cell_gru), K(cell_gru_back), false};
static const cell_kind cell_kind_lstm = {4, 2, K(cell_lstm), K(cell_lstm_back), true};

#endif
