/* SPDX-License-Identifier: MIT
 * Deformable attention, query by query. */
#include "gallery_case.h"
#include "oracle/mech_picture.h"

typedef struct deformable_call {
    int64_t b, t, heads, levels, points, M;
    const double *q;
} deformable_call;

static const char *const deformable_x[] = {"x1", "x2", "x3", "x4"}, *const deformable_mask[] = {
                                                                        "mask1", "mask2",
                                                                        "mask3", "mask4"};
static const char deformable_letters[][2] = {{'Y', 'X'}, {'V', 'U'}, {'J', 'I'}, {'G', 'F'}};

static picture deformable_picture(gallery_call *c, int64_t l)
{
    return (picture){gallery_size(c, 'C'), gallery_size(c, deformable_letters[l][0]),
                     gallery_size(c, deformable_letters[l][1])};
}

/* Row `row` of the values of level l: one plane. */
static double *deformable_value(gallery_call *c, int64_t b, int64_t l, int64_t row)
{
    const picture p = deformable_picture(c, l);
    const int64_t n = p.Y * p.X;
    const double *x = gallery_at(c, deformable_x[l]) + b * p.C * n, *b_v = gallery_at(c, "b_v");
    const double *mask = gallery_at(c, deformable_mask[l]);
    double *plane = gallery_new(c, n);
    picture_1x1(p, x, gallery_at(c, "w_v") + row * p.C, b_v ? b_v + row : NULL, 1, plane);
    for (int64_t i = 0; i < n && mask; i++)
        if (mask[b * n + i] == 0) plane[i] = 0;
    return plane;
}

/* Coordinate axis (0 x, 1 y) of place s of heads levels points, in pixels. */
static double deformable_place(gallery_call *c, const deformable_call *d, int64_t s, int axis)
{
    const int64_t l = s / d->points % d->levels, R = gallery_size(c, 'R');
    const picture p = deformable_picture(c, l);
    const double size = (double)(axis ? p.Y : p.X);
    const double *ref = gallery_at(c, "ref") + (d->b * gallery_size(c, 'T') + d->t) * R;
    const double move =
        picture_row(gallery_at(c, "w_p"), gallery_at(c, "b_p"), d->q, 2 * s + axis, d->M);
    const double place = R == 2 ? ref[axis] + move / size
                                : ref[axis] + move / (double)d->points * ref[2 + axis] * 0.5;
    return place * size - 0.5;
}

static void deformable_query(gallery_call *c, const deformable_call *d, double *weights,
                             double *heads_out)
{
    const int64_t S = gallery_size(c, 'S'), P = gallery_size(c, 'P'), each = S / d->heads;
    for (int64_t s = 0; s < S; s++)
        weights[s] = picture_row(gallery_at(c, "w_a"), gallery_at(c, "b_a"), d->q, s, d->M);
    for (int64_t h = 0; h < d->heads; h++) picture_softmax(weights + h * each, each);
    for (int64_t e = 0; e < P; e++) {
        const int64_t h = e / (P / d->heads);
        for (int64_t s = h * each; s < (h + 1) * each; s++) {
            const int64_t l = s / d->points % d->levels;
            heads_out[e] += weights[s] * picture_between(deformable_value(c, d->b, l, e),
                                                         deformable_picture(c, l),
                                                         deformable_place(c, d, s, 1),
                                                         deformable_place(c, d, s, 0));
        }
    }
}

static deformable_call deformable_open(gallery_call *c)
{
    deformable_call d = {.heads = gallery_i(c, "heads"), .M = gallery_size(c, 'M')};
    while (d.levels < 4 && gallery_at(c, deformable_x[d.levels])) d.levels++;
    d.points = gallery_size(c, 'S') / d.heads / d.levels;
    return d;
}

static void deformable_attention_oracle(gallery_call *c)
{
    const int64_t T = gallery_size(c, 'T'), S = gallery_size(c, 'S'), P = gallery_size(c, 'P');
    const int64_t O = gallery_size(c, 'O');
    deformable_call d = deformable_open(c);
    for (int64_t r = 0; r < gallery_size(c, 'B') * T; r++) {
        double *o = gallery_new(c, P);
        d.b = r / T, d.t = r % T, d.q = gallery_at(c, "q") + r * d.M;
        deformable_query(c, &d, gallery_at(c, "weights") + r * S, o);
        for (int64_t i = 0; i < O; i++)
            gallery_at(c, "out")[r * O + i] =
                picture_row(gallery_at(c, "w_o"), gallery_at(c, "b_o"), o, i, P);
    }
}

static bool deformable_between(gallery_call *c, const deformable_call *d)
{
    for (int64_t s = 0; s < gallery_size(c, 'S'); s++)
        for (int axis = 0; axis < 2; axis++) {
            const double at = deformable_place(c, d, s, axis);
            if (fabs(at - round(at)) < 0.02) return false;
        }
    return true;
}

/* References inside, places between pixels. */
static void deformable_prepare(gallery_call *c, test_rng *rng)
{
    const int64_t T = gallery_size(c, 'T'), R = gallery_size(c, 'R');
    double *ref = gallery_at(c, "ref"), *w = gallery_at(c, "w_p");
    deformable_call d = deformable_open(c);
    for (int64_t i = 0; i < gallery_size(c, 'N') * d.M; i++) w[i] *= 0.3;
    for (int64_t r = 0; r < gallery_size(c, 'B') * T; r++)
        for (int tries = 0; tries < 10000; tries++) {
            d.b = r / T, d.t = r % T, d.q = gallery_at(c, "q") + r * d.M;
            for (int64_t i = 0; i < R; i++) ref[r * R + i] = 0.1 + 0.8 * test_rng_uniform(rng);
            if (deformable_between(c, &d)) break;
        }
}

static const char *const deformable_attention_cases[] = {
    "B=2,T=3,S=4,N=8;;x2,x3,x4,mask2,mask3,mask4",
    "B=1,T=2,S=8,N=16;heads=1;mask1,mask2,mask3,mask4,b_p,b_a,b_v,b_o",
    "B=2,T=2,R=4,S=8,N=16;;x3,x4,mask3,mask4", NULL};

const gallery_oracle gallery_oracle_deformable_attention = {.cases = deformable_attention_cases,
                                                            .run = deformable_attention_oracle,
                                                            .prepare = deformable_prepare};
