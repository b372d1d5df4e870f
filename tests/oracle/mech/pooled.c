/* SPDX-License-Identifier: MIT
 * Pooled memory: a query's row holds all blocks, then all tokens. */
#include "oracle/mech_pattern.h"

/* Block n of x: W numbers to y; whether anything in it is shown. */
static bool pooled_block(const gallery_call *c, const char *side, int64_t bh, int64_t n,
                         int64_t W, double *y)
{
    const int64_t T = gallery_size(c, 'T'), L = gallery_i(c, "stride");
    const double *x = gallery_at(c, side) + bh * T * W, *mask = gallery_at(c, "mask");
    const double *w = gallery_at(c, side[0] == 'k' ? "w_k" : "w_v");
    double shown = 0;
    for (int64_t e = 0; e < W; e++) y[e] = 0;
    for (int64_t i = n * L; i < T && i < (n + 1) * L; i++) {
        if (mask && mask[bh / gallery_size(c, 'H') * T + i] == 0) continue;
        shown++;
        for (int64_t e = 0; e < W; e++) {
            if (!w) y[e] += x[i * W + e];
            for (int64_t d = 0; d < W && w; d++)
                y[e] += w[(e * L + i - n * L) * W + d] * x[i * W + d];
        }
    }
    for (int64_t e = 0; e < W && !w && shown > 0; e++) y[e] /= shown;
    return shown > 0;
}

static bool pooled_sees(const gallery_call *c, int64_t bh, int64_t i, int64_t j)
{
    const int64_t T = gallery_size(c, 'T'), L = gallery_i(c, "stride");
    const double *mask = gallery_at(c, "mask");
    if (mask && mask[bh / gallery_size(c, 'H') * T + j] == 0) return false;
    return gallery_i(c, "local") && i / L == j / L && !(gallery_i(c, "causal") && j > i);
}

static void pooled_row(gallery_call *c, int64_t bh, int64_t i, double *row, double *block)
{
    const int64_t T = gallery_size(c, 'T'), D = gallery_size(c, 'D'), E = gallery_size(c, 'E');
    const int64_t L = gallery_i(c, "stride"), n = (T + L - 1) / L;
    const double *q = gallery_at(c, "q") + (bh * T + i) * D;
    double *out = gallery_at(c, "out") + (bh * T + i) * E;
    for (int64_t x = 0; x < n; x++) {
        const bool some = pooled_block(c, "k", bh, x, D, block);
        const bool ok = gallery_i(c, "causal")  ? x < i / L
                        : gallery_i(c, "local") ? x != i / L
                                                : true;
        row[x] = ok && some ? pattern_dot(q, block, D) / sqrt((double)D) : -GALLERY_INF;
    }
    for (int64_t j = 0; j < T; j++)
        row[n + j] =
            pooled_sees(c, bh, i, j)
                ? pattern_dot(q, gallery_at(c, "k") + (bh * T + j) * D, D) / sqrt((double)D)
                : -GALLERY_INF;
    pattern_softmax(row, n + T);
    for (int64_t x = 0; x < n + T; x++) {
        if (x < n) pooled_block(c, "v", bh, x, E, block);
        const double *v = x < n ? block : gallery_at(c, "v") + (bh * T + x - n) * E;
        for (int64_t e = 0; e < E; e++) out[e] += row[x] * v[e];
    }
}

static void pooled_oracle(gallery_call *c)
{
    const int64_t T = gallery_size(c, 'T');
    double *row = gallery_new(c, 2 * T);
    double *block = gallery_new(c, gallery_size(c, 'D') + gallery_size(c, 'E'));
    for (int64_t x = 0; x < gallery_size(c, 'B') * gallery_size(c, 'H') * T; x++)
        pooled_row(c, x / T, x % T, row, block);
}

static const char *const pooled_cases[] = {
    "B=2,T=10,L=4", "H=1,T=11,L=3;stride=3,local=true;mask,w_k,w_v",
    "B=2,H=1,T=9,L=2,E=3;stride=2,causal=true,local=true;w_k",
    "T=7;stride=3,causal=true;mask,w_k,w_v", NULL};

const gallery_oracle gallery_oracle_pooled = {.cases = pooled_cases, .run = pooled_oracle};
