/* SPDX-License-Identifier: MIT
 * Strided sparse attention, pair by pair. */
#include "oracle/mech_pattern.h"

static bool strided_allowed(const gallery_call *c, int64_t b, int64_t h, int64_t i, int64_t j)
{
    const int64_t l = gallery_i(c, "stride");
    const bool near = i - l < j && j <= i, far = j <= i && j % l == i % l;
    (void)b;
    if (gallery_i(c, "sets") == 0) return near || far;
    return h % 2 == 0 ? near : far;
}

static void strided_oracle(gallery_call *c)
{
    pattern_attend(c, strided_allowed);
    pattern_flags(c, strided_allowed, gallery_size(c, 'H'));
}

static const char *const strided_cases[] = {"B=2,T=11;stride=3",
                                            "H=1,T=10;stride=2;mask",
                                            "B=2,H=3,T=9,E=2;stride=4,sets=alternate",
                                            "H=1,T=6;stride=3,sets=alternate;mask",
                                            "T=5;stride=1;mask",
                                            NULL};

const gallery_oracle gallery_oracle_strided = {.cases = strided_cases, .run = strided_oracle};
