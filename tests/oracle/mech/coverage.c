/* SPDX-License-Identifier: MIT
 * Coverage attention, row after row. */
#include "oracle/mech_coverage.h"

static void coverage_oracle(gallery_call *c)
{
    const int64_t T = gallery_size(c, 'T'), S = gallery_size(c, 'S'), A = gallery_size(c, 'A'),
                  D = gallery_size(c, 'D'), C = gallery_size(c, 'C'), E = gallery_size(c, 'E');
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) {
        const double *mask = gallery_at(c, "mask"), *start = gallery_at(c, "start");
        const coverage_entry e = {.T = T,
                                  .S = S,
                                  .A = A,
                                  .q = loops_linear(c, gallery_at(c, "q") + b * T * D,
                                                    gallery_at(c, "w_q"), NULL, T, D, A),
                                  .k = loops_linear(c, gallery_at(c, "k") + b * S * C,
                                                    gallery_at(c, "w_k"), gallery_at(c, "b"), S,
                                                    C, A),
                                  .w_c = gallery_at(c, "w_c"),
                                  .w = gallery_at(c, "w"),
                                  .mask = mask ? mask + b * S : NULL,
                                  .covered = gallery_at(c, "coverage") + b * S,
                                  .weights = gallery_at(c, "weights") + b * T * S,
                                  .loss = gallery_at(c, "loss") + b * T};
        for (int64_t j = 0; j < S; j++) e.covered[j] = start ? start[b * S + j] : 0;
        coverage_walk(&e);
        for (int64_t i = 0; i < T; i++)
            loops_mix(e.weights + i * S, gallery_at(c, "v") + b * S * E, S, E,
                      gallery_at(c, "out") + (b * T + i) * E);
    }
}

static const char *const coverage_cases[] = {"B=2,T=4,S=6", "T=3,S=7;;b,start,mask",
                                             "B=2,T=2,S=3;;start", NULL};

const gallery_oracle gallery_oracle_coverage = {.cases = coverage_cases,
                                                .run = coverage_oracle};
