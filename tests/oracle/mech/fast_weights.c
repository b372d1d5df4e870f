/* SPDX-License-Identifier: MIT
 * Fast weights: the features element by element, then the delta rule token by token. */
#include "linear.h"

static double fast_weights_half(const double *x, int64_t D, int64_t i)
{
    const double y = i < D ? x[i] : -x[i - D];
    return y > 0 ? y : 0;
}

static double *fast_weights_features(gallery_call *c, const char *slot)
{
    const int64_t D = gallery_size(c, 'D'), nu = gallery_i(c, "nu"), F = 2 * D * nu;
    const int64_t rows = linear_rows(c, 'T');
    double *y = gallery_new(c, rows * F);
    for (int64_t r = 0; r < rows; r++) {
        const double *x = gallery_at(c, slot) + r * D;
        double sum = 0;
        for (int64_t n = 0; n < nu; n++)
            for (int64_t i = 0; i < 2 * D; i++) {
                const int64_t from = (i + 2 * D * nu - n - 1) % (2 * D);
                const double f = fast_weights_half(x, D, i) * fast_weights_half(x, D, from);
                y[r * F + n * 2 * D + i] = f;
                sum += f;
            }
        for (int64_t i = 0; i < F && sum > 0; i++) y[r * F + i] /= sum;
    }
    return y;
}

static void fast_weights_oracle(gallery_call *c)
{
    const linear_steps steps = {.q = fast_weights_features(c, "q"),
                                .k = fast_weights_features(c, "k"),
                                .beta = gallery_at(c, "beta"),
                                .F = 2 * gallery_size(c, 'D') * gallery_i(c, "nu"),
                                .delta = true,
                                .scale = 1};
    linear_walk(c, &steps);
}

/* Away from the kinks of relu, and a sum that is not near 0: all of one sign. */
static void fast_weights_prepare(gallery_call *c, test_rng *rng)
{
    (void)rng;
    linear_fold(c, "beta", 0.4, 0);
    linear_fold(c, "q", 1, 0.2);
    linear_fold(c, "k", -1, -0.2);
}

static const char *const fast_weights_cases[] = {"B=2,T=7,D=4", "T=5,D=3;nu=2;-beta", NULL};

const gallery_oracle gallery_oracle_fast_weights = {
    .cases = fast_weights_cases, .run = fast_weights_oracle, .prepare = fast_weights_prepare};
