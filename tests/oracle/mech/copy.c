/* SPDX-License-Identifier: MIT
 * Copying, word by word and place by place. */
#include "oracle/mech_loops.h"

static void copy_row(gallery_call *c, int64_t b, int64_t row)
{
    const int64_t S = gallery_size(c, 'S'), D = gallery_size(c, 'D'), E = gallery_size(c, 'E'),
                  V = gallery_size(c, 'V'), N = gallery_size(c, 'N');
    const double *q = gallery_at(c, "q") + row * D, *mask = gallery_at(c, "mask");
    const double *keys =
        loops_linear(c, gallery_at(c, "y") + b * S * E, gallery_at(c, "w_c"), NULL, S, E, D);
    const double *said =
        loops_linear(c, q, gallery_at(c, "w_v"), gallery_at(c, "b_v"), 1, D, V);
    double *e = gallery_new(c, V + S), *may = gallery_new(c, V + S);
    double *out = gallery_at(c, "out") + row * N;
    for (int64_t v = 0; v < V; v++) e[v] = said[v], may[v] = gallery_at(c, "words")[b * N + v];
    for (int64_t j = 0; j < S; j++) {
        for (int64_t d = 0; d < D; d++) e[V + j] += q[d] * tanh(keys[j * D + d]);
        may[V + j] = mask ? mask[b * S + j] : 1;
    }
    loops_softmax(e, may, V + S);
    for (int64_t v = 0; v < V; v++) out[v] = e[v];
    for (int64_t j = 0; j < S; j++) {
        out[(int64_t)gallery_at(c, "ids")[b * S + j]] += e[V + j];
        gallery_at(c, "weights")[row * S + j] = e[V + j];
        gallery_at(c, "copying")[row] += e[V + j];
    }
}

static void copy_oracle(gallery_call *c)
{
    const int64_t T = gallery_size(c, 'T');
    for (int64_t row = 0; row < gallery_size(c, 'B') * T; row++) copy_row(c, row / T, row);
}

static const char *const copy_cases[] = {"B=2,T=3,S=5", "T=2,S=7,V=4,N=4;;b_v,mask",
                                         "B=2,T=2,S=3,V=3,N=6;;mask", NULL};

const gallery_oracle gallery_oracle_copy = {.cases = copy_cases, .run = copy_oracle};
