/* SPDX-License-Identifier: MIT
 * Softmax with a sink: exp of each score over the sum of all and exp(z). */
#include "oracle/mech/align.h"

static void sink_weigh(const align_row *r, double *w)
{
    const double *given = gallery_at(r->c, "z"), z = given ? given[r->h] : 0;
    const double top = fmax(align_top(r), z);
    double sum = exp(z - top);
    for (int64_t j = 0; j < r->S; j++)
        sum += w[j] = r->s[j] > -GALLERY_INF ? exp(r->s[j] - top) : 0;
    for (int64_t j = 0; j < r->S; j++) w[j] /= sum;
}

static void sink_oracle(gallery_call *c)
{
    align_run(c, sink_weigh);
}

static const char *const sink_cases[] = {"B=2,H=4,G=2,T=4,S=6", "T=5,S=5;causal=true;z,mask",
                                         "T=3,S=7,E=2;scale=-0.5;bias", NULL};

static const double gold_q[] = {1, 0.5}, gold_k[] = {1, 0, 0, 1, 1, 1, -1, 0.5};
static const double gold_v[] = {1, 0, 0, 1, 2, 2, -1, 1};
static const double gold_w[] = {.255787, .179611, .364271, .074211},
                    gold_out[] = {.910119, .982364};
static const gallery_gold sink_gold[] = {{"B=1,H=1,G=1,T=1,S=4,D=2,E=2",
                                          {{"q", gold_q}, {"k", gold_k}, {"v", gold_v}},
                                          {{"weights", gold_w}, {"out", gold_out}}},
                                         {0}};

const gallery_oracle gallery_oracle_sink = {
    .cases = sink_cases, .run = sink_oracle, .gold = sink_gold};
