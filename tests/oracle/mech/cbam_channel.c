/* SPDX-License-Identifier: MIT
 * CBAM's channel attention by its definition. */
#include "gallery_case.h"
#include "oracle/mech_picture.h"

static void channel_add(gallery_call *c, const double *z, double *sum)
{
    const int64_t C = gallery_size(c, 'C'), R = gallery_size(c, 'R');
    double *hidden = gallery_new(c, R);
    for (int64_t r = 0; r < R; r++)
        hidden[r] = fmax(0, picture_row(gallery_at(c, "w1"), gallery_at(c, "b1"), z, r, C));
    for (int64_t i = 0; i < C; i++)
        sum[i] += picture_row(gallery_at(c, "w2"), gallery_at(c, "b2"), hidden, i, R);
}

static void cbam_channel_oracle(gallery_call *c)
{
    const int64_t C = gallery_size(c, 'C'), n = gallery_size(c, 'Y') * gallery_size(c, 'X');
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) {
        const double *x = gallery_at(c, "x") + b * C * n;
        double *gate = gallery_at(c, "gate") + b * C;
        double *mean = gallery_new(c, C), *top = gallery_new(c, C);
        for (int64_t i = 0; i < C; i++) {
            top[i] = -GALLERY_INF;
            for (int64_t j = 0; j < n; j++) {
                mean[i] += x[i * n + j] / (double)n;
                top[i] = fmax(top[i], x[i * n + j]);
            }
        }
        channel_add(c, mean, gate);
        channel_add(c, top, gate);
        for (int64_t i = 0; i < C; i++) gate[i] = picture_sigmoid(gate[i]);
        for (int64_t i = 0; i < C * n; i++)
            gallery_at(c, "out")[b * C * n + i] = x[i] * gate[i / n];
    }
}

static const char *const cbam_channel_cases[] = {"B=2,C=5,R=3,Y=4,X=3", "B=1,C=2,R=1;;b1,b2",
                                                 NULL};

const gallery_oracle gallery_oracle_cbam_channel = {.cases = cbam_channel_cases,
                                                    .run = cbam_channel_oracle};
