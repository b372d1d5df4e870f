/* SPDX-License-Identifier: MIT
 * Audio-guided visual attention, cell by cell. */
#include "oracle/mech_loops.h"

static void audio_guided_relu(double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) x[i] = fmax(x[i], 0);
}

static void audio_guided_oracle(gallery_call *c)
{
    const int64_t M = gallery_size(c, 'M'), S = gallery_size(c, 'S'), E = gallery_size(c, 'E'),
                  P = gallery_size(c, 'P'), A = gallery_size(c, 'A');
    const double *mask = gallery_at(c, "mask");
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) {
        const double *y = gallery_at(c, "y") + b * S * E;
        double *v = loops_linear(c, y, gallery_at(c, "u_v"), NULL, S, E, P);
        double *a =
            loops_linear(c, gallery_at(c, "x") + b * M, gallery_at(c, "u_a"), NULL, 1, M, P);
        double *weights = gallery_at(c, "weights") + b * S;
        audio_guided_relu(v, S * P);
        audio_guided_relu(a, P);
        const double *wv = loops_linear(c, v, gallery_at(c, "w_v"), NULL, S, P, A);
        const double *wa = loops_linear(c, a, gallery_at(c, "w_a"), NULL, 1, P, A);
        for (int64_t j = 0; j < S; j++)
            weights[j] = loops_additive(wa, wv + j * A, gallery_at(c, "w"), A);
        loops_softmax(weights, mask ? mask + b * S : NULL, S);
        loops_mix(weights, y, S, E, gallery_at(c, "out") + b * E);
    }
}

static const char *const audio_guided_cases[] = {"B=2,S=6", "S=7,P=2,A=4;;mask", NULL};

const gallery_oracle gallery_oracle_audio_guided = {.cases = audio_guided_cases,
                                                    .run = audio_guided_oracle};
