/* SPDX-License-Identifier: MIT
 * A pointer network, pair by pair. */
#include "oracle/mech_loops.h"

static void pointer_row(gallery_call *c, int64_t b, int64_t row)
{
    const int64_t S = gallery_size(c, 'S'), D = gallery_size(c, 'D'), C = gallery_size(c, 'C'),
                  A = gallery_size(c, 'A');
    const double *mask = gallery_at(c, "mask"), *allowed = gallery_at(c, "allowed");
    const double *q =
        loops_linear(c, gallery_at(c, "q") + row * D, gallery_at(c, "w_q"), NULL, 1, D, A);
    const double *k =
        loops_linear(c, gallery_at(c, "k") + b * S * C, gallery_at(c, "w_k"), NULL, S, C, A);
    double *out = gallery_at(c, "out") + row * S, *seen = gallery_new(c, S);
    int64_t best = 0;
    for (int64_t j = 0; j < S; j++) {
        out[j] = loops_additive(q, k + j * A, gallery_at(c, "w"), A);
        seen[j] = (!mask || mask[b * S + j] != 0) && (!allowed || allowed[row * S + j] != 0);
    }
    loops_softmax(out, seen, S);
    for (int64_t j = 0; j < S; j++) {
        if (out[j] > out[best]) best = j;
        gallery_at(c, "log_weights")[row * S + j] = log(out[j]);
    }
    gallery_at(c, "pick")[row] = (double)best;
}

static void pointer_oracle(gallery_call *c)
{
    const int64_t T = gallery_size(c, 'T');
    for (int64_t row = 0; row < gallery_size(c, 'B') * T; row++) pointer_row(c, row / T, row);
}

static const char *const pointer_cases[] = {"B=2,T=4,S=6", "T=3,S=7;;mask",
                                            "B=2,T=2,S=5;;mask,allowed", NULL};

const gallery_oracle gallery_oracle_pointer = {.cases = pointer_cases, .run = pointer_oracle};
