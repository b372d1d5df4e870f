/* SPDX-License-Identifier: MIT
 * One step of a GRU and of an LSTM, for oracles, by their formulas. pushed: what the input
 * brings to the gates, its bias in it; held: the same of the state. */
#ifndef ATTN_TESTS_MECH_CELLS_H
#define ATTN_TESTS_MECH_CELLS_H

#include "mech_loops.h"

static inline void cells_gru(const double *pushed, const double *held, int64_t D, double *state)
{
    for (int64_t d = 0; d < D; d++) {
        const double r = loops_sigmoid(pushed[d] + held[d]);
        const double z = loops_sigmoid(pushed[D + d] + held[D + d]);
        const double n = tanh(pushed[2 * D + d] + r * held[2 * D + d]);
        state[d] = (1 - z) * n + z * state[d];
    }
}

static inline void cells_lstm(const double *pushed, const double *held, int64_t D,
                              double *state, double *cell)
{
    for (int64_t d = 0; d < D; d++) {
        const double i = loops_sigmoid(pushed[d] + held[d]);
        const double f = loops_sigmoid(pushed[D + d] + held[D + d]);
        const double g = tanh(pushed[2 * D + d] + held[2 * D + d]);
        const double o = loops_sigmoid(pushed[3 * D + d] + held[3 * D + d]);
        cell[d] = f * cell[d] + i * g;
        state[d] = o * tanh(cell[d]);
    }
}

#endif
