/* SPDX-License-Identifier: MIT
 * Retention in its parallel form: every pair with its power of gamma, and what is left of the
 * first state. */
#include "linear.h"

static double retention_gamma(const gallery_call *c, int64_t h)
{
    return gallery_at(c, "gamma") ? gallery_at(c, "gamma")[h] : 1 - pow(2, -5 - (double)h);
}

/* out += weight x, x [E] */
static void retention_add(double *out, double weight, const double *x, int64_t E)
{
    for (int64_t e = 0; e < E; e++) out[e] += weight * x[e];
}

static void retention_row(gallery_call *c, int64_t bh, int64_t t)
{
    const int64_t T = gallery_size(c, 'T'), D = gallery_size(c, 'D'), E = gallery_size(c, 'E');
    const double gamma = retention_gamma(c, bh % gallery_size(c, 'H'));
    const double *q = gallery_at(c, "q") + (bh * T + t) * D, scale = linear_scale(c);
    double *out = gallery_at(c, "out") + (bh * T + t) * E;
    for (int64_t s = 0; s <= t; s++) {
        const double *k = gallery_at(c, "k") + (bh * T + s) * D;
        double w = scale * pow(gamma, (double)(t - s)), dot = 0;
        for (int64_t d = 0; d < D; d++) dot += q[d] * k[d];
        retention_add(out, w * dot, gallery_at(c, "v") + (bh * T + s) * E, E);
    }
    for (int64_t d = 0; gallery_at(c, "state") && d < D; d++)
        retention_add(out, scale * pow(gamma, (double)(t + 1)) * q[d],
                      gallery_at(c, "state") + (bh * D + d) * E, E);
}

static void retention_last(gallery_call *c, int64_t bh)
{
    const int64_t T = gallery_size(c, 'T'), D = gallery_size(c, 'D'), E = gallery_size(c, 'E');
    const double gamma = retention_gamma(c, bh % gallery_size(c, 'H'));
    for (int64_t d = 0; d < D; d++) {
        double *last = gallery_at(c, "final_state") + (bh * D + d) * E;
        if (gallery_at(c, "state"))
            retention_add(last, pow(gamma, (double)T),
                          gallery_at(c, "state") + (bh * D + d) * E, E);
        for (int64_t t = 0; t < T; t++)
            retention_add(last,
                          pow(gamma, (double)(T - 1 - t)) *
                              gallery_at(c, "k")[(bh * T + t) * D + d],
                          gallery_at(c, "v") + (bh * T + t) * E, E);
    }
}

static void retention_finish(gallery_call *c, int64_t row)
{
    const int64_t E = gallery_size(c, 'E');
    double *out = gallery_at(c, "out") + row * E, mean = 0, variance = 0;
    const double *gate = gallery_at(c, "gate");
    for (int64_t e = 0; e < E; e++) mean += out[e] / (double)E;
    for (int64_t e = 0; e < E; e++) variance += (out[e] - mean) * (out[e] - mean) / (double)E;
    for (int64_t e = 0; e < E && gallery_i(c, "group_norm"); e++)
        out[e] = (out[e] - mean) / sqrt(variance + gallery_f(c, "norm_eps"));
    for (int64_t e = 0; e < E && gate; e++)
        out[e] *= gate[row * E + e] / (1 + exp(-gate[row * E + e]));
}

static void retention_oracle(gallery_call *c)
{
    const int64_t T = gallery_size(c, 'T'), rows = linear_rows(c, 'T');
    for (int64_t row = 0; row < rows; row++) {
        retention_row(c, row / T, row % T);
        retention_finish(c, row);
    }
    for (int64_t bh = 0; bh < gallery_size(c, 'B') * gallery_size(c, 'H'); bh++)
        retention_last(c, bh);
}

static void retention_prepare(gallery_call *c, test_rng *rng)
{
    double *gamma = gallery_at(c, "gamma");
    (void)rng;
    for (int64_t h = 0; gamma && h < gallery_size(c, 'H'); h++)
        gamma[h] = 1 / (1 + 0.25 * fabs(gamma[h]));
}

static const char *const retention_cases[] = {"B=2,T=7", "T=5;scale=0.5;-gamma,gate,state",
                                              "T=4,E=5;group_norm=true", NULL};

static const double gamma_31[] = {31.0 / 32};
static const double out[] = {1, 0, 0, 1, -1.938477, 0.984375};
static const gallery_gold retention_gold[] = {
    {"B=1,H=1,T=3,D=2,E=2;scale=1", {LINEAR_GOLD, {"gamma", gamma_31}}, {{"out", out}}},
    {"B=1,H=1,T=3,D=2,E=2;scale=1", {LINEAR_GOLD}, {{"out", out}}},
    {0}};

const gallery_oracle gallery_oracle_retention = {.cases = retention_cases,
                                                 .run = retention_oracle,
                                                 .prepare = retention_prepare,
                                                 .gold = retention_gold};
