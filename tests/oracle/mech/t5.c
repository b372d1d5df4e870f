/* SPDX-License-Identifier: MIT
 * T5's buckets by powers instead of logarithms: bucket e + x begins where
 * (a / e)^(n - e) >= (max / e)^x, and the products of small numbers on both sides are exact. */
#include "../mech_heads.h"

static long double t5_power(double x, int64_t n)
{
    long double y = 1;
    for (int64_t i = 0; i < n; i++) y *= (long double)x;
    return y;
}

static int64_t t5_bucket(const gallery_call *c, int64_t d)
{
    const int64_t N = gallery_size(c, 'N'), one_sided = gallery_i(c, "causal");
    const int64_t n = one_sided ? N : N / 2, e = n / 2, base = !one_sided && d > 0 ? n : 0;
    const int64_t a = one_sided ? (d < 0 ? -d : 0) : d < 0 ? -d : d;
    if (a < e) return base + a;
    int64_t x = 0;
    while (e + x + 1 < n && t5_power((double)a, n - e) * t5_power((double)e, x + 1) >=
                                t5_power((double)e, n - e) *
                                    t5_power((double)gallery_i(c, "max_distance"), x + 1))
        x++;
    return base + e + x;
}

static double t5_score(const heads_case *a, int64_t b, int64_t h, int64_t i, int64_t j)
{
    return heads_dot(a, b, h, i, j) +
           gallery_at(
               a->c, "table")[h * gallery_size(a->c, 'N') + t5_bucket(a->c, j - i - a->offset)];
}

static void t5_oracle(gallery_call *c)
{
    heads_case a = heads_given(c);
    if (gallery_f(c, "scale") != 0) a.scale = gallery_f(c, "scale");
    heads_run(&a, t5_score);
}

static const char *const t5_cases[] = {
    "B=2,T=5,S=7;max_distance=6", "B=1,H=4,T=7,S=7,N=6;causal=true,max_distance=8;mask",
    "B=1,H=2,G=1,T=1,S=40,N=32,D=2,E=2;offset=20,scale=0",
    "B=1,H=1,G=1,T=1,S=140,N=32,D=2,E=2;causal=true,offset=139", NULL};

const gallery_oracle gallery_oracle_t5 = {.cases = t5_cases, .vary = "BT", .run = t5_oracle};
