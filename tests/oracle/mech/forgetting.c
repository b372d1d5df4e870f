/* SPDX-License-Identifier: MIT
 * Forgetting attention with the whole matrix: the gates between a key and a query, added up for
 * every pair. */
#include "linear.h"

static void forgetting_row(gallery_call *c, int64_t bh, int64_t i)
{
    const int64_t T = gallery_size(c, 'T'), D = gallery_size(c, 'D'), E = gallery_size(c, 'E');
    const double *mask = gallery_at(c, "mask"), *q = gallery_at(c, "q") + (bh * T + i) * D;
    const int64_t b = bh / gallery_size(c, 'H');
    double *w = gallery_at(c, "weights") + (bh * T + i) * T, top = -GALLERY_INF, sum = 0;
    for (int64_t j = 0; j <= i; j++) {
        double score = 0;
        w[j] = -GALLERY_INF;
        if (mask && mask[b * T + j] == 0) continue;
        for (int64_t d = 0; d < D; d++)
            score += q[d] * gallery_at(c, "k")[(bh * T + j) * D + d];
        w[j] = linear_scale(c) * score;
        for (int64_t s = j + 1; s <= i; s++)
            if (!mask || mask[b * T + s] != 0) w[j] += gallery_at(c, "log_f")[bh * T + s];
        top = fmax(top, w[j]);
    }
    for (int64_t j = 0; j <= i; j++) sum += w[j] = w[j] == -GALLERY_INF ? 0 : exp(w[j] - top);
    for (int64_t j = 0; j <= i && sum > 0; j++) {
        w[j] /= sum;
        for (int64_t e = 0; e < E; e++)
            gallery_at(c, "out")[(bh * T + i) * E + e] +=
                w[j] * gallery_at(c, "v")[(bh * T + j) * E + e];
    }
}

static void forgetting_oracle(gallery_call *c)
{
    const int64_t T = gallery_size(c, 'T');
    for (int64_t row = 0; row < linear_rows(c, 'T'); row++) forgetting_row(c, row / T, row % T);
}

static void forgetting_prepare(gallery_call *c, test_rng *rng)
{
    (void)rng;
    linear_fold(c, "log_f", -0.5, 0);
}

static const char *const forgetting_cases[] = {"B=2,T=7", "T=5,D=5;scale=0.5;-mask", NULL};

const gallery_oracle gallery_oracle_forgetting = {
    .cases = forgetting_cases, .run = forgetting_oracle, .prepare = forgetting_prepare};
