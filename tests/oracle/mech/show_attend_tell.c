/* SPDX-License-Identifier: MIT
 * Captions by soft attention, cell by cell. */
#include "oracle/mech_loops.h"

static void caption_row(gallery_call *c, int64_t b, int64_t row)
{
    const int64_t S = gallery_size(c, 'S'), D = gallery_size(c, 'D'), E = gallery_size(c, 'E'),
                  A = gallery_size(c, 'A');
    const double *q = gallery_at(c, "q") + row * D, *y = gallery_at(c, "y") + b * S * E;
    const double *mask = gallery_at(c, "mask"), *w_g = gallery_at(c, "w_g");
    const double *hq = loops_linear(c, q, gallery_at(c, "w_q"), NULL, 1, D, A);
    const double *hk = loops_linear(c, y, gallery_at(c, "w_k"), gallery_at(c, "b"), S, E, A);
    double *a = gallery_at(c, "weights") + row * S, gate = 1;
    for (int64_t j = 0; j < S; j++)
        a[j] = loops_additive(hq, hk + j * A, gallery_at(c, "w"), A);
    loops_softmax(a, mask ? mask + b * S : NULL, S);
    if (w_g) {
        const double *b_g = gallery_at(c, "b_g");
        gate = loops_sigmoid(loops_dot(w_g, q, D) + (b_g ? b_g[0] : 0));
    }
    gallery_at(c, "gate")[row] = gate;
    for (int64_t j = 0; j < S; j++)
        for (int64_t e = 0; e < E; e++)
            gallery_at(c, "out")[row * E + e] += gate * a[j] * y[j * E + e];
}

static void show_attend_tell_oracle(gallery_call *c)
{
    const int64_t T = gallery_size(c, 'T'), S = gallery_size(c, 'S');
    const double *mask = gallery_at(c, "mask");
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) {
        for (int64_t i = 0; i < T; i++) caption_row(c, b, b * T + i);
        for (int64_t j = 0; j < S; j++) {
            double sum = 0;
            for (int64_t i = 0; i < T; i++)
                sum += gallery_at(c, "weights")[(b * T + i) * S + j];
            if (!mask || mask[b * S + j] != 0)
                gallery_at(c, "penalty")[b] += (1 - sum) * (1 - sum);
        }
    }
}

static const char *const show_attend_tell_cases[] = {"B=2,T=4,S=6", "T=3,S=7;;b,w_g,b_g,mask",
                                                     "B=2,T=2,S=4;;b_g", NULL};

const gallery_oracle gallery_oracle_show_attend_tell = {.cases = show_attend_tell_cases,
                                                        .run = show_attend_tell_oracle};
