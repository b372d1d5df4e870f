/* SPDX-License-Identifier: MIT
 * Softmax over the keys within a window around the query's own place. */
#include "oracle/mech/align.h"

#include <stdlib.h>

static void local_m_weigh(const align_row *r, double *w)
{
    bool *over = (bool *)gallery_new(r->c, r->S);
    for (int64_t j = 0; j < r->S; j++) over[j] = llabs(j - r->i) <= gallery_i(r->c, "window");
    align_softmax(r, over, w);
}

static void local_m_oracle(gallery_call *c)
{
    align_run(c, local_m_weigh);
}

static const char *const local_m_cases[] = {"B=2,H=4,G=2,T=7,S=6", "T=5,S=5;causal=true;mask",
                                            "T=3,S=7,E=2;window=0;bias",
                                            "T=4,S=7;window=3;mask", NULL};

const gallery_oracle gallery_oracle_local_m = {.cases = local_m_cases, .run = local_m_oracle};
