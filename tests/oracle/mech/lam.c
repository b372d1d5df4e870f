/* SPDX-License-Identifier: MIT
 * lam pair by pair: the weight of a key is 1 + q^.k^. */
#include "linear.h"

static double *lam_features(gallery_call *c, const char *slot, int64_t rows)
{
    const int64_t D = gallery_size(c, 'D');
    const double *unit = linear_unit(c, gallery_at(c, slot), rows, D);
    double *y = gallery_new(c, rows * (D + 1));
    for (int64_t r = 0; r < rows; r++) {
        y[r * (D + 1)] = 1;
        for (int64_t d = 0; d < D; d++) y[r * (D + 1) + 1 + d] = unit[r * D + d];
    }
    return y;
}

static void lam_oracle(gallery_call *c)
{
    const linear_pairs pairs = {.pq = lam_features(c, "q", linear_rows(c, 'T')),
                                .pk = lam_features(c, "k", linear_rows(c, 'S')),
                                .F = gallery_size(c, 'D') + 1,
                                .eps = gallery_f(c, "eps")};
    linear_all(c, &pairs);
}

static const char *const lam_cases[] = {"B=2,T=5,S=7", "T=3,S=4,D=5;;-mask", NULL};

static const double out[] = {1.094790, -0.094790, 0.937776, 0.062224, 0.658654, 0.341346};
static const gallery_gold lam_gold[] = {
    {"B=1,H=1,T=3,S=3,D=2,E=2", {LINEAR_GOLD}, {{"out", out}}}, {0}};

const gallery_oracle gallery_oracle_lam = {
    .cases = lam_cases, .run = lam_oracle, .gold = lam_gold};
