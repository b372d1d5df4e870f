/* SPDX-License-Identifier: MIT
 * Deformable convolution: every number as a sum over channels, taps and pixels. */
#include "gallery_case.h"
#include "oracle/mech_picture.h"

typedef struct deformable_sizes {
    picture p;
    int64_t b, K, L, P, Q, sets;
} deformable_sizes;

/* What tap k sees in this channel from place i. */
static double deformable_look(gallery_call *c, const deformable_sizes *z, int64_t channel,
                              int64_t k, int64_t i)
{
    const int64_t taps = z->K * z->L, n = z->P * z->Q;
    const int64_t set = channel / (z->p.C / z->sets), tap = set * taps + k;
    const double *offset = gallery_at(c, "offset") + (z->b * z->sets * taps + tap) * 2 * n;
    const double *m = gallery_at(c, "modulation");
    const double stride = (double)gallery_i(c, "stride"),
                 rate = (double)gallery_i(c, "dilation");
    const double padding = (double)gallery_i(c, "padding");
    const double y =
        (double)(i / z->Q) * stride - padding + (double)(k / z->L) * rate + offset[i];
    const double x =
        (double)(i % z->Q) * stride - padding + (double)(k % z->L) * rate + offset[n + i];
    const double *plane = gallery_at(c, "x") + (z->b * z->p.C + channel) * z->p.Y * z->p.X;
    double factor = m ? m[(z->b * z->sets * taps + tap) * n + i] : 1;
    if (m && gallery_i(c, "sigmoid")) factor = picture_sigmoid(factor);
    return factor * picture_between(plane, z->p, y, x);
}

static void deformable_conv_oracle(gallery_call *c)
{
    deformable_sizes z = {
        .p = {gallery_size(c, 'C'), gallery_size(c, 'Y'), gallery_size(c, 'X')},
        .K = gallery_size(c, 'K'),
        .L = gallery_size(c, 'L'),
        .P = gallery_size(c, 'P'),
        .Q = gallery_size(c, 'Q')};
    const int64_t M = gallery_size(c, 'M'), D = gallery_size(c, 'D'), taps = z.K * z.L;
    const int64_t groups = gallery_i(c, "groups"), n = z.P * z.Q;
    z.sets = gallery_size(c, 'N') / 2 / taps;
    for (z.b = 0; z.b < gallery_size(c, 'B'); z.b++)
        for (int64_t e = 0; e < M * n; e++) {
            const int64_t m = e / n, group = m / (M / groups);
            double sum = gallery_at(c, "b") ? gallery_at(c, "b")[m] : 0;
            for (int64_t d = 0; d < D * taps; d++)
                sum += gallery_at(c, "w")[m * D * taps + d] *
                       deformable_look(c, &z, group * D + d / taps, d % taps, e % n);
            gallery_at(c, "out")[z.b * M * n + e] = sum;
        }
}

/* Between pixels, where there is a derivative. */
static void deformable_prepare(gallery_call *c, test_rng *rng)
{
    const int slot = attn_mech_slot(c->mech, "offset");
    for (int64_t i = 0; i < c->count[slot]; i++)
        c->at[slot][i] = (double)test_rng_range(rng, -2, 1) + 0.1 + 0.8 * test_rng_uniform(rng);
}

static const char *const deformable_conv_cases[] = {
    "B=2,Y=4,X=5",
    "B=1,C=4,D=2,M=4,Y=5,X=4,K=2,L=3,N=24,J=12,P=2,Q=1;stride=2,padding=0,groups=2;b",
    "B=2,C=2,D=2,M=1,Y=3,X=4,K=1,L=2,N=4,J=2,P=5,Q=4;dilation=2;modulation",
    "B=1,Y=4,X=5;sigmoid=true", NULL};

const gallery_oracle gallery_oracle_deformable_conv = {.cases = deformable_conv_cases,
                                                       .run = deformable_conv_oracle,
                                                       .prepare = deformable_prepare,
                                                       .vary = "B"};
