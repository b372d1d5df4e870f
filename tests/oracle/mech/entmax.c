/* SPDX-License-Identifier: MIT
 * alpha-entmax by halving the interval of its threshold two hundred times. */
#include "oracle/mech/align.h"

static double entmax_alpha(const align_row *r)
{
    return 1 + 1 / (1 + exp(-gallery_at(r->c, "a")[r->h]));
}

static double entmax_power(double x, double alpha)
{
    return x > 0 ? pow(x, 1 / (alpha - 1)) : 0;
}

static double entmax_tau(const align_row *r)
{
    const double alpha = entmax_alpha(r), top = (alpha - 1) * align_top(r);
    double low = top - 1, high = top;
    for (int step = 0; step < 200; step++) {
        const double tau = (low + high) / 2;
        double sum = 0;
        for (int64_t j = 0; j < r->S; j++)
            if (r->s[j] > -GALLERY_INF) sum += entmax_power((alpha - 1) * r->s[j] - tau, alpha);
        *(sum >= 1 ? &low : &high) = tau;
    }
    return low;
}

static void entmax_weigh(const align_row *r, double *w)
{
    const double alpha = entmax_alpha(r), tau = align_seen(r) ? entmax_tau(r) : 0;
    double sum = 0;
    for (int64_t j = 0; j < r->S; j++)
        if (r->s[j] > -GALLERY_INF)
            sum += w[j] = entmax_power((alpha - 1) * r->s[j] - tau, alpha);
    for (int64_t j = 0; j < r->S && sum > 0; j++) w[j] /= sum;
}

static double entmax_margin(const align_row *r)
{
    const double alpha = entmax_alpha(r), tau = entmax_tau(r);
    double least = GALLERY_INF;
    for (int64_t j = 0; j < r->S; j++) least = fmin(least, fabs((alpha - 1) * r->s[j] - tau));
    return least;
}

static void entmax_oracle(gallery_call *c)
{
    align_run(c, entmax_weigh);
}

static void entmax_prepare(gallery_call *c, test_rng *rng)
{
    align_away(c, rng, entmax_margin);
}

static const char *const entmax_cases[] = {"B=2,H=2,G=1,T=4,S=6", "T=5,S=5;causal=true;mask",
                                           "H=4,G=2,T=3,S=7,E=2;scale=0.25;bias,mask", NULL};

/* a = ln(0.33 / 0.67): alpha 1.33. */
static const double gold_a[] = {-0.7081850579244856};
static const double gold_q[] = {1, 0.5}, gold_k[] = {1, 0, 0, 1, 1, 1, -1, 0.5};
static const double gold_v[] = {1, 0, 0, 1, 2, 2, -1, 1};
static const double gold_w[] = {.308323, .174008, .498779, .018889},
                    gold_out[] = {1.286992, 1.190456};
static const gallery_gold entmax_gold[] = {
    {"B=1,H=1,G=1,T=1,S=4,D=2,E=2",
     {{"q", gold_q}, {"k", gold_k}, {"v", gold_v}, {"a", gold_a}},
     {{"weights", gold_w}, {"out", gold_out}}},
    {0}};

const gallery_oracle gallery_oracle_entmax = {.cases = entmax_cases,
                                              .run = entmax_oracle,
                                              .prepare = entmax_prepare,
                                              .gold = entmax_gold,
                                              .f64 = 1e-11,
                                              .grad64 = 1e-5};
