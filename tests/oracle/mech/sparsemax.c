/* SPDX-License-Identifier: MIT
 * Sparsemax by sorting: the most of the largest scores that still reach above their
 * threshold. */
#include "oracle/mech/align.h"

/* (sum of the k largest - 1) / k for the last k with 1 + k s_(k) > that sum. */
static double sparsemax_tau(const align_row *r)
{
    double tau = -GALLERY_INF;
    for (int64_t k = 1; k <= align_seen(r); k++) {
        double sum = 0, last = 0;
        for (int64_t j = 0; j < r->S; j++) {
            if (r->s[j] == -GALLERY_INF || align_before(r, j) >= k) continue;
            sum += r->s[j];
            if (align_before(r, j) == k - 1) last = r->s[j];
        }
        if (1 + (double)k * last > sum) tau = (sum - 1) / (double)k;
    }
    return tau;
}

static void sparsemax_weigh(const align_row *r, double *w)
{
    const double tau = sparsemax_tau(r);
    for (int64_t j = 0; j < r->S; j++)
        w[j] = r->s[j] > -GALLERY_INF ? fmax(r->s[j] - tau, 0) : 0;
}

static double sparsemax_margin(const align_row *r)
{
    const double tau = sparsemax_tau(r);
    double least = GALLERY_INF;
    for (int64_t j = 0; j < r->S; j++) least = fmin(least, fabs(r->s[j] - tau));
    return least;
}

static void sparsemax_oracle(gallery_call *c)
{
    align_run(c, sparsemax_weigh);
}

static void sparsemax_prepare(gallery_call *c, test_rng *rng)
{
    align_away(c, rng, sparsemax_margin);
}

static const char *const sparsemax_cases[] = {"B=2,H=2,G=1,T=4,S=6", "T=5,S=5;causal=true;mask",
                                              "T=3,S=7,E=2;scale=0.25;bias,mask", NULL};

static const double gold_q[] = {1, 0.5}, gold_k[] = {1, 0, 0, 1, 1, 1, -1, 0.5};
static const double gold_v[] = {1, 0, 0, 1, 2, 2, -1, 1};
static const double gold_w[] = {.323223, 0, .676777, 0}, gold_out[] = {1.676777, 1.353553};
static const gallery_gold sparsemax_gold[] = {{"B=1,H=1,G=1,T=1,S=4,D=2,E=2",
                                               {{"q", gold_q}, {"k", gold_k}, {"v", gold_v}},
                                               {{"weights", gold_w}, {"out", gold_out}}},
                                              {0}};

const gallery_oracle gallery_oracle_sparsemax = {.cases = sparsemax_cases,
                                                 .run = sparsemax_oracle,
                                                 .prepare = sparsemax_prepare,
                                                 .gold = sparsemax_gold};
