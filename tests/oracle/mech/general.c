/* SPDX-License-Identifier: MIT
 * q^T w k, entry by entry of w. */
#include "score_rows.h"

static double general_score(const gallery_call *c, int64_t b, int64_t i, int64_t j)
{
    const int64_t D = gallery_size(c, 'D'), C = gallery_size(c, 'C');
    const double *q = score_row(c, "q", b, i), *k = score_row(c, "k", b, j);
    double s = 0;
    for (int64_t d = 0; d < D; d++)
        for (int64_t x = 0; x < C; x++) s += q[d] * gallery_at(c, "w")[d * C + x] * k[x];
    return s;
}

static void general_oracle(gallery_call *c)
{
    score_rows(c, general_score);
}

static const double general_weights[] = {.134827, .222292, .604252, .038629},
                    general_out[] = {1.304703, 1.469425};
static const gallery_gold general_gold[] = {
    {SCORE_GOLD ",C=2",
     {{"q", score_q}, {"k", score_k}, {"v", score_v}, {"w", score_w}},
     {{"weights", general_weights}, {"out", general_out}}},
    {0}};

static const char *const general_cases[] = {"B=2,T=5,S=7,D=4,C=3,E=3", "T=3,S=3;;mask", NULL};

const gallery_oracle gallery_oracle_general = {
    .cases = general_cases, .run = general_oracle, .gold = general_gold};
