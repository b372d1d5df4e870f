/* SPDX-License-Identifier: MIT
 * Products over the root of the width, causal or not, the last query at the last key. */
#include "score_rows.h"

static double scaled_dot_score(const gallery_call *c, int64_t b, int64_t i, int64_t j)
{
    const int64_t D = gallery_size(c, 'D'), T = gallery_size(c, 'T'), S = gallery_size(c, 'S');
    if (gallery_i(c, "causal") && j > i + S - T) return -GALLERY_INF;
    return score_dot(score_row(c, "q", b, i), score_row(c, "k", b, j), D) / sqrt((double)D);
}

static void scaled_dot_oracle(gallery_call *c)
{
    score_rows(c, scaled_dot_score);
}

static const double scaled_dot_weights[] = {.292703, .205533, .416844, .084921},
                    scaled_dot_out[] = {1.041469, 1.124141};
static const gallery_gold scaled_dot_gold[] = {
    {SCORE_GOLD,
     {{"q", score_q}, {"k", score_k}, {"v", score_v}},
     {{"weights", scaled_dot_weights}, {"out", scaled_dot_out}}},
    {0}};

static const char *const scaled_dot_cases[] = {"B=2,T=5,S=7,D=4,E=3", "T=3,S=3;;mask",
                                               "T=4,S=6;causal=true;mask", NULL};

const gallery_oracle gallery_oracle_scaled_dot = {
    .cases = scaled_dot_cases, .run = scaled_dot_oracle, .gold = scaled_dot_gold};
