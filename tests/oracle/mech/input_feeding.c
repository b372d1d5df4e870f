/* SPDX-License-Identifier: MIT
 * Translation with input feeding, step by step. */
#include "oracle/mech_cells.h"

typedef struct feeding_sizes {
    int64_t T, S, I, D, E, P;
} feeding_sizes;

/* out B T P of one row, and its weights. */
static void feeding_attend(gallery_call *c, const feeding_sizes *z, int64_t b, int64_t row,
                           const double *state)
{
    const double *y = gallery_at(c, "y") + b * z->S * z->E, *mask = gallery_at(c, "mask");
    const double *keys = loops_linear(c, y, gallery_at(c, "w_a"), NULL, z->S, z->E, z->D);
    double *a = gallery_at(c, "weights") + row * z->S, *context = gallery_new(c, z->E);
    for (int64_t j = 0; j < z->S; j++) a[j] = loops_dot(state, keys + j * z->D, z->D);
    loops_softmax(a, mask ? mask + b * z->S : NULL, z->S);
    loops_mix(a, y, z->S, z->E, context);
    for (int64_t p = 0; p < z->P; p++)
        gallery_at(c, "out")[row * z->P + p] =
            tanh(loops_dot(context, gallery_at(c, "w_c") + p * z->E, z->E) +
                 loops_dot(state, gallery_at(c, "w_p") + p * z->D, z->D));
}

static void feeding_entry(gallery_call *c, const feeding_sizes *z, int64_t b)
{
    const double *start = gallery_at(c, "start"), *first = gallery_at(c, "start_state");
    const double *first_cell = gallery_at(c, "start_cell"), *fed = gallery_new(c, z->P);
    double *state = gallery_at(c, "state") + b * z->D, *cell = gallery_at(c, "cell") + b * z->D;
    if (start) fed = start + b * z->P;
    for (int64_t d = 0; d < z->D; d++) {
        state[d] = first ? first[b * z->D + d] : 0;
        cell[d] = first_cell ? first_cell[b * z->D + d] : 0;
    }
    for (int64_t i = 0; i < z->T; i++) {
        const int64_t row = b * z->T + i, gates = 4 * z->D;
        double *pushed = loops_linear(c, gallery_at(c, "x") + row * z->I, gallery_at(c, "w_x"),
                                      gallery_at(c, "b_x"), 1, z->I, gates);
        const double *more = loops_linear(c, fed, gallery_at(c, "w_f"), NULL, 1, z->P, gates);
        const double *held =
            loops_linear(c, state, gallery_at(c, "w_h"), gallery_at(c, "b_h"), 1, z->D, gates);
        for (int64_t g = 0; g < gates; g++) pushed[g] += more[g];
        cells_lstm(pushed, held, z->D, state, cell);
        feeding_attend(c, z, b, row, state);
        fed = gallery_at(c, "out") + row * z->P;
    }
}

static void input_feeding_oracle(gallery_call *c)
{
    const feeding_sizes z = {gallery_size(c, 'T'), gallery_size(c, 'S'), gallery_size(c, 'I'),
                             gallery_size(c, 'D'), gallery_size(c, 'E'), gallery_size(c, 'P')};
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) feeding_entry(c, &z, b);
}

static const char *const input_feeding_cases[] = {
    "B=2,T=3,S=5", "T=4,S=3;;b_x,b_h,start,start_state,start_cell,mask",
    "B=2,T=2,S=4,I=1;;start_cell", NULL};

const gallery_oracle gallery_oracle_input_feeding = {.cases = input_feeding_cases,
                                                     .run = input_feeding_oracle};
