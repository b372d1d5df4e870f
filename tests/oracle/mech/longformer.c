/* SPDX-License-Identifier: MIT
 * Longformer, pair by pair: the ordinary tokens, then again with the global projections for the
 * rows of global tokens. */
#include "oracle/mech_pattern.h"

static bool longformer_global(const gallery_call *c, int64_t b, int64_t i)
{
    const double *global = gallery_at(c, "global");
    return global && global[b * gallery_size(c, 'T') + i] != 0;
}

static bool longformer_allowed(const gallery_call *c, int64_t b, int64_t h, int64_t i,
                               int64_t j)
{
    const int64_t d = gallery_i(c, "dilation"), apart = llabs(i - j);
    (void)h;
    return longformer_global(c, b, i) || longformer_global(c, b, j) ||
           (apart % d == 0 && apart <= d * gallery_i(c, "window"));
}

static const double *longformer_or(const gallery_call *c, const char *name, const char *other)
{
    return gallery_at(c, name) ? gallery_at(c, name) : gallery_at(c, other);
}

static void longformer_row(gallery_call *c, int64_t b, int64_t h, int64_t i, double *row)
{
    const int64_t T = gallery_size(c, 'T'), D = gallery_size(c, 'D'), E = gallery_size(c, 'E');
    const int64_t first = (b * gallery_size(c, 'H') + h) * T;
    const bool global = longformer_global(c, b, i);
    const double *q = longformer_or(c, global ? "q_global" : "q", "q");
    const double *k = longformer_or(c, global ? "k_global" : "k", "k");
    const double *v = longformer_or(c, global ? "v_global" : "v", "v");
    const double *mask = gallery_at(c, "mask");
    for (int64_t j = 0; j < T; j++) {
        const bool ok = longformer_allowed(c, b, h, i, j) && (!mask || mask[b * T + j] != 0);
        const double s = pattern_dot(q + (first + i) * D, k + (first + j) * D, D);
        row[j] = ok ? s / sqrt((double)D) : -GALLERY_INF;
    }
    pattern_softmax(row, T);
    for (int64_t j = 0; j < T; j++)
        for (int64_t e = 0; e < E; e++)
            gallery_at(c, "out")[(first + i) * E + e] += row[j] * v[(first + j) * E + e];
}

static void longformer_oracle(gallery_call *c)
{
    const int64_t H = gallery_size(c, 'H'), T = gallery_size(c, 'T');
    double *row = gallery_new(c, T), *pattern = gallery_at(c, "pattern");
    for (int64_t x = 0; x < gallery_size(c, 'B') * H * T; x++)
        longformer_row(c, x / T / H, x / T % H, x % T, row);
    for (int64_t x = 0; x < gallery_size(c, 'B') * T * T; x++)
        pattern[x] = longformer_allowed(c, x / T / T, 0, x / T % T, x % T);
}

/* A few global tokens, not most of them. */
static void longformer_prepare(gallery_call *c, test_rng *rng)
{
    double *global = gallery_at(c, "global");
    for (int64_t i = 0; global && i < gallery_size(c, 'B') * gallery_size(c, 'T'); i++)
        global[i] = test_rng_chance(rng, 20);
}

static const char *const longformer_cases[] = {
    "B=2,T=9;window=1", "B=2,H=1,T=11;window=1,dilation=3;mask,q_global",
    "B=1,T=10,E=3;window=2;global", "T=7;window=0;mask,q_global,k_global,v_global", NULL};

const gallery_oracle gallery_oracle_longformer = {
    .cases = longformer_cases, .run = longformer_oracle, .prepare = longformer_prepare};
