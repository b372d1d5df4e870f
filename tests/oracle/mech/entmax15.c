/* SPDX-License-Identifier: MIT
 * 1.5-entmax by sorting, with the closed form of its threshold over the k largest. */
#include "oracle/mech/align.h"

/* x = s / 2 less the largest: tau_k = mean - sqrt((1 - spread) / k) while it is at most
 * x_(k). */
static double entmax15_tau(const align_row *r)
{
    const double top = align_top(r);
    double tau = -GALLERY_INF;
    for (int64_t k = 1; k <= align_seen(r); k++) {
        double sum = 0, squares = 0, last = 0;
        for (int64_t j = 0; j < r->S; j++) {
            const double x = (r->s[j] - top) / 2;
            if (r->s[j] == -GALLERY_INF || align_before(r, j) >= k) continue;
            sum += x, squares += x * x;
            if (align_before(r, j) == k - 1) last = x;
        }
        const double mean = sum / (double)k, spread = squares - sum * mean;
        const double at = mean - sqrt(fmax(0, (1 - spread) / (double)k));
        if (at <= last) tau = at + top / 2;
    }
    return tau;
}

static void entmax15_weigh(const align_row *r, double *w)
{
    const double tau = entmax15_tau(r);
    for (int64_t j = 0; j < r->S; j++) {
        const double x = r->s[j] > -GALLERY_INF ? fmax(r->s[j] / 2 - tau, 0) : 0;
        w[j] = x * x;
    }
}

static double entmax15_margin(const align_row *r)
{
    const double tau = entmax15_tau(r);
    double least = GALLERY_INF;
    for (int64_t j = 0; j < r->S; j++) least = fmin(least, fabs(r->s[j] / 2 - tau));
    return least;
}

static void entmax15_oracle(gallery_call *c)
{
    align_run(c, entmax15_weigh);
}

static void entmax15_prepare(gallery_call *c, test_rng *rng)
{
    align_away(c, rng, entmax15_margin);
}

static const char *const entmax15_cases[] = {"B=2,H=2,G=1,T=4,S=6", "T=5,S=5;causal=true;mask",
                                             "T=3,S=7,E=2;scale=0.25;bias,mask", NULL};

static const double gold_q[] = {1, 0.5}, gold_k[] = {1, 0, 0, 1, 1, 1, -1, 0.5};
static const double gold_v[] = {1, 0, 0, 1, 2, 2, -1, 1};
static const double gold_w[] = {.312500, .146108, .541392, 0},
                    gold_out[] = {1.395285, 1.228892};
static const gallery_gold entmax15_gold[] = {{"B=1,H=1,G=1,T=1,S=4,D=2,E=2",
                                              {{"q", gold_q}, {"k", gold_k}, {"v", gold_v}},
                                              {{"weights", gold_w}, {"out", gold_out}}},
                                             {0}};

const gallery_oracle gallery_oracle_entmax15 = {.cases = entmax15_cases,
                                                .run = entmax15_oracle,
                                                .prepare = entmax15_prepare,
                                                .gold = entmax15_gold};
