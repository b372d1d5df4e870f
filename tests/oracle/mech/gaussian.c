/* SPDX-License-Identifier: MIT
 * Minus squared distances over twice the square of sigma, or over the root of the width. */
#include "score_rows.h"

static double gaussian_score(const gallery_call *c, int64_t b, int64_t i, int64_t j)
{
    const int64_t D = gallery_size(c, 'D');
    const double *q = score_row(c, "q", b, i), *k = score_row(c, "k", b, j);
    const double *learned = gallery_at(c, "sigma");
    const double sigma = learned ? learned[0] : gallery_f(c, "sigma");
    double s = 0;
    for (int64_t d = 0; d < D; d++) s -= (q[d] - k[d]) * (q[d] - k[d]);
    return s / (sigma != 0 ? 2 * sigma * sigma : sqrt((double)D));
}

static void gaussian_oracle(gallery_call *c)
{
    score_rows(c, gaussian_score);
}

/* A width near 0 is no width. */
static void gaussian_prepare(gallery_call *c, test_rng *rng)
{
    double *sigma = gallery_at(c, "sigma");
    if (sigma) sigma[0] = 0.5 + 2 * test_rng_uniform(rng);
}

static const double gaussian_weights[] = {.418166, .153835, .418166, .009834};
static const double gaussian_out[] = {1.244662, 1.000000};
static const double gaussian_root_weights[] = {.390076, .192334, .390076, .027514};
static const double gaussian_root_out[] = {1.142714, 1.000000};
static const double gaussian_half[] = {.70710678118654752};
static const gallery_gold gaussian_gold[] = {
    {SCORE_GOLD,
     {{"q", score_q}, {"k", score_k}, {"v", score_v}, {"sigma", gaussian_half}},
     {{"weights", gaussian_weights}, {"out", gaussian_out}}},
    {SCORE_GOLD,
     {{"q", score_q}, {"k", score_k}, {"v", score_v}},
     {{"weights", gaussian_root_weights}, {"out", gaussian_root_out}}},
    {0}};

static const char *const gaussian_cases[] = {"B=2,T=5,S=7,D=4,E=3", "T=3,S=3;;mask,sigma",
                                             "T=3,S=5;sigma=1.5;sigma", NULL};

const gallery_oracle gallery_oracle_gaussian = {.cases = gaussian_cases,
                                                .run = gaussian_oracle,
                                                .gold = gaussian_gold,
                                                .prepare = gaussian_prepare};
