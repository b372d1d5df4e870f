/* SPDX-License-Identifier: MIT
 * k . (w q + b), entry by entry. */
#include "score_rows.h"

static double biased_general_score(const gallery_call *c, int64_t b, int64_t i, int64_t j)
{
    const int64_t D = gallery_size(c, 'D'), C = gallery_size(c, 'C');
    const double *q = score_row(c, "q", b, i), *k = score_row(c, "k", b, j);
    double s = 0;
    for (int64_t x = 0; x < C; x++)
        s += k[x] * (score_dot(gallery_at(c, "w") + x * D, q, D) + gallery_at(c, "b")[x]);
    return s;
}

static void biased_general_oracle(gallery_call *c)
{
    score_rows(c, biased_general_score);
}

static const double biased_general_weights[] = {.637770, .038783, .316707, .006739},
                    biased_general_out[] = {1.264446, .678937};
static const double biased_general_b[] = {.1, -.2};
static const gallery_gold biased_general_gold[] = {
    {SCORE_GOLD ",C=2",
     {{"q", score_q}, {"k", score_k}, {"v", score_v}, {"w", score_w}, {"b", biased_general_b}},
     {{"weights", biased_general_weights}, {"out", biased_general_out}}},
    {0}};

static const char *const biased_general_cases[] = {"B=2,T=5,S=7,D=4,C=3,E=3", "T=3,S=3;;mask",
                                                   NULL};

const gallery_oracle gallery_oracle_biased_general = {
    .cases = biased_general_cases, .run = biased_general_oracle, .gold = biased_general_gold};
