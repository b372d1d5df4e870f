/* SPDX-License-Identifier: MIT
 * w . tanh(w_q q + w_k k + b), feature by feature; with g the length of w is g. */
#include "score_rows.h"

static double additive_score(const gallery_call *c, int64_t b, int64_t i, int64_t j)
{
    const int64_t D = gallery_size(c, 'D'), C = gallery_size(c, 'C'), A = gallery_size(c, 'A');
    const double *q = score_row(c, "q", b, i), *k = score_row(c, "k", b, j);
    const double *bias = gallery_at(c, "b"), *g = gallery_at(c, "g"), *w = gallery_at(c, "w");
    const double length = g ? sqrt(score_dot(w, w, A)) : 1;
    double s = 0;
    for (int64_t a = 0; a < A; a++) {
        const double x = score_dot(gallery_at(c, "w_q") + a * D, q, D) +
                         score_dot(gallery_at(c, "w_k") + a * C, k, C) + (bias ? bias[a] : 0);
        s += w[a] * tanh(x);
    }
    return g ? g[0] * s / length : s;
}

static void additive_oracle(gallery_call *c)
{
    score_rows(c, additive_score);
}

static const double additive_weights[] = {.342072, .219640, .253546, .184742},
                    additive_out[] = {.664422, .911474};
static const double additive_w_q[] = {1, 0, 0, 1}, additive_w_k[] = {.5, 0, 0, .5},
                    additive_w[] = {1, -1};
static const gallery_gold additive_gold[] = {
    {SCORE_GOLD ",C=2,A=2",
     {{"q", score_q},
      {"k", score_k},
      {"v", score_v},
      {"w_q", additive_w_q},
      {"w_k", additive_w_k},
      {"w", additive_w}},
     {{"weights", additive_weights}, {"out", additive_out}}},
    {0}};

static const char *const additive_cases[] = {"B=2,T=5,S=7,D=4,C=3,A=5,E=3;;g",
                                             "T=3,S=3;;mask,b,g", "B=1,T=2,S=4", NULL};

const gallery_oracle gallery_oracle_additive = {
    .cases = additive_cases, .run = additive_oracle, .gold = additive_gold};
