/* SPDX-License-Identifier: MIT
 * w . [q; k; q * k], all three parts. */
#include "score_rows.h"

static double trilinear_score(const gallery_call *c, int64_t b, int64_t i, int64_t j)
{
    const int64_t D = gallery_size(c, 'D');
    const double *q = score_row(c, "q", b, i), *k = score_row(c, "k", b, j);
    const double *w = gallery_at(c, "w");
    double s = 0;
    for (int64_t d = 0; d < D; d++)
        s += w[d] * q[d] + w[D + d] * k[d] + w[2 * D + d] * q[d] * k[d];
    return s;
}

static void trilinear_oracle(gallery_call *c)
{
    score_rows(c, trilinear_score);
}

static const double trilinear_weights[] = {.355365, .176469, .392740, .075426},
                    trilinear_out[] = {1.065419, 1.037374};
static const double trilinear_w[] = {.1, -.2, .3, .4, .5, -.6};
static const gallery_gold trilinear_gold[] = {
    {SCORE_GOLD,
     {{"q", score_q}, {"k", score_k}, {"v", score_v}, {"w", trilinear_w}},
     {{"weights", trilinear_weights}, {"out", trilinear_out}}},
    {0}};

static const char *const trilinear_cases[] = {"B=2,T=5,S=7,D=4,E=3", "T=3,S=3;;mask", NULL};

const gallery_oracle gallery_oracle_trilinear = {
    .cases = trilinear_cases, .run = trilinear_oracle, .gold = trilinear_gold};
