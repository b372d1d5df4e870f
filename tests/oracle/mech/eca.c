/* SPDX-License-Identifier: MIT
 * Efficient channel attention by its definition. */
#include "gallery_case.h"
#include "oracle/mech_picture.h"

static void eca_oracle(gallery_call *c)
{
    const int64_t C = gallery_size(c, 'C'), K = gallery_size(c, 'K');
    const int64_t n = gallery_size(c, 'Y') * gallery_size(c, 'X');
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) {
        const double *x = gallery_at(c, "x") + b * C * n;
        double *mean = gallery_new(c, C);
        for (int64_t i = 0; i < C; i++) {
            for (int64_t p = 0; p < n; p++) mean[i] += x[i * n + p];
            mean[i] /= n > 0 ? (double)n : 1;
        }
        for (int64_t i = 0; i < C; i++) {
            double score = 0;
            for (int64_t j = 0; j < C; j++) {
                const int64_t k = j - i + (K - 1) / 2;
                if (k >= 0 && k < K) score += gallery_at(c, "w")[k] * mean[j];
            }
            gallery_at(c, "gate")[b * C + i] = picture_sigmoid(score);
            for (int64_t p = 0; p < n; p++)
                gallery_at(c, "out")[(b * C + i) * n + p] =
                    x[i * n + p] * picture_sigmoid(score);
        }
    }
}

static const char *const eca_cases[] = {"B=2,C=7,K=5,Y=4,X=3", "B=1,C=1,K=1",
                                        "B=1,C=16,K=3;rule=true", "C=2,K=7", NULL};

const gallery_oracle gallery_oracle_eca = {.cases = eca_cases, .run = eca_oracle};
