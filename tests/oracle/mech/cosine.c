/* SPDX-License-Identifier: MIT
 * tau times the cosine; a vector without a length has none. */
#include "score_rows.h"

static double cosine_score(const gallery_call *c, int64_t b, int64_t i, int64_t j)
{
    const int64_t D = gallery_size(c, 'D');
    const double *q = score_row(c, "q", b, i), *k = score_row(c, "k", b, j);
    const double *log_tau = gallery_at(c, "log_tau");
    const double tau = log_tau ? fmin(exp(log_tau[0]), 100) : gallery_f(c, "tau");
    const double lengths = sqrt(score_dot(q, q, D)) * sqrt(score_dot(k, k, D));
    return lengths > 0 ? tau * score_dot(q, k, D) / lengths : 0;
}

static void cosine_oracle(gallery_call *c)
{
    score_rows(c, cosine_score);
}

static const double cosine_weights[] = {.342520, .219010, .361617, .076854},
                    cosine_out[] = {.988900, 1.019097};
static const gallery_gold cosine_gold[] = {{SCORE_GOLD,
                                            {{"q", score_q}, {"k", score_k}, {"v", score_v}},
                                            {{"weights", cosine_weights}, {"out", cosine_out}}},
                                           {0}};

static const char *const cosine_cases[] = {"B=2,T=5,S=7,D=4,E=3", "T=3,S=3;tau=-3;mask,log_tau",
                                           NULL};

const gallery_oracle gallery_oracle_cosine = {
    .cases = cosine_cases, .run = cosine_oracle, .gold = cosine_gold};
