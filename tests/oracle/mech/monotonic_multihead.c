/* SPDX-License-Identifier: MIT
 * Monotonic multihead attention, head after head. */
#include "oracle/mech_monotonic_heads.h"

static void monotonic_multihead_oracle(gallery_call *c)
{
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) {
        double *o = gallery_new(c, gallery_size(c, 'T') * gallery_size(c, 'P'));
        for (int64_t h = 0; h < gallery_size(c, 'H'); h++) heads_walk(c, b, h, 1, o);
        heads_output(c, b, o);
    }
}

static const char *const monotonic_multihead_cases[] = {
    "B=2,T=4,S=6;;w_uq,w_uk", "H=1,T=3,S=7;chunk=0;mask", "B=2,H=4,T=3,S=5;chunk=3",
    "T=4,S=6;chunk=2,hard=true", NULL};

const gallery_oracle gallery_oracle_monotonic_multihead = {.cases = monotonic_multihead_cases,
                                                           .run = monotonic_multihead_oracle};
