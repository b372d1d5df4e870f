/* SPDX-License-Identifier: MIT
 * A bidirectional GRU and attention on its states, step by step. */
#include "oracle/mech_cells.h"

/* States of one direction into their half of the rows. */
static void rnn_attention_read(gallery_call *c, const char *const *names, int64_t b, int half)
{
    const int64_t S = gallery_size(c, 'S'), I = gallery_size(c, 'I'), R = gallery_size(c, 'R');
    const double *mask = gallery_at(c, "mask");
    double *state = gallery_new(c, R), *states = gallery_at(c, "states") + b * S * 2 * R;
    for (int64_t step = 0; step < S; step++) {
        const int64_t j = half ? S - 1 - step : step;
        if (mask && mask[b * S + j] == 0) continue;
        cells_gru(loops_linear(c, gallery_at(c, "x") + (b * S + j) * I, gallery_at(c, names[0]),
                               gallery_at(c, names[2]), 1, I, 3 * R),
                  loops_linear(c, state, gallery_at(c, names[1]), gallery_at(c, names[3]), 1, R,
                               3 * R),
                  R, state);
        for (int64_t r = 0; r < R; r++) states[(j * 2 + half) * R + r] = state[r];
    }
}

static void rnn_attention_oracle(gallery_call *c)
{
    static const char *const forward[] = {"w_x", "w_h", "b_x", "b_h"};
    static const char *const back[] = {"w_back_x", "w_back_h", "b_back_x", "b_back_h"};
    const int64_t S = gallery_size(c, 'S'), R = gallery_size(c, 'R'), A = gallery_size(c, 'A');
    const double *mask = gallery_at(c, "mask");
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) {
        const double *states = gallery_at(c, "states") + b * S * 2 * R;
        double *weights = gallery_at(c, "weights") + b * S;
        rnn_attention_read(c, forward, b, 0);
        rnn_attention_read(c, back, b, 1);
        const double *u =
            loops_linear(c, states, gallery_at(c, "w_a"), gallery_at(c, "b_a"), S, 2 * R, A);
        for (int64_t j = 0; j < S; j++)
            for (int64_t a = 0; a < A; a++)
                weights[j] += gallery_at(c, "w")[a] * tanh(u[j * A + a]);
        loops_softmax(weights, mask ? mask + b * S : NULL, S);
        loops_mix(weights, states, S, 2 * R, gallery_at(c, "out") + b * 2 * R);
    }
}

static const char *const rnn_attention_cases[] = {
    "B=2,S=5", "S=4;;b_x,b_h,b_back_x,b_back_h,b_a,mask", "B=2,S=3,R=2;;b_h,b_back_x", NULL};

const gallery_oracle gallery_oracle_rnn_attention = {.cases = rnn_attention_cases,
                                                     .run = rnn_attention_oracle};
