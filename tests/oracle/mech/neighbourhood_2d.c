/* SPDX-License-Identifier: MIT
 * Neighbourhood attention of a picture, place by place. */
#include "oracle/mech_pattern.h"

static bool neighbourhood_2d_near(const gallery_call *c, int64_t n, int64_t i, int64_t j)
{
    const int64_t d = gallery_i(c, "dilation"), size = gallery_i(c, "size");
    int64_t from = i - size / 2 * d, to = from + (size - 1) * d;
    while (to >= n) from -= d, to -= d;
    while (from < 0) from += d, to += d;
    return j % d == i % d && j >= from && j <= to;
}

static bool neighbourhood_2d_allowed(const gallery_call *c, int64_t i, int64_t j)
{
    const int64_t Y = gallery_size(c, 'Y'), X = gallery_size(c, 'X');
    return neighbourhood_2d_near(c, Y, i / X, j / X) &&
           neighbourhood_2d_near(c, X, i % X, j % X);
}

static void neighbourhood_2d_row(gallery_call *c, int64_t bh, int64_t i, double *row)
{
    const int64_t N = gallery_size(c, 'Y') * gallery_size(c, 'X'), D = gallery_size(c, 'D');
    const int64_t E = gallery_size(c, 'E'), b = bh / gallery_size(c, 'H');
    const double *mask = gallery_at(c, "mask"), *q = gallery_at(c, "q") + (bh * N + i) * D;
    for (int64_t j = 0; j < N; j++) {
        const double s = pattern_dot(q, gallery_at(c, "k") + (bh * N + j) * D, D);
        const bool ok = neighbourhood_2d_allowed(c, i, j) && (!mask || mask[b * N + j] != 0);
        row[j] = ok ? s / sqrt((double)D) : -GALLERY_INF;
    }
    pattern_softmax(row, N);
    for (int64_t j = 0; j < N; j++)
        for (int64_t e = 0; e < E; e++)
            gallery_at(c, "out")[(bh * N + i) * E + e] +=
                row[j] * gallery_at(c, "v")[(bh * N + j) * E + e];
}

static void neighbourhood_2d_oracle(gallery_call *c)
{
    const int64_t N = gallery_size(c, 'Y') * gallery_size(c, 'X');
    double *row = gallery_new(c, N);
    for (int64_t x = 0; x < gallery_size(c, 'B') * gallery_size(c, 'H') * N; x++)
        neighbourhood_2d_row(c, x / N, x % N, row);
    for (int64_t x = 0; x < N * N; x++)
        gallery_at(c, "pattern")[x] = neighbourhood_2d_allowed(c, x / N, x % N);
}

static const char *const neighbourhood_2d_cases[] = {
    "B=2,Y=4,X=5;size=3", "H=1,Y=7,X=4,D=3;size=3,dilation=2;mask", "Y=3,X=6,E=3;size=4",
    "B=1,H=1,Y=9,X=10,D=2,E=2;size=3;mask", NULL};

const gallery_oracle gallery_oracle_neighbourhood_2d = {.cases = neighbourhood_2d_cases,
                                                        .run = neighbourhood_2d_oracle};
