/* SPDX-License-Identifier: MIT
 * Both sides of interactive attention, one score after the other. */
#include "oracle/mech_feature.h"

/* to += the rows, weighed by tanh(row.(w g) + bias); the weights go to a. */
static void interactive_side(gallery_call *c, const double *rows, const double *mask, int64_t n,
                             int64_t D, const char *w, const char *bias, const double *g,
                             double *a, double *to)
{
    const double *key = feature_linear(c, g, gallery_at(c, w), NULL, 1, D, D);
    const double add = gallery_at(c, bias) ? gallery_at(c, bias)[0] : 0;
    for (int64_t i = 0; i < n; i++) a[i] = tanh(feature_dot(rows + i * D, key, D) + add);
    feature_softmax(a, n, 1, mask);
    feature_pool(to, a, rows, n, D);
}

static void interactive_oracle(gallery_call *c)
{
    const int64_t B = gallery_size(c, 'B'), T = gallery_size(c, 'T'), S = gallery_size(c, 'S'),
                  D = gallery_size(c, 'D');
    const double *x = feature_rows(c, "x", "x_mask", B * T, D);
    const double *y = feature_rows(c, "y", "mask", B * S, D);
    for (int64_t b = 0; b < B; b++, x += T * D, y += S * D) {
        const double *mask = feature_mask(c, "mask", b, S),
                     *x_mask = feature_mask(c, "x_mask", b, T);
        double *x_mean = gallery_new(c, D), *y_mean = gallery_new(c, D);
        double *out = gallery_at(c, "out") + b * 2 * D;
        feature_mean(x_mean, x, x_mask, T, D);
        feature_mean(y_mean, y, mask, S, D);
        interactive_side(c, x, x_mask, T, D, "w_x", "b_x", y_mean,
                         gallery_at(c, "x_weights") + b * T, out);
        interactive_side(c, y, mask, S, D, "w_y", "b_y", x_mean,
                         gallery_at(c, "weights") + b * S, out + D);
    }
}

static const char *const interactive_cases[] = {
    "B=3,T=5,S=3,D=4", "T=4,S=2;;mask,x_mask,b_x,b_y", "B=2,T=1,S=1,D=2;;mask", NULL};

const gallery_oracle gallery_oracle_interactive = {.cases = interactive_cases,
                                                   .run = interactive_oracle};
