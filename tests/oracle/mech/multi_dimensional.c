/* SPDX-License-Identifier: MIT
 * A row of w_d, and so a softmax, for every feature of the values. */
#include "score_rows.h"

static double multi_dimensional_score(const gallery_call *c, int64_t b, int64_t f, int64_t i,
                                      int64_t j)
{
    const int64_t D = gallery_size(c, 'D'), C = gallery_size(c, 'C'), A = gallery_size(c, 'A');
    const double *bias = gallery_at(c, "b");
    double s = 0;
    for (int64_t a = 0; a < A; a++)
        s += gallery_at(c, "w_d")[f * A + a] *
             tanh(score_dot(gallery_at(c, "w_q") + a * D, score_row(c, "q", b, i), D) +
                  score_dot(gallery_at(c, "w_k") + a * C, score_row(c, "k", b, j), C) +
                  (bias ? bias[a] : 0));
    return s;
}

static void multi_dimensional_oracle(gallery_call *c)
{
    const int64_t B = gallery_size(c, 'B'), T = gallery_size(c, 'T');
    const int64_t S = gallery_size(c, 'S'), E = gallery_size(c, 'E');
    for (int64_t b = 0; b < B; b++)
        for (int64_t f = 0; f < E; f++)
            for (int64_t i = 0; i < T; i++) {
                double *w = gallery_at(c, "weights") + ((b * E + f) * T + i) * S;
                for (int64_t j = 0; j < S; j++)
                    w[j] = score_hidden(c, b, j, S) ? -GALLERY_INF
                                                    : multi_dimensional_score(c, b, f, i, j);
                score_softmax(w, S);
                for (int64_t j = 0; j < S; j++)
                    gallery_at(c, "out")[(b * T + i) * E + f] +=
                        w[j] * score_row(c, "v", b, j)[f];
            }
}

static const char *const multi_dimensional_cases[] = {"B=2,T=4,S=5,D=3,C=2,A=3,E=2",
                                                      "T=3,S=3,D=2,C=2,A=2,E=3;;mask,b", NULL};

const gallery_oracle gallery_oracle_multi_dimensional = {.cases = multi_dimensional_cases,
                                                         .run = multi_dimensional_oracle};
