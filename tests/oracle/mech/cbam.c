/* SPDX-License-Identifier: MIT
 * CBAM: both gates in either order, each as a loop over a whole batch. */
#include "gallery_case.h"
#include "oracle/mech_picture.h"

typedef struct cbam_sizes {
    int64_t B, C, R, Y, X;
} cbam_sizes;

/* f of one description, added to what is there. */
static void cbam_hidden(gallery_call *c, const cbam_sizes *z, const double *seen, double *sum)
{
    for (int64_t r = 0; r < z->R; r++) {
        const double h = picture_row(gallery_at(c, "w1"), gallery_at(c, "b1"), seen, r, z->C);
        for (int64_t i = 0; i < z->C && h > 0; i++)
            sum[i] += gallery_at(c, "w2")[i * z->R + r] * h;
    }
    for (int64_t i = 0; i < z->C && gallery_at(c, "b2"); i++) sum[i] += gallery_at(c, "b2")[i];
}

static void cbam_channels(gallery_call *c, const cbam_sizes *z, double *x)
{
    const int64_t n = z->Y * z->X;
    for (int64_t b = 0; b < z->B; b++, x += z->C * n) {
        double *gate = gallery_at(c, "gate_channel") + b * z->C;
        double *mean = gallery_new(c, z->C), *top = gallery_new(c, z->C);
        for (int64_t i = 0; i < z->C; i++) {
            top[i] = n > 0 ? x[i * n] : 0;
            for (int64_t j = 0; j < n; j++) mean[i] += x[i * n + j];
            for (int64_t j = 0; j < n; j++) top[i] = fmax(top[i], x[i * n + j]);
            mean[i] /= (double)n;
        }
        cbam_hidden(c, z, mean, gate);
        cbam_hidden(c, z, top, gate);
        for (int64_t i = 0; i < z->C * n; i++) x[i] *= picture_sigmoid(gate[i / n]);
        for (int64_t i = 0; i < z->C; i++) gate[i] = picture_sigmoid(gate[i]);
    }
}

static void cbam_map(gallery_call *c, const cbam_sizes *z, const double *x, double *map)
{
    const int64_t n = z->Y * z->X;
    double *both = gallery_new(c, 2 * n);
    for (int64_t i = 0; i < n; i++) {
        both[i] = x[i];
        for (int64_t k = 0; k < z->C; k++) {
            both[i] = fmax(both[i], x[k * n + i]);
            both[n + i] += x[k * n + i] / (double)z->C;
        }
    }
    picture_conv((picture){2, z->Y, z->X}, both, gallery_at(c, "w_map"), NULL, 1,
                 gallery_size(c, 'K'), gallery_size(c, 'L'), 1, map);
}

static void cbam_places(gallery_call *c, const cbam_sizes *z, double *x)
{
    const int64_t n = z->Y * z->X, all = z->B * n;
    double *gate = gallery_at(c, "gate_spatial"), mean = 0, square = 0;
    const double *gamma = gallery_at(c, "gamma"), *beta = gallery_at(c, "beta");
    for (int64_t b = 0; b < z->B; b++) cbam_map(c, z, x + b * z->C * n, gate + b * n);
    for (int64_t i = 0; i < all; i++) mean += gate[i] / (double)all;
    for (int64_t i = 0; i < all; i++) square += gate[i] * gate[i] / (double)all;
    const double deviation = sqrt(square - mean * mean + gallery_f(c, "eps"));
    for (int64_t i = 0; i < all; i++) {
        if (gallery_i(c, "batch_norm")) gate[i] = (gate[i] - mean) / deviation;
        gate[i] = picture_sigmoid(gate[i] * (gamma ? *gamma : 1) + (beta ? *beta : 0));
        for (int64_t k = 0; k < z->C; k++) x[(i / n * z->C + k) * n + i % n] *= gate[i];
    }
}

static void cbam_oracle(gallery_call *c)
{
    const cbam_sizes z = {gallery_size(c, 'B'), gallery_size(c, 'C'), gallery_size(c, 'R'),
                          gallery_size(c, 'Y'), gallery_size(c, 'X')};
    double *x = gallery_at(c, "out");
    for (int64_t i = 0; i < z.B * z.C * z.Y * z.X; i++) x[i] = gallery_at(c, "x")[i];
    if (gallery_i(c, "order")) cbam_places(c, &z, x);
    cbam_channels(c, &z, x);
    if (!gallery_i(c, "order")) cbam_places(c, &z, x);
}

static const char *const cbam_cases[] = {
    "B=2,C=3,R=2,Y=4,X=3", "B=1,C=2,R=1,Y=1,X=7,K=1,L=7;;b1,b2,gamma,beta",
    "B=2,C=3,Y=3,X=4,K=3,L=3;order=spatial_first",
    "B=2,C=2,Y=3,X=3,K=3,L=3;order=spatial_first,batch_norm=true,eps=0.01", NULL};

const gallery_oracle gallery_oracle_cbam = {.cases = cbam_cases, .run = cbam_oracle};
