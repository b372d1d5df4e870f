/* SPDX-License-Identifier: MIT
 * Double cross attention with both matrices of scores. */
#include "oracle/mech_feature.h"

/* s[i][j] = a_i.b_j, then a softmax over j. */
static double *dca_rows(gallery_call *c, const double *a, int64_t n, const double *b, int64_t m,
                        int64_t D, const double *mask)
{
    double *s = gallery_new(c, n * m);
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < m; j++) s[i * m + j] = feature_dot(a + i * D, b + j * D, D);
        feature_softmax(s + i * m, m, 1, mask);
    }
    return s;
}

static double *dca_see(gallery_call *c, const double *a, int64_t n, const double *b, int64_t m,
                       int64_t D, const double *mask)
{
    const double *s = dca_rows(c, a, n, b, m, D, mask);
    double *seen = gallery_new(c, n * D);
    for (int64_t i = 0; i < n; i++) feature_pool(seen + i * D, s + i * m, b, m, D);
    return seen;
}

static void dca_oracle(gallery_call *c)
{
    const int64_t T = gallery_size(c, 'T'), S = gallery_size(c, 'S'), D = gallery_size(c, 'D');
    for (int64_t n = 0; n < gallery_size(c, 'B'); n++) {
        const double *x = gallery_at(c, "x") + n * T * D, *y = gallery_at(c, "y") + n * S * D;
        const double *mask = feature_mask(c, "mask", n, S);
        const double *a = dca_see(c, x, T, y, S, D, mask);
        const double *b = dca_see(c, y, S, x, T, D, feature_mask(c, "x_mask", n, T));
        const double *d = dca_see(c, a, T, b, S, D, mask);
        double *out = gallery_at(c, "out") + n * T * 3 * D;
        for (int64_t i = 0; i < T; i++)
            for (int64_t e = 0; e < D; e++) {
                out[i * 3 * D + e] = x[i * D + e];
                out[i * 3 * D + D + e] = a[i * D + e];
                out[i * 3 * D + 2 * D + e] = d[i * D + e];
            }
    }
}

static const char *const dca_cases[] = {"B=2,T=5,S=4,D=3", "T=3,S=7,D=2;;mask,x_mask",
                                        "T=1,S=1;;mask,x_mask", NULL};

const gallery_oracle gallery_oracle_dca = {.cases = dca_cases, .run = dca_oracle};
