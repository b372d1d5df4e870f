/* SPDX-License-Identifier: MIT
 * Cross attention by its definition: projections, then every head, query and key by hand. */
#include "gallery_case.h"

typedef struct cross_sizes {
    int64_t B, T, S, heads, a, p; /* features of one head */
} cross_sizes;

/* y[n][o] = sum_i x[n][i] w[o][i] */
static double *cross_project(gallery_call *c, const double *x, const double *w, int64_t n,
                             int64_t from, int64_t to)
{
    double *y = gallery_new(c, n * to);
    for (int64_t r = 0; r < n; r++)
        for (int64_t o = 0; o < to; o++)
            for (int64_t i = 0; i < from; i++)
                y[r * to + o] += x[r * from + i] * w[o * from + i];
    return y;
}

static void cross_weights(const cross_sizes *z, const double *q, const double *k,
                          const double *mask, double *weights)
{
    double top = -GALLERY_INF, sum = 0;
    for (int64_t j = 0; j < z->S; j++) {
        double s = 0;
        for (int64_t d = 0; d < z->a; d++) s += q[d] * k[j * z->heads * z->a + d];
        weights[j] = !mask || mask[j] != 0 ? s / sqrt((double)z->a) : -GALLERY_INF;
        top = fmax(top, weights[j]);
    }
    for (int64_t j = 0; j < z->S; j++)
        sum += weights[j] = weights[j] == -GALLERY_INF ? 0 : exp(weights[j] - top);
    for (int64_t j = 0; j < z->S && sum > 0; j++) weights[j] /= sum;
}

static void cross_oracle(gallery_call *c)
{
    const int64_t A = gallery_size(c, 'A'), P = gallery_size(c, 'P'),
                  heads = gallery_i(c, "heads");
    const cross_sizes z = {gallery_size(c, 'B'),
                           gallery_size(c, 'T'),
                           gallery_size(c, 'S'),
                           heads,
                           A / heads,
                           P / heads};
    const int64_t M = gallery_size(c, 'M'), N = gallery_size(c, 'N');
    double *q = cross_project(c, gallery_at(c, "x"), gallery_at(c, "w_q"), z.B * z.T, M, A);
    double *k = cross_project(c, gallery_at(c, "y"), gallery_at(c, "w_k"), z.B * z.S, N, A);
    double *v = cross_project(c, gallery_at(c, "y"), gallery_at(c, "w_v"), z.B * z.S, N, P);
    double *o = gallery_new(c, z.B * z.T * P), *weights = gallery_at(c, "weights");
    const double *mask = gallery_at(c, "mask");
    for (int64_t b = 0; b < z.B; b++)
        for (int64_t h = 0; h < heads; h++)
            for (int64_t i = 0; i < z.T; i++) {
                double *row = weights + ((b * heads + h) * z.T + i) * z.S;
                cross_weights(&z, q + (b * z.T + i) * A + h * z.a, k + b * z.S * A + h * z.a,
                              mask ? mask + b * z.S : NULL, row);
                for (int64_t j = 0; j < z.S; j++)
                    for (int64_t e = 0; e < z.p; e++)
                        o[(b * z.T + i) * P + h * z.p + e] +=
                            row[j] * v[(b * z.S + j) * P + h * z.p + e];
            }
    double *out = cross_project(c, o, gallery_at(c, "w_o"), z.B * z.T, P, gallery_size(c, 'O'));
    for (int64_t i = 0; i < z.B * z.T * gallery_size(c, 'O'); i++)
        gallery_at(c, "out")[i] = out[i];
}

static const char *const cross_cases[] = {"B=2,T=5,S=7", "B=1,H=1,T=3,S=2,O=3;heads=1;mask",
                                          "B=2,H=4,T=2,S=9;heads=4", NULL};

const gallery_oracle gallery_oracle_cross = {.cases = cross_cases, .run = cross_oracle};
