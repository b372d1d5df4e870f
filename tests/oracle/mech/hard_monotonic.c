/* SPDX-License-Identifier: MIT
 * Hard monotonic attention as it decodes: one walk along the keys. A given start is the weight
 * with which the walk begins at each key, so there is one walk for each of them. */
#include "oracle/mech_monotonic.h"

/* One walk from a key, of this weight. Ends at S. */
static void hard_monotonic_from(gallery_call *c, const double *e, const double *mask, int64_t b,
                                int64_t key, double weight)
{
    const int64_t T = gallery_size(c, 'T'), S = gallery_size(c, 'S'), E = gallery_size(c, 'E');
    for (int64_t i = 0; i < T; i++) {
        while (key < S && !(e[i * S + key] > 0 && (!mask || mask[key] != 0))) key++;
        if (key == S) return;
        gallery_at(c, "weights")[(b * T + i) * S + key] += weight;
        for (int64_t x = 0; x < E; x++)
            gallery_at(c, "out")[(b * T + i) * E + x] +=
                weight * gallery_at(c, "v")[(b * S + key) * E + x];
    }
}

/* The heaviest key, or S when what is lost is heavier than all. */
static double hard_monotonic_stop(const double *row, int64_t S)
{
    double lost = 1;
    int64_t best = S;
    for (int64_t j = 0; j < S; j++) lost -= row[j];
    for (int64_t j = S - 1; j >= 0; j--)
        if (row[j] >= (best == S ? lost : row[best])) best = j;
    return (double)best;
}

static void hard_monotonic_oracle(gallery_call *c)
{
    const int64_t T = gallery_size(c, 'T'), S = gallery_size(c, 'S');
    const monotonic_names names = {"w_q", "w_k", "b", "w", "g", "r", 'A'};
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) {
        const double *mask = gallery_at(c, "mask"), *start = gallery_at(c, "start");
        const double *e = monotonic_energies(c, &names, b);
        for (int64_t j = 0; j < (start ? S : S > 0); j++)
            hard_monotonic_from(c, e, mask ? mask + b * S : NULL, b, j,
                                start ? start[b * S + j] : 1);
        for (int64_t i = 0; i < T; i++)
            gallery_at(c, "stop")[b * T + i] =
                hard_monotonic_stop(gallery_at(c, "weights") + (b * T + i) * S, S);
    }
}

/* Starts at one key, as an earlier call leaves it. */
static void hard_monotonic_prepare(gallery_call *c, test_rng *rng)
{
    double *start = gallery_at(c, "start");
    const int64_t S = gallery_size(c, 'S');
    for (int64_t b = 0; start && S > 0 && b < gallery_size(c, 'B'); b++) {
        for (int64_t j = 0; j < S; j++) start[b * S + j] = 0;
        start[b * S + test_rng_range(rng, 0, (S - 1) / 2)] = 1;
    }
}

static const char *const hard_monotonic_cases[] = {"B=2,T=4,S=9", "T=5,S=7;;b,start,mask",
                                                   "B=3,T=6,S=6;;start", NULL};

const gallery_oracle gallery_oracle_hard_monotonic = {.cases = hard_monotonic_cases,
                                                      .run = hard_monotonic_oracle,
                                                      .prepare = hard_monotonic_prepare};
