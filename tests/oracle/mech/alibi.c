/* SPDX-License-Identifier: MIT
 * ALiBi with slopes from pow. */
#include "../mech_heads.h"

static double alibi_slope(const heads_case *a, int64_t h)
{
    const double *slopes = gallery_at(a->c, "slopes");
    int64_t c = 1;
    while (2 * c <= a->H) c *= 2;
    if (slopes) return slopes[h];
    return h < c ? pow(2, -8.0 * (double)(h + 1) / (double)c)
                 : pow(2, -4.0 * (double)(2 * (h - c) + 1) / (double)c);
}

static double alibi_score(const heads_case *a, int64_t b, int64_t h, int64_t i, int64_t j)
{
    return heads_dot(a, b, h, i, j) - alibi_slope(a, h) * fabs((double)(i + a->offset - j));
}

static void alibi_oracle(gallery_call *c)
{
    heads_case a = heads_given(c);
    heads_run(&a, alibi_score);
}

static const char *const alibi_cases[] = {
    "B=2,T=5,S=7", "B=1,H=6,G=3,T=4,S=6;causal=false;slopes",
    "B=1,H=16,T=2,S=3,D=2,E=1,G=1;offset=1;mask,slopes", NULL};

const gallery_oracle gallery_oracle_alibi = {.cases = alibi_cases, .run = alibi_oracle};
