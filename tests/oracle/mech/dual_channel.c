/* SPDX-License-Identifier: MIT
 * Channel self-attention, channel by channel. */
#include "gallery_case.h"
#include "oracle/mech_picture.h"

static void dual_channel_oracle(gallery_call *c)
{
    const int64_t C = gallery_size(c, 'C'), n = gallery_size(c, 'Y') * gallery_size(c, 'X');
    const double *gamma = gallery_at(c, "gamma");
    for (int64_t r = 0; r < gallery_size(c, 'B') * C; r++) {
        const double *x = gallery_at(c, "x") + r / C * C * n, *own = x + r % C * n;
        double *weights = gallery_at(c, "weights") + r * C, *out = gallery_at(c, "out") + r * n;
        for (int64_t j = 0; j < C; j++) {
            for (int64_t p = 0; p < n; p++) weights[j] += own[p] * x[j * n + p];
            if (gallery_i(c, "inverted")) weights[j] = -weights[j];
        }
        picture_softmax(weights, C);
        for (int64_t p = 0; p < n; p++) {
            for (int64_t j = 0; j < C; j++) out[p] += weights[j] * x[j * n + p];
            if (gamma) out[p] = gamma[0] * out[p] + own[p];
        }
    }
}

static const char *const dual_channel_cases[] = {"B=2,C=5,Y=2,X=2", "B=1,C=3,Y=1,X=4;;gamma",
                                                 "C=1", "B=1,C=4;inverted=true", NULL};

const gallery_oracle gallery_oracle_dual_channel = {
    .cases = dual_channel_cases, .run = dual_channel_oracle, .vary = "BCYX"};
