/* SPDX-License-Identifier: MIT
 * Modalities weighed or gated, one after the other. */
#include "oracle/mech_loops.h"

static void modality_fusion_oracle(gallery_call *c)
{
    const int64_t N = gallery_size(c, 'N'), D = gallery_size(c, 'D'), P = gallery_size(c, 'P');
    const double *mask = gallery_at(c, "mask"), *b_h = gallery_at(c, "b_h");
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) {
        double *weights = gallery_at(c, "weights") + b * N, *h = gallery_new(c, N * P);
        for (int64_t n = 0; n < N; n++) {
            const double *at = loops_linear(c, gallery_at(c, "x") + (b * N + n) * D,
                                            gallery_at(c, "w_h") + n * P * D,
                                            b_h ? b_h + n * P : NULL, 1, D, P);
            for (int64_t p = 0; p < P; p++) h[n * P + p] = tanh(at[p]);
            weights[n] = loops_dot(gallery_at(c, "w"), h + n * P, P);
        }
        if (gallery_i(c, "weigh") == 0) {
            loops_softmax(weights, mask ? mask + b * N : NULL, N);
        } else {
            for (int64_t n = 0; n < N; n++)
                weights[n] = !mask || mask[b * N + n] != 0 ? loops_sigmoid(weights[n]) : 0;
        }
        loops_mix(weights, h, N, P, gallery_at(c, "out") + b * P);
    }
}

static const char *const modality_fusion_cases[] = {
    "B=3,N=2", "B=2,N=3;weigh=sigmoid", "N=4;;b_h,mask", "B=2;weigh=sigmoid;b_h,mask", NULL};

const gallery_oracle gallery_oracle_modality_fusion = {.cases = modality_fusion_cases,
                                                       .run = modality_fusion_oracle};
