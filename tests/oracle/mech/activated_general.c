/* SPDX-License-Identifier: MIT
 * tanh of q^T w k + b. */
#include "score_rows.h"

static double activated_general_score(const gallery_call *c, int64_t b, int64_t i, int64_t j)
{
    const int64_t D = gallery_size(c, 'D'), C = gallery_size(c, 'C');
    const double *q = score_row(c, "q", b, i), *k = score_row(c, "k", b, j);
    const double *bias = gallery_at(c, "b");
    double s = bias ? bias[0] : 0;
    for (int64_t d = 0; d < D; d++)
        for (int64_t x = 0; x < C; x++) s += q[d] * gallery_at(c, "w")[d * C + x] * k[x];
    return tanh(s);
}

static void activated_general_oracle(gallery_call *c)
{
    score_rows(c, activated_general_score);
}

static const double activated_general_weights[] = {.268581, .303179, .324304, .103935},
                    activated_general_out[] = {.813254, 1.055723};
static const double activated_general_b[] = {.1};
static const gallery_gold activated_general_gold[] = {
    {SCORE_GOLD ",C=2",
     {{"q", score_q},
      {"k", score_k},
      {"v", score_v},
      {"w", score_w},
      {"b", activated_general_b}},
     {{"weights", activated_general_weights}, {"out", activated_general_out}}},
    {0}};

static const char *const activated_general_cases[] = {"B=2,T=5,S=7,D=4,C=3,E=3",
                                                      "T=3,S=3;;mask,b", NULL};

const gallery_oracle gallery_oracle_activated_general = {.cases = activated_general_cases,
                                                         .run = activated_general_oracle,
                                                         .gold = activated_general_gold};
