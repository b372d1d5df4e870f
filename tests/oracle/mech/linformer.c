/* SPDX-License-Identifier: MIT
 * Linformer: two projections, then every query by hand. */
#include "oracle/mech_pattern.h"

static double *linformer_project(gallery_call *c, const char *p, const char *x, int64_t W)
{
    const int64_t H = gallery_size(c, 'H'), S = gallery_size(c, 'S'), N = gallery_size(c, 'N');
    const double *mask = gallery_at(c, "mask"), *project = gallery_at(c, p);
    double *y = gallery_new(c, gallery_size(c, 'B') * H * N * W);
    if (!project) project = gallery_at(c, "project_k");
    for (int64_t bh = 0; bh < gallery_size(c, 'B') * H; bh++)
        for (int64_t n = 0; n < N; n++)
            for (int64_t s = 0; s < S; s++)
                for (int64_t w = 0; w < W && (!mask || mask[bh / H * S + s] != 0); w++)
                    y[(bh * N + n) * W + w] +=
                        project[n * S + s] * gallery_at(c, x)[(bh * S + s) * W + w];
    return y;
}

static void linformer_oracle(gallery_call *c)
{
    const int64_t T = gallery_size(c, 'T'), D = gallery_size(c, 'D'), E = gallery_size(c, 'E');
    const int64_t N = gallery_size(c, 'N');
    const double *k = linformer_project(c, "project_k", "k", D);
    const double *v = linformer_project(c, "project_v", "v", E);
    for (int64_t x = 0; x < gallery_size(c, 'B') * gallery_size(c, 'H') * T; x++) {
        double *row = gallery_at(c, "weights") + x * N;
        for (int64_t n = 0; n < N; n++)
            row[n] = pattern_dot(gallery_at(c, "q") + x * D, k + (x / T * N + n) * D, D) /
                     sqrt((double)D);
        pattern_softmax(row, N);
        for (int64_t n = 0; n < N; n++)
            for (int64_t e = 0; e < E; e++)
                gallery_at(c, "out")[x * E + e] += row[n] * v[(x / T * N + n) * E + e];
    }
}

static const char *const linformer_cases[] = {"B=2,T=5,S=7", "H=1,T=3,S=4,N=2,E=3;;mask",
                                              "B=1,H=3,T=2,S=5,N=5;;project_v",
                                              "T=4,S=3,N=2;;mask,project_v", NULL};

const gallery_oracle gallery_oracle_linformer = {.cases = linformer_cases,
                                                 .run = linformer_oracle};
