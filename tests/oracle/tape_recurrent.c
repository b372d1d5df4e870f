/* SPDX-License-Identifier: MIT
 * GRU and LSTM by their formulas, one number at a time. Operands: x, first states, mask, and
 * w_x, w_h, b_x, b_h of each direction. i[0] directions, i[1] gates, i[2] which last states
 * are asked for. */
#include <math.h>

#include "tape_case.h"

enum { RECURRENT_MOST = 64 }; /* H of a case that an oracle sees */

typedef struct recurrent_sizes {
    int64_t B, T, I, H, D;
    int states, mask, cell; /* operands: the states begin at 1 */
} recurrent_sizes;

static recurrent_sizes recurrent_of(const tape_draw *d)
{
    recurrent_sizes s = {
        .B = d->in[0].shape[0], .T = d->in[0].shape[1], .I = d->in[0].shape[2]};
    s.D = d->i[0];
    s.states = d->i[1] == 4 ? 2 : 1;
    s.mask = 1 + s.states;
    s.cell = s.mask + 1;
    s.H = d->in[s.cell + 1].shape[1];
    return s;
}

static void recurrent_maybe(tape_draw *d, int percent, int rank, const int64_t *shape)
{
    if (test_rng_chance(d->rng, percent))
        tape_reals(d, rank, shape, true);
    else
        tape_absent(d);
}

static void recurrent_draw(tape_draw *d, int gates)
{
    const int64_t T = d->room > 0 ? test_rng_range(d->rng, 2, 9) : tape_size(d, 0);
    const int64_t H = tape_size(d, 0), B = tape_size(d, 0);
    const int64_t I = tape_size(d, 0), D = test_rng_range(d->rng, 1, 2), GH = gates * H;
    const int64_t state[] = {D, B, H};
    d->i[0] = D;
    d->i[1] = gates;
    d->i[2] = test_rng_range(d->rng, 0, 3);
    tape_reals(d, 3, (const int64_t[]){B, T, I}, true);
    for (int s = 0; s < (gates == 4 ? 2 : 1); s++)
        recurrent_maybe(d, 60, D == 1 ? 2 : 3, state + (D == 1));
    if (test_rng_chance(d->rng, 50))
        tape_bools(d, 2, (const int64_t[]){B, T});
    else
        tape_absent(d);
    for (int64_t i = 0; i < D; i++) {
        tape_reals(d, 2, (const int64_t[]){GH, I}, true);
        tape_reals(d, 2, (const int64_t[]){GH, H}, true);
        recurrent_maybe(d, 70, 1, &GH);
        recurrent_maybe(d, 70, 1, &GH);
    }
}

static double recurrent_sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* One step of one row: h (and c) become the next ones. */
static void recurrent_gru(int64_t H, const double *a, const double *p, double *h)
{
    for (int64_t i = 0; i < H; i++) {
        const double r = recurrent_sigmoid(a[i] + p[i]);
        const double z = recurrent_sigmoid(a[H + i] + p[H + i]);
        const double n = tanh(a[2 * H + i] + r * p[2 * H + i]);
        h[i] = (1 - z) * n + z * h[i];
    }
}

static void recurrent_lstm(int64_t H, const double *a, const double *p, double *h, double *c)
{
    for (int64_t i = 0; i < H; i++) {
        const double in = recurrent_sigmoid(a[i] + p[i]);
        const double forget = recurrent_sigmoid(a[H + i] + p[H + i]);
        const double g = tanh(a[2 * H + i] + p[2 * H + i]);
        const double o = recurrent_sigmoid(a[3 * H + i] + p[3 * H + i]);
        c[i] = forget * c[i] + in * g;
        h[i] = o * tanh(c[i]);
    }
}

/* to = w x + b. */
static void recurrent_affine(int64_t rows, int64_t cols, const double *w, const double *b,
                             const double *x, double *to)
{
    for (int64_t i = 0; i < rows; i++) {
        to[i] = b ? b[i] : 0;
        for (int64_t k = 0; k < cols; k++) to[i] += w[i * cols + k] * x[k];
    }
}

/* Direction dir of sample b. */
static void recurrent_walk(const tape_draw *d, const double *const *in, double *const *out,
                           int64_t dir, int64_t b)
{
    const recurrent_sizes s = recurrent_of(d);
    const double *const *cell = in + s.cell + dir * 4;
    double state[2][RECURRENT_MOST] = {{0}}, a[4 * RECURRENT_MOST], p[4 * RECURRENT_MOST];
    for (int k = 0; k < s.states; k++)
        for (int64_t i = 0; in[1 + k] && i < s.H; i++)
            state[k][i] = in[1 + k][(dir * s.B + b) * s.H + i];
    for (int64_t step = 0; step < s.T; step++) {
        const int64_t t = dir ? s.T - 1 - step : step;
        if (in[s.mask] && in[s.mask][b * s.T + t] == 0) continue;
        recurrent_affine(d->i[1] * s.H, s.I, cell[0], cell[2], in[0] + (b * s.T + t) * s.I, a);
        recurrent_affine(d->i[1] * s.H, s.H, cell[1], cell[3], state[0], p);
        if (s.states == 2)
            recurrent_lstm(s.H, a, p, state[0], state[1]);
        else
            recurrent_gru(s.H, a, p, state[0]);
        for (int64_t i = 0; i < s.H; i++)
            out[0][((b * s.T + t) * s.D + dir) * s.H + i] = state[0][i];
    }
    for (int k = 0; k < s.states; k++)
        for (int64_t i = 0; out[1 + k] && i < s.H; i++)
            out[1 + k][(dir * s.B + b) * s.H + i] = state[k][i];
}

static void recurrent_oracle(const tape_draw *d, const double *const *in,
                             const attn_tensor *shape, double *const *out)
{
    (void)shape;
    for (int64_t dir = 0; dir < d->i[0]; dir++)
        for (int64_t b = 0; b < d->in[0].shape[0]; b++) recurrent_walk(d, in, out, dir, b);
}

/* ---- the two ----------------------------------------------------------------------------- */

static void recurrent_cells(const tape_draw *d, const attn_var *in, attn_cell *cells)
{
    for (int64_t i = 0; i < d->i[0]; i++, in += 4)
        cells[i] = (attn_cell){in[0], in[1], in[2], in[3]};
}

static void gru_draw(tape_draw *d)
{
    recurrent_draw(d, 3);
}

static void gru_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    attn_cell cells[2];
    recurrent_cells(d, in + 3, cells);
    out[0] = attn_tape_gru(t, in[0], in[1], in[2], (int)d->i[0], cells,
                           d->i[2] & 1 ? &out[1] : NULL);
}

const tape_case tape_case_gru = {"gru",         2, gru_draw, gru_apply, recurrent_oracle,
                                 .exact = false};

static void lstm_draw(tape_draw *d)
{
    recurrent_draw(d, 4);
}

static void lstm_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    attn_cell cells[2];
    recurrent_cells(d, in + 4, cells);
    out[0] = attn_tape_lstm(t, in[0], in[1], in[2], in[3], (int)d->i[0], cells,
                            d->i[2] & 1 ? &out[1] : NULL, d->i[2] & 2 ? &out[2] : NULL);
}

const tape_case tape_case_lstm = {"lstm",        3, lstm_draw, lstm_apply, recurrent_oracle,
                                  .exact = false};
