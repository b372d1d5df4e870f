/* SPDX-License-Identifier: MIT
 * lam over channels: every pair of channels by hand. */
#include "linear.h"

static void channel_lam_picture(gallery_call *c, int64_t b)
{
    const int64_t C = gallery_size(c, 'C'), N = gallery_size(c, 'Y') * gallery_size(c, 'X');
    const double *x = gallery_at(c, "x") + b * C * N, *gamma = gallery_at(c, "gamma");
    const double *unit = linear_unit(c, x, C, N);
    double *out = gallery_at(c, "out") + b * C * N, *w = gallery_at(c, "weights") + b * C * C;
    for (int64_t i = 0; i < C; i++) {
        double sum = 0;
        for (int64_t j = 0; j < C; j++) {
            w[i * C + j] = 1;
            for (int64_t n = 0; n < N; n++) w[i * C + j] += unit[i * N + n] * unit[j * N + n];
            sum += w[i * C + j];
        }
        for (int64_t j = 0; j < C; j++) w[i * C + j] /= sum;
        for (int64_t n = 0; n < N; n++) {
            double o = 0;
            for (int64_t j = 0; j < C; j++) o += w[i * C + j] * x[j * N + n];
            out[i * N + n] = gamma ? x[i * N + n] + gamma[0] * o : o;
        }
    }
}

static void channel_lam_oracle(gallery_call *c)
{
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) channel_lam_picture(c, b);
}

static const char *const channel_lam_cases[] = {"B=2,C=3,Y=4,X=3", "B=1,C=5,Y=1,X=2;;-gamma",
                                                "B=1,C=1,Y=2,X=2", NULL};

const gallery_oracle gallery_oracle_channel_lam = {.cases = channel_lam_cases,
                                                   .run = channel_lam_oracle};
