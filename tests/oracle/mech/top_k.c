/* SPDX-License-Identifier: MIT
 * Softmax over the keys that fewer than n others come before. */
#include "oracle/mech/align.h"

static void top_k_weigh(const align_row *r, double *w)
{
    bool *over = (bool *)gallery_new(r->c, r->S);
    for (int64_t j = 0; j < r->S; j++) over[j] = align_before(r, j) < gallery_i(r->c, "n");
    align_softmax(r, over, w);
}

/* What is between the last score that is taken and the first that is not. */
static double top_k_margin(const align_row *r)
{
    double in = GALLERY_INF, out = -GALLERY_INF;
    for (int64_t j = 0; j < r->S; j++) {
        if (align_before(r, j) < gallery_i(r->c, "n"))
            in = fmin(in, r->s[j]);
        else
            out = fmax(out, r->s[j]);
    }
    return out == -GALLERY_INF || in == -GALLERY_INF ? GALLERY_INF : in - out;
}

static void top_k_oracle(gallery_call *c)
{
    align_run(c, top_k_weigh);
}

static void top_k_prepare(gallery_call *c, test_rng *rng)
{
    align_away(c, rng, top_k_margin);
}

static const char *const top_k_cases[] = {"B=2,H=4,G=2,T=4,S=6;n=2",
                                          "T=5,S=5;causal=true,n=3;mask",
                                          "T=3,S=7,E=2;n=1;bias", "T=3,S=4;;mask", NULL};

static const double gold_q[] = {1, 0.5}, gold_k[] = {1, 0, 0, 1, 1, 1, -1, 0.5};
static const double gold_v[] = {1, 0, 0, 1, 2, 2, -1, 1};
static const double gold_w[] = {.412521, 0, .587479, 0}, gold_out[] = {1.587479, 1.174958};
static const gallery_gold top_k_gold[] = {{"B=1,H=1,G=1,T=1,S=4,D=2,E=2;n=2",
                                           {{"q", gold_q}, {"k", gold_k}, {"v", gold_v}},
                                           {{"weights", gold_w}, {"out", gold_out}}},
                                          {0}};

const gallery_oracle gallery_oracle_top_k = {
    .cases = top_k_cases, .run = top_k_oracle, .prepare = top_k_prepare, .gold = top_k_gold};
