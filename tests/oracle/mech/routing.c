/* SPDX-License-Identifier: MIT
 * Routing attention: who belongs to whom is found by counting who is nearer. */
#include "oracle/mech_pattern.h"

/* q or k of a token to a centre, at length 1; -inf: hidden. */
static double routing_near(const gallery_call *c, const char *side, int64_t bh, int64_t i,
                           int64_t cluster)
{
    const int64_t T = gallery_size(c, 'T'), D = gallery_size(c, 'D'), H = gallery_size(c, 'H');
    const double *x = gallery_at(c, side) + (bh * T + i) * D, *mask = gallery_at(c, "mask");
    const double *mu =
        gallery_at(c, "centroids") + (bh % H * gallery_size(c, 'C') + cluster) * D;
    if (mask && mask[bh / H * T + i] == 0) return -GALLERY_INF;
    return pattern_dot(x, mu, D) / fmax(sqrt(pattern_dot(x, x, D)), 1e-12);
}

static bool routing_took(const gallery_call *c, const char *side, int64_t bh, int64_t i,
                         int64_t cluster)
{
    const int64_t T = gallery_size(c, 'T'), C = gallery_size(c, 'C');
    const int64_t window = gallery_i(c, "window") ? gallery_i(c, "window") : (T + C - 1) / C;
    const double own = routing_near(c, side, bh, i, cluster);
    int64_t before = 0;
    for (int64_t j = 0; j < T; j++) {
        const double other = routing_near(c, side, bh, j, cluster);
        before += other > own || (other == own && j < i);
    }
    return own > -GALLERY_INF && before < window;
}

/* Adds the answer of one cluster to out of token i. */
static void routing_cluster(gallery_call *c, int64_t bh, int64_t i, int64_t cluster,
                            double share)
{
    const int64_t T = gallery_size(c, 'T'), D = gallery_size(c, 'D'), E = gallery_size(c, 'E');
    const int64_t h = bh % gallery_size(c, 'H');
    const int64_t M = gallery_at(c, "k_memory") ? gallery_size(c, 'M') : 0;
    const double *q = gallery_at(c, "q") + (bh * T + i) * D, *kv[2];
    double *row = gallery_new(c, T + M);
    for (int64_t j = 0; j < T + M; j++) {
        const double *k = j < T ? gallery_at(c, "k") + (bh * T + j) * D
                                : gallery_at(c, "k_memory") + (h * M + j - T) * D;
        const bool ok = j >= T || (routing_took(c, "k", bh, j, cluster) &&
                                   !(gallery_i(c, "causal") && j > i));
        row[j] = ok ? pattern_dot(q, k, D) / sqrt((double)D) : -GALLERY_INF;
    }
    pattern_softmax(row, T + M);
    for (int64_t j = 0; j < T + M; j++) {
        kv[0] = gallery_at(c, "v") + (bh * T + j) * E;
        kv[1] = j < T ? kv[0] : gallery_at(c, "v_memory") + (h * M + j - T) * E;
        for (int64_t e = 0; e < E; e++)
            gallery_at(c, "out")[(bh * T + i) * E + e] += share * row[j] * kv[1][e];
    }
}

/* The nearest centre, and the mean square of the distance from it. */
static double routing_commit(const gallery_call *c, const char *side, int64_t bh, int64_t i,
                             int64_t *best)
{
    const int64_t T = gallery_size(c, 'T'), D = gallery_size(c, 'D'), C = gallery_size(c, 'C');
    const double *x = gallery_at(c, side) + (bh * T + i) * D, *mask = gallery_at(c, "mask");
    const double *mu = gallery_at(c, "centroids") + bh % gallery_size(c, 'H') * C * D;
    const double length = fmax(sqrt(pattern_dot(x, x, D)), 1e-12);
    double sum = 0;
    *best = 0;
    for (int64_t n = 1; n < C; n++)
        if (routing_near(c, side, bh, i, n) > routing_near(c, side, bh, i, *best)) *best = n;
    for (int64_t d = 0; d < D; d++)
        sum += (x[d] / length - mu[*best * D + d]) * (x[d] / length - mu[*best * D + d]);
    return mask && mask[bh / gallery_size(c, 'H') * T + i] == 0 ? 0 : sum / (double)D;
}

static void routing_token(gallery_call *c, int64_t bh, int64_t i)
{
    const int64_t C = gallery_size(c, 'C'), T = gallery_size(c, 'T');
    const double *mask = gallery_at(c, "mask");
    double taken = 0, shown = 0;
    int64_t best[2];
    for (int64_t n = 0; n < C; n++) taken += routing_took(c, "q", bh, i, n);
    for (int64_t n = 0; n < C; n++)
        if (routing_took(c, "q", bh, i, n)) routing_cluster(c, bh, i, n, 1 / taken);
    for (int64_t j = 0; j < T; j++)
        shown += !mask || mask[bh / gallery_size(c, 'H') * T + j] != 0;
    const double apart =
        routing_commit(c, "q", bh, i, &best[0]) + routing_commit(c, "k", bh, i, &best[1]);
    gallery_at(c, "q_cluster")[bh * T + i] = (double)best[0];
    gallery_at(c, "k_cluster")[bh * T + i] = (double)best[1];
    if (shown > 0) gallery_at(c, "commitment")[bh] += apart / (2 * shown);
}

static void routing_oracle(gallery_call *c)
{
    const int64_t lines = gallery_size(c, 'B') * gallery_size(c, 'H'), T = gallery_size(c, 'T');
    for (int64_t x = 0; x < lines * T; x++) routing_token(c, x / T, x % T);
}

/* How near the closest decision is: between tokens of a cluster and between centres. */
static double routing_margin(const gallery_call *c, const char *side, int64_t bh)
{
    const int64_t C = gallery_size(c, 'C'), T = gallery_size(c, 'T');
    double least = GALLERY_INF;
    for (int64_t i = 0; i < T; i++)
        for (int64_t n = 0; n < C; n++) {
            const double x = routing_near(c, side, bh, i, n);
            if (x == -GALLERY_INF) continue;
            for (int64_t j = 0; j < i; j++)
                least = fmin(least, fabs(x - routing_near(c, side, bh, j, n)));
            for (int64_t m = 0; m < n; m++)
                least = fmin(least, fabs(x - routing_near(c, side, bh, i, m)));
        }
    return least;
}

static void routing_prepare(gallery_call *c, test_rng *rng)
{
    static const char *const sides[] = {"q", "k"};
    const int64_t n = gallery_size(c, 'T') * gallery_size(c, 'D');
    const int64_t lines = gallery_size(c, 'B') * gallery_size(c, 'H');
    for (int64_t bh = 0; bh < lines; bh++)
        for (int side = 0; side < 2; side++)
            for (int tries = 0; tries < 3000 && routing_margin(c, sides[side], bh) < 0.004;
                 tries++)
                for (int64_t x = 0; x < n; x++)
                    gallery_at(c, sides[side])[bh * n + x] = test_rng_normal(rng);
}

static const char *const routing_cases[] = {
    "B=1,H=2,T=6,C=2,D=3,E=2", "B=2,H=1,T=5,C=2,D=3,E=3;window=4,causal=true;mask",
    "B=1,H=1,T=7,C=3,D=3,E=2;window=2;k_memory,v_memory",
    "B=1,H=2,T=4,C=1,D=2,E=2;;mask,k_memory,v_memory", NULL};

const gallery_oracle gallery_oracle_routing = {
    .cases = routing_cases, .run = routing_oracle, .prepare = routing_prepare};
