/* SPDX-License-Identifier: MIT
 * Block-sparse attention, pair by pair. */
#include "oracle/mech_pattern.h"

static bool block_sparse_allowed(gallery_call *c, int64_t b, int64_t h, int64_t i, int64_t j)
{
    const int64_t M = gallery_size(c, 'M'), N = gallery_size(c, 'N');
    const double *mask = gallery_at(c, "mask");
    int64_t y = 0, x = 0;
    while ((y + 1) * ((gallery_size(c, 'T') + M - 1) / M) <= i) y++;
    while ((x + 1) * ((gallery_size(c, 'S') + N - 1) / N) <= j) x++;
    if (mask && mask[b * gallery_size(c, 'S') + j] == 0) return false;
    return gallery_at(c, "blocks")[(h * M + y) * N + x] != 0 &&
           !(gallery_i(c, "causal") && j > i);
}

static void block_sparse_oracle(gallery_call *c)
{
    const int64_t H = gallery_size(c, 'H'), T = gallery_size(c, 'T'), S = gallery_size(c, 'S');
    const int64_t D = gallery_size(c, 'D'), E = gallery_size(c, 'E');
    double *row = gallery_new(c, S);
    for (int64_t x = 0; x < gallery_size(c, 'B') * H * T; x++) {
        const double *k = gallery_at(c, "k") + x / T * S * D;
        const double *v = gallery_at(c, "v") + x / T * S * E;
        for (int64_t j = 0; j < S; j++) {
            row[j] = -GALLERY_INF;
            if (block_sparse_allowed(c, x / T / H, x / T % H, x % T, j))
                row[j] =
                    pattern_dot(gallery_at(c, "q") + x * D, k + j * D, D) / sqrt((double)D);
        }
        pattern_softmax(row, S);
        for (int64_t j = 0; j < S; j++)
            for (int64_t e = 0; e < E; e++)
                gallery_at(c, "out")[x * E + e] += row[j] * v[j * E + e];
    }
}

static const char *const block_sparse_cases[] = {
    "B=2,H=2,T=9,S=11,M=3,N=4", "H=1,T=10,S=10,M=4,N=4;causal=true;mask",
    "B=2,H=3,T=7,S=5,M=2,N=6,E=2;;mask", "T=5,S=13,M=1,N=3", NULL};

const gallery_oracle gallery_oracle_block_sparse = {
    .cases = block_sparse_cases, .run = block_sparse_oracle, .vary = "BE"};
