/* SPDX-License-Identifier: MIT
 * A sliding window, pair by pair. */
#include "oracle/mech_pattern.h"

static bool sliding_window_allowed(const gallery_call *c, int64_t b, int64_t h, int64_t i,
                                   int64_t j)
{
    const int64_t d = gallery_i(c, "dilation");
    (void)b, (void)h;
    if (gallery_i(c, "causal") && j > i) return false;
    for (int64_t n = 0; n <= gallery_i(c, "window"); n++)
        if (j == i - n * d || j == i + n * d) return true;
    return false;
}

static void sliding_window_oracle(gallery_call *c)
{
    pattern_attend(c, sliding_window_allowed);
    pattern_flags(c, sliding_window_allowed, 1);
}

static const char *const sliding_window_cases[] = {
    "B=2,T=9;window=2", "B=2,H=1,T=11;window=1,dilation=3;mask",
    "B=1,T=10,E=3;window=2,dilation=2,causal=true", "T=7;window=0;mask", NULL};

const gallery_oracle gallery_oracle_sliding_window = {.cases = sliding_window_cases,
                                                      .run = sliding_window_oracle};
