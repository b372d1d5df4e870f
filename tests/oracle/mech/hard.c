/* SPDX-License-Identifier: MIT
 * The value of the best key; its gradient that of softmax. */
#include "oracle/mech/align.h"

static void hard_weigh(const align_row *r, double *w)
{
    for (int64_t j = 0; j < r->S; j++) w[j] = r->s[j] > -GALLERY_INF && align_before(r, j) == 0;
}

static void hard_soft_weigh(const align_row *r, double *w)
{
    align_softmax(r, NULL, w);
}

static void hard_oracle(gallery_call *c)
{
    align_run(c, hard_weigh);
}

static void hard_soft(gallery_call *c)
{
    align_run(c, gallery_i(c, "straight") ? hard_soft_weigh : hard_weigh);
}

static const char *const hard_cases[] = {"B=2,H=4,G=2,T=4,S=6", "T=5,S=5;causal=true;mask",
                                         "T=3,S=7,E=2;straight=false;bias", NULL};

const gallery_oracle gallery_oracle_hard = {
    .cases = hard_cases, .run = hard_oracle, .soft = hard_soft, .grad32 = 1e-3};
