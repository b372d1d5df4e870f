/* SPDX-License-Identifier: MIT
 * Scores over how many there are. */
#include "oracle/mech/align.h"

static void mean_weigh(const align_row *r, double *w)
{
    for (int64_t j = 0; j < r->S; j++)
        w[j] = r->s[j] > -GALLERY_INF ? r->s[j] / (double)align_seen(r) : 0;
}

static void mean_oracle(gallery_call *c)
{
    align_run(c, mean_weigh);
}

static const char *const mean_cases[] = {"B=2,H=4,G=2,T=4,S=6", "T=5,S=5;causal=true;mask",
                                         "T=3,S=7,E=2;scale=0;bias", NULL};

static const double gold_q[] = {1, 0.5}, gold_k[] = {1, 0, 0, 1, 1, 1, -1, 0.5};
static const double gold_v[] = {1, 0, 0, 1, 2, 2, -1, 1};
static const double gold_w[] = {.25, .125, .375, -.1875}, gold_out[] = {1.1875, .6875};
static const gallery_gold mean_gold[] = {{"B=1,H=1,G=1,T=1,S=4,D=2,E=2",
                                          {{"q", gold_q}, {"k", gold_k}, {"v", gold_v}},
                                          {{"weights", gold_w}, {"out", gold_out}}},
                                         {0}};

const gallery_oracle gallery_oracle_mean = {
    .cases = mean_cases, .run = mean_oracle, .gold = mean_gold};
