/* SPDX-License-Identifier: MIT
 * Kernel linear attention with its weights written out: features, then every pair. */
#include "linear.h"

static double linear_feature(int64_t kind, double x)
{
    const double at[] = {x > 0 ? x + 1 : exp(x), x > 0 ? x : 0, exp(x), x * x, x};
    return at[kind];
}

static double *linear_features(gallery_call *c, const char *slot, int64_t n)
{
    double *y = gallery_new(c, n);
    for (int64_t i = 0; i < n; i++)
        y[i] = linear_feature(gallery_i(c, "feature"), gallery_at(c, slot)[i]);
    return y;
}

static void linear_oracle(gallery_call *c)
{
    const int64_t D = gallery_size(c, 'D');
    const bool plain = gallery_i(c, "normalise") == 0;
    const linear_pairs pairs = {linear_features(c, "q", linear_rows(c, 'T') * D),
                                linear_features(c, "k", linear_rows(c, 'S') * D),
                                D,
                                gallery_i(c, "causal") != 0,
                                plain,
                                plain ? 0 : gallery_f(c, "eps")};
    linear_all(c, &pairs);
}

/* The identity has divisors of either sign, so it comes without them. */
static const char *const linear_cases[] = {
    "B=2,T=5,S=7",
    "T=6,S=6;causal=true",
    "T=4,S=9;feature=exp,eps=0.5;-mask",
    "T=6,S=6;feature=relu,causal=true,eps=0.25",
    "T=3,S=5;feature=square",
    "T=5,S=5;feature=identity,normalise=false,causal=true",
    NULL};

static const double full[] = {1.114286, -0.114286, 1.066667, -0.066667, 1.039390, -0.039390};
static const double causal[] = {1, 0, 0.444444, 0.555556, 1.039390, -0.039390};
static const gallery_gold linear_gold[] = {
    {"B=1,H=1,T=3,S=3,D=2,E=2", {LINEAR_GOLD}, {{"out", full}}},
    {"B=1,H=1,T=3,S=3,D=2,E=2;causal=true", {LINEAR_GOLD}, {{"out", causal}}},
    {0}};

const gallery_oracle gallery_oracle_linear = {
    .cases = linear_cases, .vary = "BDE", .run = linear_oracle, .gold = linear_gold};
