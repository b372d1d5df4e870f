/* SPDX-License-Identifier: MIT
 * The spatial transformer in its coordinates of -1 .. 1. */
#include "gallery_case.h"
#include "oracle/mech_picture.h"

/* Pixel i of n as a coordinate, and back. */
static double transformer_coordinate(gallery_call *c, int64_t i, int64_t n)
{
    if (gallery_i(c, "corners")) return n > 1 ? 2 * (double)i / (double)(n - 1) - 1 : 0;
    return (2 * (double)i + 1) / (double)n - 1;
}

static double transformer_pixel(gallery_call *c, double at, int64_t n)
{
    if (gallery_i(c, "corners")) return (at + 1) / 2 * (double)(n - 1);
    return ((at + 1) * (double)n - 1) / 2;
}

static void spatial_transformer_oracle(gallery_call *c)
{
    const picture p = {gallery_size(c, 'C'), gallery_size(c, 'Y'), gallery_size(c, 'X')};
    const int64_t n = p.Y * p.X;
    for (int64_t r = 0; r < gallery_size(c, 'B') * n; r++) {
        const int64_t b = r / n, i = r % n;
        const double *theta = gallery_at(c, "theta") + 6 * b;
        const double x = transformer_coordinate(c, i % p.X, p.X);
        const double y = transformer_coordinate(c, i / p.X, p.Y);
        const double u = theta[0] * x + theta[1] * y + theta[2];
        const double v = theta[3] * x + theta[4] * y + theta[5];
        for (int64_t e = b * p.C; e < (b + 1) * p.C; e++)
            gallery_at(c, "out")[e * n + i] =
                picture_between(gallery_at(c, "x") + e * n, p, transformer_pixel(c, v, p.Y),
                                transformer_pixel(c, u, p.X));
    }
}

/* Whether every place stands well between pixels. */
static bool transformer_between(gallery_call *c, const double *theta)
{
    const int64_t Y = gallery_size(c, 'Y'), X = gallery_size(c, 'X');
    for (int64_t i = 0; i < Y * X; i++) {
        const double x = transformer_coordinate(c, i % X, X);
        const double y = transformer_coordinate(c, i / X, Y);
        const double u = transformer_pixel(c, theta[0] * x + theta[1] * y + theta[2], X);
        const double v = transformer_pixel(c, theta[3] * x + theta[4] * y + theta[5], Y);
        if (fabs(u - round(u)) < 0.02 || fabs(v - round(v)) < 0.02) return false;
    }
    return true;
}

/* A window mostly inside the picture. */
static void transformer_prepare(gallery_call *c, test_rng *rng)
{
    static const double middle[6] = {0.7, 0, 0.1, 0, 0.7, 0.1};
    const int slot = attn_mech_slot(c->mech, "theta");
    for (int64_t b = 0; b < c->count[slot] / 6; b++)
        for (int tries = 0; tries < 1000; tries++) {
            double *theta = c->at[slot] + 6 * b;
            for (int i = 0; i < 6; i++) theta[i] = middle[i] + 0.3 * test_rng_normal(rng);
            if (transformer_between(c, theta)) break;
        }
}

static const char *const spatial_transformer_cases[] = {
    "B=2,C=2,Y=4,X=5", "B=1,C=1,Y=3,X=3;corners=true", "B=1,C=2,Y=6,X=2;corners=true", NULL};

const gallery_oracle gallery_oracle_spatial_transformer = {.cases = spatial_transformer_cases,
                                                           .run = spatial_transformer_oracle,
                                                           .prepare = transformer_prepare};
