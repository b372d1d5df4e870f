/* SPDX-License-Identifier: MIT
 * Criss-cross attention, place by place: one softmax over all that shares its row or column. */
#include "gallery_case.h"
#include "oracle/mech_picture.h"

#include <string.h>

/* Whether j is in the cross of i and may be looked at. */
static bool criss_cross_sees(picture p, const double *mask, int64_t i, int64_t j)
{
    return (i / p.X == j / p.X || i % p.X == j % p.X) && (!mask || mask[j] != 0);
}

static void criss_cross_place(gallery_call *c, picture p, const double *const *qkv,
                              const double *mask, int64_t i, double *y)
{
    const int64_t n = p.Y * p.X, R = gallery_size(c, 'R');
    double *w = gallery_new(c, n), sum = 0, top = -GALLERY_INF;
    for (int64_t j = 0; j < n; j++) {
        for (int64_t r = 0; r < R; r++) w[j] += qkv[0][r * n + i] * qkv[1][r * n + j];
        if (criss_cross_sees(p, mask, i, j)) top = fmax(top, w[j]);
    }
    for (int64_t j = 0; j < n; j++)
        sum += w[j] = criss_cross_sees(p, mask, i, j) ? exp(w[j] - top) : 0;
    for (int64_t e = 0; e < p.C; e++) {
        y[e * n + i] = 0;
        for (int64_t j = 0; j < n && sum > 0; j++)
            y[e * n + i] += w[j] / sum * qkv[2][e * n + j];
    }
}

static void criss_cross_round(gallery_call *c, picture p, const double *mask, double *x)
{
    const int64_t n = p.Y * p.X, R = gallery_size(c, 'R');
    const double *gamma = gallery_at(c, "gamma");
    double *q = gallery_new(c, R * n), *k = gallery_new(c, R * n), *v = gallery_new(c, p.C * n);
    double *y = gallery_new(c, p.C * n);
    picture_1x1(p, x, gallery_at(c, "w_q"), gallery_at(c, "b_q"), R, q);
    picture_1x1(p, x, gallery_at(c, "w_k"), gallery_at(c, "b_k"), R, k);
    picture_1x1(p, x, gallery_at(c, "w_v"), gallery_at(c, "b_v"), p.C, v);
    for (int64_t i = 0; i < n; i++)
        criss_cross_place(c, p, (const double *const[]){q, k, v}, mask, i, y);
    for (int64_t i = 0; i < p.C * n; i++) x[i] = gamma ? gamma[0] * y[i] + x[i] : y[i];
}

static void criss_cross_oracle(gallery_call *c)
{
    const picture p = {gallery_size(c, 'C'), gallery_size(c, 'Y'), gallery_size(c, 'X')};
    const int64_t each = p.C * p.Y * p.X;
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) {
        double *x = gallery_at(c, "out") + b * each;
        memcpy(x, gallery_at(c, "x") + b * each, (size_t)each * sizeof *x);
        const double *mask = gallery_at(c, "mask");
        for (int64_t r = 0; r < gallery_i(c, "rounds"); r++)
            criss_cross_round(c, p, mask ? mask + b * p.Y * p.X : NULL, x);
    }
}

/* Under a softmax b_k does nothing and its gradient is noise, so it is left out. */
static const char *const criss_cross_cases[] = {
    "B=2,C=2,Y=2,X=3;;b_k", "B=1,C=2,Y=3,X=2;rounds=1;b_q,b_k,b_v,gamma,mask",
    "B=1,Y=1,X=4;rounds=1;b_k,mask", "B=1,Y=3,X=1;;b_k,mask", NULL};

const gallery_oracle gallery_oracle_criss_cross = {.cases = criss_cross_cases,
                                                   .run = criss_cross_oracle};
