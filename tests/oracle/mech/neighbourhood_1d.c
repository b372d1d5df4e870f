/* SPDX-License-Identifier: MIT
 * Neighbourhood attention of a series: the window is moved a step at a time until it is inside.
 */
#include "oracle/mech_pattern.h"

static bool neighbourhood_1d_allowed(const gallery_call *c, int64_t b, int64_t h, int64_t i,
                                     int64_t j)
{
    const int64_t d = gallery_i(c, "dilation"), T = gallery_size(c, 'T');
    int64_t from = i - gallery_i(c, "size") / 2 * d, to = from + (gallery_i(c, "size") - 1) * d;
    (void)b, (void)h;
    while (to >= T) from -= d, to -= d;
    while (from < 0) from += d, to += d;
    return j % d == i % d && j >= from && j <= to;
}

static void neighbourhood_1d_oracle(gallery_call *c)
{
    pattern_attend(c, neighbourhood_1d_allowed);
    pattern_flags(c, neighbourhood_1d_allowed, 1);
}

static const char *const neighbourhood_1d_cases[] = {"B=2,T=9;size=3",
                                                     "B=2,H=1,T=11;size=3,dilation=3;mask",
                                                     "B=1,T=10,E=3;size=4,dilation=2",
                                                     "B=1,H=1,T=70,D=2,E=2;size=5;mask",
                                                     "T=7;size=2;mask",
                                                     NULL};

const gallery_oracle gallery_oracle_neighbourhood_1d = {.cases = neighbourhood_1d_cases,
                                                        .run = neighbourhood_1d_oracle};
