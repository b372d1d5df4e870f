/* SPDX-License-Identifier: MIT
 * Sigmoids over their sum. */
#include "oracle/mech/align.h"

static void l1_sigmoid_weigh(const align_row *r, double *w)
{
    double sum = 0;
    for (int64_t j = 0; j < r->S; j++)
        sum += w[j] = r->s[j] > -GALLERY_INF ? 1 / (1 + exp(-r->s[j])) : 0;
    for (int64_t j = 0; j < r->S; j++) w[j] = sum < 1e-30 ? 0 : w[j] / sum;
}

static void l1_sigmoid_oracle(gallery_call *c)
{
    align_run(c, l1_sigmoid_weigh);
}

static const char *const l1_sigmoid_cases[] = {
    "B=2,H=4,G=2,T=4,S=6", "T=5,S=5;causal=true;mask", "T=3,S=7,E=2;scale=3;bias", NULL};

const gallery_oracle gallery_oracle_l1_sigmoid = {.cases = l1_sigmoid_cases,
                                                  .run = l1_sigmoid_oracle};
