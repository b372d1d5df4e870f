/* SPDX-License-Identifier: MIT
 * CBAM's spatial attention by its definition. */
#include "gallery_case.h"
#include "oracle/mech_picture.h"

/* both 2 Y X: the maximum and the mean over channels. */
static void spatial_pool(picture p, const double *x, double *both)
{
    const int64_t n = p.Y * p.X;
    for (int64_t i = 0; i < n; i++) {
        both[i] = -GALLERY_INF;
        for (int64_t c = 0; c < p.C; c++) {
            both[i] = fmax(both[i], x[c * n + i]);
            both[n + i] += x[c * n + i] / (double)p.C;
        }
    }
}

static void spatial_norm(double *map, int64_t n, double eps)
{
    double mean = 0, var = 0;
    for (int64_t i = 0; i < n; i++) mean += map[i] / (double)n;
    for (int64_t i = 0; i < n; i++) var += (map[i] - mean) * (map[i] - mean) / (double)n;
    for (int64_t i = 0; i < n; i++) map[i] = (map[i] - mean) / sqrt(var + eps);
}

static void cbam_spatial_oracle(gallery_call *c)
{
    const picture p = {gallery_size(c, 'C'), gallery_size(c, 'Y'), gallery_size(c, 'X')};
    const int64_t B = gallery_size(c, 'B'), n = p.Y * p.X;
    const double *gamma = gallery_at(c, "gamma"), *beta = gallery_at(c, "beta");
    double *gate = gallery_at(c, "gate");
    for (int64_t b = 0; b < B; b++) {
        double *both = gallery_new(c, 2 * n);
        spatial_pool(p, gallery_at(c, "x") + b * p.C * n, both);
        picture_conv((picture){2, p.Y, p.X}, both, gallery_at(c, "w"), NULL, 1,
                     gallery_size(c, 'K'), gallery_size(c, 'L'), 1, gate + b * n);
    }
    if (gallery_i(c, "batch_norm")) spatial_norm(gate, B * n, gallery_f(c, "eps"));
    for (int64_t i = 0; i < B * n; i++)
        gate[i] = picture_sigmoid(gate[i] * (gamma ? gamma[0] : 1) + (beta ? beta[0] : 0));
    for (int64_t i = 0; i < B * p.C * n; i++)
        gallery_at(c, "out")[i] = gallery_at(c, "x")[i] * gate[i / (p.C * n) * n + i % n];
}

static const char *const cbam_spatial_cases[] = {
    "B=2,C=3,Y=4,X=5", "B=1,C=2,Y=1,X=9,K=1,L=3;;gamma,beta",
    "B=2,C=2,Y=3,X=3,K=3,L=5;batch_norm=true,eps=0.01", "B=2,C=1,Y=5,X=2,K=3,L=1;;beta", NULL};

const gallery_oracle gallery_oracle_cbam_spatial = {.cases = cbam_spatial_cases,
                                                    .run = cbam_spatial_oracle};
