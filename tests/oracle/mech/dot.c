/* SPDX-License-Identifier: MIT
 * Products of queries and keys, softmax, sum. */
#include "score_rows.h"

static double dot_score(const gallery_call *c, int64_t b, int64_t i, int64_t j)
{
    return score_dot(score_row(c, "q", b, i), score_row(c, "k", b, j), gallery_size(c, 'D'));
}

static void dot_oracle(gallery_call *c)
{
    score_rows(c, dot_score);
}

static const double dot_weights[] = {.291628, .176881, .480813, .050677},
                    dot_out[] = {1.202577, 1.189185};
static const gallery_gold dot_gold[] = {{SCORE_GOLD,
                                         {{"q", score_q}, {"k", score_k}, {"v", score_v}},
                                         {{"weights", dot_weights}, {"out", dot_out}}},
                                        {0}};

static const char *const dot_cases[] = {"B=2,T=5,S=7,D=4,E=3", "T=3,S=3;;mask", NULL};

const gallery_oracle gallery_oracle_dot = {
    .cases = dot_cases, .run = dot_oracle, .gold = dot_gold};
