/* SPDX-License-Identifier: MIT
 * Attention flow with the whole matrix of scores. Gold: two words of question, three of
 * context. */
#include "oracle/mech_feature.h"

typedef struct bidaf_sizes {
    int64_t T, S, D;
} bidaf_sizes;

static double bidaf_score(const double *w, const double *x, const double *y, int64_t D)
{
    double s = 0;
    for (int64_t d = 0; d < D; d++)
        s += w[d] * x[d] + w[D + d] * y[d] + w[2 * D + d] * x[d] * y[d];
    return s;
}

static double bidaf_top(const double *s, const double *mask, int64_t n)
{
    double top = -GALLERY_INF;
    for (int64_t j = 0; j < n; j++)
        if (!mask || mask[j] != 0) top = fmax(top, s[j]);
    return top;
}

static void bidaf_one(gallery_call *c, const bidaf_sizes *z, int64_t b, const double *x,
                      const double *y)
{
    const double *mask = feature_mask(c, "mask", b, z->S),
                 *x_mask = feature_mask(c, "x_mask", b, z->T);
    double *a = gallery_at(c, "weights") + b * z->T * z->S;
    double *top = gallery_at(c, "x_weights") + b * z->T;
    double *out = gallery_at(c, "out") + b * z->T * 4 * z->D;
    double *u = gallery_new(c, z->D), *h = gallery_new(c, z->D);
    for (int64_t i = 0; i < z->T; i++) {
        double *row = a + i * z->S;
        for (int64_t j = 0; j < z->S; j++)
            row[j] = bidaf_score(gallery_at(c, "w"), x + i * z->D, y + j * z->D, z->D);
        top[i] = bidaf_top(row, mask, z->S);
        for (int64_t j = 0; j < z->S && !gallery_i(c, "c2q"); j++) row[j] = 0;
        feature_softmax(row, z->S, 1, mask);
    }
    feature_softmax(top, z->T, 1, x_mask);
    feature_pool(h, top, x, z->T, z->D);
    for (int64_t i = 0; i < z->T; i++)
        for (int64_t d = 0; d < z->D; d++) {
            const double xi = x[i * z->D + d];
            double *to = out + i * 4 * z->D + d;
            u[d] = 0;
            for (int64_t j = 0; j < z->S; j++) u[d] += a[i * z->S + j] * y[j * z->D + d];
            to[0] = xi, to[z->D] = u[d], to[2 * z->D] = xi * u[d], to[3 * z->D] = xi * h[d];
        }
}

static void bidaf_oracle(gallery_call *c)
{
    const bidaf_sizes z = {gallery_size(c, 'T'), gallery_size(c, 'S'), gallery_size(c, 'D')};
    const int64_t B = gallery_size(c, 'B');
    const double *x = feature_rows(c, "x", "x_mask", B * z.T, z.D);
    const double *y = feature_rows(c, "y", "mask", B * z.S, z.D);
    for (int64_t b = 0; b < B; b++) bidaf_one(c, &z, b, x + b * z.T * z.D, y + b * z.S * z.D);
}

static const char *const bidaf_cases[] = {"B=2,T=5,S=4,D=3", "T=70,S=3,D=2;;mask,x_mask",
                                          "B=2,T=3,S=5;c2q=false;x_mask", NULL};

/* clang-format off */
static const gallery_gold bidaf_gold[] = {
    {"B=1,T=3,S=2,D=2",
     {{"x", (const double[]){1, 0, 0, 1, 1, 1}},
      {"y", (const double[]){1, .5, -1, 1}},
      {"w", (const double[]){.1, -.2, .3, .4, .5, -.6}}},
     {{"out", (const double[]){1, 0, .604368, .598908, .604368, 0, .828364, 0,
                               0, 1, .336376, .665906, 0, .665906, 0, .484377,
                               1, 1, .691069, .577233, .691069, .577233, .828364, .484377}},
      {"x_weights", (const double[]){.515623, .171636, .312741}}}},
    {0}};
/* clang-format on */

const gallery_oracle gallery_oracle_bidaf = {
    .cases = bidaf_cases, .run = bidaf_oracle, .gold = bidaf_gold};
