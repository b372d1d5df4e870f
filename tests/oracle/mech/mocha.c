/* SPDX-License-Identifier: MIT
 * MoChA by all walks, and a softmax for every place where one may stop. */
#include "oracle/mech_monotonic.h"

static void mocha_oracle(gallery_call *c)
{
    const int64_t T = gallery_size(c, 'T'), S = gallery_size(c, 'S'), E = gallery_size(c, 'E');
    const monotonic_names stop = {"w_q", "w_k", "b", "w", "g", "r", 'A'};
    const monotonic_names chunk = {"w_uq", "w_uk", "b_u", "w_u", NULL, NULL, 'F'};
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) {
        const double *mask = gallery_at(c, "mask"), *start = gallery_at(c, "start");
        const double *u = monotonic_energies(c, &chunk, b);
        double *p = monotonic_energies(c, &stop, b), *a = gallery_at(c, "stops") + b * T * S;
        if (mask) mask += b * S;
        for (int64_t x = 0; x < T * S; x++) {
            const double stops = gallery_i(c, "hard") ? p[x] > 0 : loops_sigmoid(p[x]);
            p[x] = mask && mask[x % S] == 0 ? 0 : stops;
        }
        monotonic_walk(p, start ? start + b * S : NULL, T, S, a);
        for (int64_t i = 0; i < T; i++) {
            double *weights = gallery_at(c, "weights") + (b * T + i) * S;
            monotonic_share(a + i * S, u + i * S, mask, S, gallery_i(c, "chunk"), weights);
            loops_mix(weights, gallery_at(c, "v") + b * S * E, S, E,
                      gallery_at(c, "out") + (b * T + i) * E);
        }
    }
}

static const char *const mocha_cases[] = {"B=2,T=4,S=6",
                                          "T=3,S=7;chunk=3;b,b_u,start,mask",
                                          "B=2,T=3,S=6;chunk=0;start",
                                          "T=4,S=6;chunk=2,hard=true;start",
                                          "T=3,S=4;chunk=1;start,mask",
                                          NULL};

const gallery_oracle gallery_oracle_mocha = {.cases = mocha_cases, .run = mocha_oracle};
