/* SPDX-License-Identifier: MIT
 * A softmax for every feature. */
#include "score_rows.h"

static void feature_wise_oracle(gallery_call *c)
{
    const int64_t B = gallery_size(c, 'B'), T = gallery_size(c, 'T');
    const int64_t S = gallery_size(c, 'S'), D = gallery_size(c, 'D');
    for (int64_t b = 0; b < B; b++)
        for (int64_t f = 0; f < D; f++)
            for (int64_t i = 0; i < T; i++) {
                double *w = gallery_at(c, "weights") + ((b * D + f) * T + i) * S;
                for (int64_t j = 0; j < S; j++)
                    w[j] = score_hidden(c, b, j, S)
                               ? -GALLERY_INF
                               : gallery_f(c, "scale") * score_row(c, "q", b, i)[f] *
                                     score_row(c, "k", b, j)[f];
                score_softmax(w, S);
                for (int64_t j = 0; j < S; j++)
                    gallery_at(c, "out")[(b * T + i) * D + f] +=
                        w[j] * score_row(c, "v", b, j)[f];
            }
}

static const char *const feature_wise_cases[] = {"B=2,T=5,S=7,D=3", "T=3,S=3;scale=-1.5;mask",
                                                 NULL};

const gallery_oracle gallery_oracle_feature_wise = {.cases = feature_wise_cases,
                                                    .run = feature_wise_oracle};
