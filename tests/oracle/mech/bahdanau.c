/* SPDX-License-Identifier: MIT
 * An encoder-decoder with attention, step by step. */
#include "oracle/mech_cells.h"

typedef struct bahdanau_sizes {
    int64_t T, S, I, D, E, A;
} bahdanau_sizes;

static void bahdanau_step(gallery_call *c, const bahdanau_sizes *z, int64_t b, int64_t i,
                          const double *keys, double *state)
{
    const int64_t row = b * z->T + i;
    const double *mask = gallery_at(c, "mask");
    const double *q = loops_linear(c, state, gallery_at(c, "w_q"), NULL, 1, z->D, z->A);
    double *a = gallery_at(c, "weights") + row * z->S;
    double *context = gallery_at(c, "context") + row * z->E;
    for (int64_t j = 0; j < z->S; j++)
        a[j] = loops_additive(q, keys + j * z->A, gallery_at(c, "w"), z->A);
    loops_softmax(a, mask ? mask + b * z->S : NULL, z->S);
    loops_mix(a, gallery_at(c, "y") + b * z->S * z->E, z->S, z->E, context);
    double *pushed = loops_linear(c, gallery_at(c, "x") + row * z->I, gallery_at(c, "w_x"),
                                  gallery_at(c, "b_x"), 1, z->I, 3 * z->D);
    const double *more =
        loops_linear(c, context, gallery_at(c, "w_c"), NULL, 1, z->E, 3 * z->D);
    for (int64_t g = 0; g < 3 * z->D; g++) pushed[g] += more[g];
    cells_gru(
        pushed,
        loops_linear(c, state, gallery_at(c, "w_h"), gallery_at(c, "b_h"), 1, z->D, 3 * z->D),
        z->D, state);
    for (int64_t d = 0; d < z->D; d++) gallery_at(c, "out")[row * z->D + d] = state[d];
}

static void bahdanau_oracle(gallery_call *c)
{
    const bahdanau_sizes z = {gallery_size(c, 'T'), gallery_size(c, 'S'), gallery_size(c, 'I'),
                              gallery_size(c, 'D'), gallery_size(c, 'E'), gallery_size(c, 'A')};
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) {
        const double *start = gallery_at(c, "start");
        const double *keys =
            loops_linear(c, gallery_at(c, "y") + b * z.S * z.E, gallery_at(c, "w_k"),
                         gallery_at(c, "b"), z.S, z.E, z.A);
        double *state = gallery_new(c, z.D);
        for (int64_t d = 0; start && d < z.D; d++) state[d] = start[b * z.D + d];
        for (int64_t i = 0; i < z.T; i++) bahdanau_step(c, &z, b, i, keys, state);
    }
}

static const char *const bahdanau_cases[] = {"B=2,T=3,S=5", "T=4,S=3;;b,b_x,b_h,start,mask",
                                             "B=2,T=2,S=4,I=1;;start", NULL};

const gallery_oracle gallery_oracle_bahdanau = {.cases = bahdanau_cases,
                                                .run = bahdanau_oracle};
