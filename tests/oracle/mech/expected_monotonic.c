/* SPDX-License-Identifier: MIT
 * Expected monotonic attention by the probabilities of all walks. */
#include "oracle/mech_monotonic.h"

static void expected_monotonic_keep(double *row, const double *mask, int64_t S)
{
    double lost = 1;
    for (int64_t j = 0; j < S; j++) lost -= row[j];
    for (int64_t j = S - 1; j >= 0; j--)
        if (!mask || mask[j] != 0) {
            row[j] += lost;
            return;
        }
}

static void expected_monotonic_oracle(gallery_call *c)
{
    const int64_t T = gallery_size(c, 'T'), S = gallery_size(c, 'S'), E = gallery_size(c, 'E');
    const monotonic_names names = {"w_q", "w_k", "b", "w", "g", "r", 'A'};
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) {
        const double *mask = gallery_at(c, "mask"), *start = gallery_at(c, "start");
        const double *noise = gallery_at(c, "noise");
        double *p = monotonic_energies(c, &names, b);
        double *a = gallery_at(c, "weights") + b * T * S;
        if (mask) mask += b * S;
        for (int64_t x = 0; x < T * S; x++) {
            const double e = p[x] + (noise ? noise[b * T * S + x] : 0);
            p[x] = mask && mask[x % S] == 0 ? 0 : loops_sigmoid(e);
        }
        monotonic_walk(p, start ? start + b * S : NULL, T, S, a);
        for (int64_t i = 0; i < T; i++) {
            if (gallery_i(c, "keep_mass")) expected_monotonic_keep(a + i * S, mask, S);
            loops_mix(a + i * S, gallery_at(c, "v") + b * S * E, S, E,
                      gallery_at(c, "out") + (b * T + i) * E);
        }
    }
}

static const char *const expected_monotonic_cases[] = {
    "B=2,T=4,S=6", "T=5,S=7;;b,noise,start,mask", "B=2,T=3,S=5;keep_mass=true;noise",
    "T=6,S=3;keep_mass=true;start,mask", NULL};

/* The recorded probabilities .1 .5 .9 .2, .3 .6 .4 .8, .2 .2 .7 .5 through the noise, the
 * energy itself being 0. */
static const double expected_monotonic_zero[36] = {0}, expected_monotonic_one[1] = {1};
static const double expected_monotonic_noise[12] = {-2.197224577336219,  0,
                                                    2.197224577336219,   -1.386294361119891,
                                                    -0.8472978603872037, 0.4054651081081642,
                                                    -0.4054651081081644, 1.386294361119891,
                                                    -1.386294361119891,  -1.386294361119891,
                                                    0.8472978603872034,  0};
static const double expected_monotonic_weights[12] = {
    .1, .45, .405, .009, .03, .312, .2452, .30144, .006, .0672, .3598, .22782};

static const gallery_gold expected_monotonic_gold[] = {
    {"B=1,T=3,S=4,D=1,C=1,A=1,E=1",
     {{"q", expected_monotonic_zero},
      {"k", expected_monotonic_zero},
      {"v", expected_monotonic_zero},
      {"w_q", expected_monotonic_zero},
      {"w_k", expected_monotonic_zero},
      {"w", expected_monotonic_one},
      {"g", expected_monotonic_zero},
      {"r", expected_monotonic_zero},
      {"noise", expected_monotonic_noise}},
     {{"weights", expected_monotonic_weights}}},
    {0}};

const gallery_oracle gallery_oracle_expected_monotonic = {.cases = expected_monotonic_cases,
                                                          .run = expected_monotonic_oracle,
                                                          .gold = expected_monotonic_gold};
