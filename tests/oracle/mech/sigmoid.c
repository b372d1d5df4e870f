/* SPDX-License-Identifier: MIT
 * Sigmoid attention: every weight by its own score. */
#include "oracle/mech/align.h"

static void sigmoid_weigh(const align_row *r, double *w)
{
    const double *head = gallery_at(r->c, "b_h");
    double b =
        gallery_i(r->c, "count") ? -log((double)align_seen(r)) : gallery_f(r->c, "shift");
    if (head) b += head[r->h];
    for (int64_t j = 0; j < r->S; j++)
        w[j] = r->s[j] > -GALLERY_INF ? 1 / (1 + exp(-(r->s[j] + b))) : 0;
}

static void sigmoid_oracle(gallery_call *c)
{
    align_run(c, sigmoid_weigh);
}

static const char *const sigmoid_cases[] = {"B=2,H=4,G=2,T=4,S=6",
                                            "T=5,S=5;causal=true;b_h,mask",
                                            "T=3,S=7,E=2;count=false,shift=-1.25;bias", NULL};

static const double gold_q[] = {1, 0.5}, gold_k[] = {1, 0, 0, 1, 1, 1, -1, 0.5};
static const double gold_v[] = {1, 0, 0, 1, 2, 2, -1, 1};
static const double gold_w[] = {.336443, .262553, .419303, .128238},
                    gold_out[] = {1.046811, 1.229398};
static const gallery_gold sigmoid_gold[] = {{"B=1,H=1,G=1,T=1,S=4,D=2,E=2",
                                             {{"q", gold_q}, {"k", gold_k}, {"v", gold_v}},
                                             {{"weights", gold_w}, {"out", gold_out}}},
                                            {0}};

const gallery_oracle gallery_oracle_sigmoid = {
    .cases = sigmoid_cases, .run = sigmoid_oracle, .gold = sigmoid_gold};
