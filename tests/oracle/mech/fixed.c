/* SPDX-License-Identifier: MIT
 * Fixed sparse attention, pair by pair. */
#include "oracle/mech_pattern.h"

static bool fixed_allowed(const gallery_call *c, int64_t b, int64_t h, int64_t i, int64_t j)
{
    const int64_t l = gallery_i(c, "block"), s = gallery_i(c, "summary");
    const bool own = j <= i && j >= i - i % l, column = j <= i && j % l >= l - s;
    (void)b;
    if (gallery_i(c, "sets") == 0) return own || column;
    return h % 2 == 0 ? own : column;
}

static void fixed_oracle(gallery_call *c)
{
    pattern_attend(c, fixed_allowed);
    pattern_flags(c, fixed_allowed, gallery_size(c, 'H'));
}

static const char *const fixed_cases[] = {"B=2,T=11;block=4,summary=1",
                                          "H=1,T=10;block=3,summary=2;mask",
                                          "B=2,H=3,T=9,E=2;block=4,summary=2,sets=alternate",
                                          "H=1,T=6;block=3,summary=3,sets=alternate;mask",
                                          "T=5;block=1,summary=1;mask",
                                          NULL};

const gallery_oracle gallery_oracle_fixed = {.cases = fixed_cases, .run = fixed_oracle};
