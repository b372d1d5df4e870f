/* SPDX-License-Identifier: MIT
 * Coattention with the whole matrix of scores, sentinels as one more row of each sequence.
 * Gold: no sentinel, no projection. */
#include "oracle/mech_feature.h"

typedef struct dcn_sizes {
    int64_t T, S, D, n, m; /* n, m: with the sentinels */
} dcn_sizes;

/* Rows of one sequence, its sentinel behind them; *mask follows. */
static double *dcn_rows(gallery_call *c, const double *rows, const char *sentinel, int64_t n,
                        int64_t D, const double **mask)
{
    const double *last = gallery_at(c, sentinel);
    double *x = gallery_new(c, (n + 1) * D), *allowed = gallery_new(c, n + 1);
    for (int64_t i = 0; i < n * D; i++) x[i] = rows[i];
    for (int64_t d = 0; last && d < D; d++) x[n * D + d] = last[d];
    for (int64_t i = 0; i <= n; i++) allowed[i] = i == n || !*mask || (*mask)[i] != 0;
    *mask = allowed;
    return x;
}

static double *dcn_question(gallery_call *c, double *y, const dcn_sizes *z)
{
    const double *w = gallery_at(c, "w_q");
    if (!w) return y;
    double *q = feature_linear(c, y, w, gallery_at(c, "b_q"), z->m, z->D, z->D);
    for (int64_t i = 0; i < z->m * z->D; i++) q[i] = tanh(q[i]);
    return q;
}

static void dcn_out(gallery_call *c, const dcn_sizes *z, int64_t b, const double *q,
                    const double *summary, const double *row)
{
    for (int64_t i = 0; i < z->T; i++) {
        double *out = gallery_at(c, "out") + (b * z->T + i) * 2 * z->D;
        feature_pool(out, row + i * z->m, q, z->m, z->D);
        feature_pool(out + z->D, row + i * z->m, summary, z->m, z->D);
        for (int64_t j = 0; j < z->S; j++)
            gallery_at(c, "weights")[(b * z->T + i) * z->S + j] = row[i * z->m + j];
    }
    for (int64_t j = 0; j < z->S * z->D; j++)
        gallery_at(c, "summary")[b * z->S * z->D + j] = summary[j];
}

static void dcn_one(gallery_call *c, const dcn_sizes *z, int64_t b, const double *x,
                    const double *x_mask, const double *q, const double *mask)
{
    double *row = gallery_new(c, z->n * z->m), *column = gallery_new(c, z->n * z->m);
    double *summary = gallery_new(c, z->m * z->D);
    for (int64_t i = 0; i < z->n; i++)
        for (int64_t j = 0; j < z->m; j++)
            row[i * z->m + j] = column[i * z->m + j] =
                feature_dot(x + i * z->D, q + j * z->D, z->D);
    for (int64_t i = 0; i < z->n; i++) feature_softmax(row + i * z->m, z->m, 1, mask);
    for (int64_t j = 0; j < z->m; j++) {
        feature_softmax(column + j, z->n, z->m, x_mask);
        for (int64_t i = 0; i < z->n; i++)
            for (int64_t d = 0; d < z->D; d++)
                summary[j * z->D + d] += column[i * z->m + j] * x[i * z->D + d];
    }
    dcn_out(c, z, b, q, summary, row);
}

static void dcn_oracle(gallery_call *c)
{
    dcn_sizes z = {
        .T = gallery_size(c, 'T'), .S = gallery_size(c, 'S'), .D = gallery_size(c, 'D')};
    const int64_t B = gallery_size(c, 'B');
    const double *x = feature_rows(c, "x", "x_mask", B * z.T, z.D);
    const double *y = feature_rows(c, "y", "mask", B * z.S, z.D);
    z.n = z.T + (gallery_at(c, "sentinel_x") != NULL);
    z.m = z.S + (gallery_at(c, "sentinel_y") != NULL);
    for (int64_t b = 0; b < B; b++) {
        const double *mask = feature_mask(c, "mask", b, z.S),
                     *x_mask = feature_mask(c, "x_mask", b, z.T);
        const double *rows = dcn_rows(c, x + b * z.T * z.D, "sentinel_x", z.T, z.D, &x_mask);
        double *q = dcn_rows(c, y + b * z.S * z.D, "sentinel_y", z.S, z.D, &mask);
        dcn_one(c, &z, b, rows, x_mask, dcn_question(c, q, &z), mask);
    }
}

static const char *const dcn_cases[] = {"B=2,T=5,S=4,D=3",
                                        "T=4,S=3;;mask,x_mask,sentinel_y,b_q",
                                        "B=2,T=3,S=4;;w_q,b_q,sentinel_x,sentinel_y", NULL};

/* clang-format off */
static const gallery_gold dcn_gold[] = {
    {"B=1,T=3,S=2,D=2",
     {{"x", (const double[]){1, 0, 0, 1, 1, 1}},
      {"y", (const double[]){1, .5, -1, 1}}},
     {{"out", (const double[]){.761594, .559601, .756588, .718691,
                               -.244919, .811230, .515570, .827981,
                               .635149, .591213, .726310, .732421}}}},
    {0}};
/* clang-format on */

const gallery_oracle gallery_oracle_dcn = {
    .cases = dcn_cases, .run = dcn_oracle, .gold = dcn_gold};
