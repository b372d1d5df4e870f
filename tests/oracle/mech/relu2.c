/* SPDX-License-Identifier: MIT
 * The square of what a score has above 0, over the keys of the row if wanted. */
#include "oracle/mech/align.h"

static void relu2_weigh(const align_row *r, double *w)
{
    const double m = gallery_i(r->c, "mean") ? (double)align_seen(r) : 1;
    for (int64_t j = 0; j < r->S; j++) {
        const double y = r->s[j] + gallery_f(r->c, "shift");
        w[j] = r->s[j] > -GALLERY_INF && y > 0 ? y * y / m : 0;
    }
}

static double relu2_margin(const align_row *r)
{
    double least = GALLERY_INF;
    for (int64_t j = 0; j < r->S; j++)
        least = fmin(least, fabs(r->s[j] + gallery_f(r->c, "shift")));
    return least;
}

static void relu2_oracle(gallery_call *c)
{
    align_run(c, relu2_weigh);
}

static void relu2_prepare(gallery_call *c, test_rng *rng)
{
    align_away(c, rng, relu2_margin);
}

static const char *const relu2_cases[] = {"B=2,H=4,G=2,T=4,S=6", "T=5,S=5;causal=true;mask",
                                          "T=3,S=7,E=2;mean=false,shift=0.5;bias", NULL};

static const double gold_q[] = {1, 0.5}, gold_k[] = {1, 0, 0, 1, 1, 1, -1, 0.5};
static const double gold_v[] = {1, 0, 0, 1, 2, 2, -1, 1};
static const double gold_w[] = {.5, .125, 1.125, 0}, gold_out[] = {2.75, 2.375};
static const gallery_gold relu2_gold[] = {{"B=1,H=1,G=1,T=1,S=4,D=2,E=2;mean=false",
                                           {{"q", gold_q}, {"k", gold_k}, {"v", gold_v}},
                                           {{"weights", gold_w}, {"out", gold_out}}},
                                          {0}};

const gallery_oracle gallery_oracle_relu2 = {
    .cases = relu2_cases, .run = relu2_oracle, .prepare = relu2_prepare, .gold = relu2_gold};
