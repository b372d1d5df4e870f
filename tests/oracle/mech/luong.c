/* SPDX-License-Identifier: MIT
 * Luong's attention, pair by pair, with each of its scores. */
#include "oracle/mech_loops.h"

static double luong_score(gallery_call *c, const double *q, const double *y)
{
    const int64_t D = gallery_size(c, 'D'), E = gallery_size(c, 'E'), A = gallery_size(c, 'A');
    if (gallery_i(c, "score") == 0) return loops_dot(q, y, D);
    if (gallery_i(c, "score") == 1)
        return loops_dot(q, loops_linear(c, y, gallery_at(c, "w_a"), NULL, 1, E, D), D);
    return loops_additive(loops_linear(c, q, gallery_at(c, "w_q"), NULL, 1, D, A),
                          loops_linear(c, y, gallery_at(c, "w_k"), NULL, 1, E, A),
                          gallery_at(c, "w"), A);
}

static void luong_row(gallery_call *c, int64_t b, int64_t row)
{
    const int64_t S = gallery_size(c, 'S'), D = gallery_size(c, 'D'), E = gallery_size(c, 'E'),
                  P = gallery_size(c, 'P');
    const double *q = gallery_at(c, "q") + row * D, *y = gallery_at(c, "y") + b * S * E;
    const double *mask = gallery_at(c, "mask");
    double *weights = gallery_at(c, "weights") + row * S;
    double *context = gallery_at(c, "context") + row * E;
    for (int64_t j = 0; j < S; j++) weights[j] = luong_score(c, q, y + j * E);
    loops_softmax(weights, mask ? mask + b * S : NULL, S);
    loops_mix(weights, y, S, E, context);
    for (int64_t p = 0; p < P; p++)
        gallery_at(c, "out")[row * P + p] =
            tanh(loops_dot(context, gallery_at(c, "w_c") + p * E, E) +
                 loops_dot(q, gallery_at(c, "w_h") + p * D, D));
}

static void luong_oracle(gallery_call *c)
{
    const int64_t T = gallery_size(c, 'T');
    for (int64_t row = 0; row < gallery_size(c, 'B') * T; row++) luong_row(c, row / T, row);
}

static const char *const luong_cases[] = {"B=2,T=4,S=6,D=3,E=3;;w_a,w_q,w_k,w",
                                          "B=2,D=3,E=5;score=general;w_q,w_k,w,mask",
                                          "B=2,T=3,D=3,E=5;score=concat;w_a", NULL};

const gallery_oracle gallery_oracle_luong = {.cases = luong_cases, .run = luong_oracle};
