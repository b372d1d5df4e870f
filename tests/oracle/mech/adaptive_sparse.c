/* SPDX-License-Identifier: MIT
 * Self-attention by alpha-entmax, its threshold found by halving an interval. */
#include "oracle/mech_loops.h"

static double adaptive_weight(double z, double tau, double alpha)
{
    return z > tau ? pow(z - tau, 1 / (alpha - 1)) : 0;
}

/* row becomes weights of those that mask (or NULL) allows. */
static void adaptive_entmax(double *row, const double *mask, int64_t n, double alpha)
{
    double top = -GALLERY_INF;
    for (int64_t j = 0; j < n; j++) {
        row[j] = !mask || mask[j] != 0 ? (alpha - 1) * row[j] : -GALLERY_INF;
        top = fmax(top, row[j]);
    }
    double low = top - 1, high = top, sum = 0;
    for (int halvings = 0; halvings < 200; halvings++) {
        const double tau = (low + high) / 2;
        sum = 0;
        for (int64_t j = 0; j < n; j++) sum += adaptive_weight(row[j], tau, alpha);
        *(sum >= 1 ? &low : &high) = tau;
    }
    for (int64_t j = 0; j < n; j++)
        row[j] = top == -GALLERY_INF ? 0 : adaptive_weight(row[j], low, alpha);
}

static void adaptive_entry(gallery_call *c, int64_t b)
{
    const int64_t T = gallery_size(c, 'T'), M = gallery_size(c, 'M'), A = gallery_size(c, 'A'),
                  P = gallery_size(c, 'P'), H = gallery_size(c, 'H'), O = gallery_size(c, 'O');
    const int64_t a = A / H, p = P / H;
    const double *mask = gallery_at(c, "mask"), *whole = gallery_at(c, "x") + b * T * M;
    double *x = gallery_new(c, T * M), *o = gallery_new(c, T * P);
    for (int64_t i = 0; i < T * M; i++) x[i] = !mask || mask[b * T + i / M] != 0 ? whole[i] : 0;
    const double *q = loops_linear(c, x, gallery_at(c, "w_q"), NULL, T, M, A);
    const double *k = loops_linear(c, x, gallery_at(c, "w_k"), NULL, T, M, A);
    const double *v = loops_linear(c, x, gallery_at(c, "w_v"), NULL, T, M, P);
    for (int64_t h = 0; h < H; h++)
        for (int64_t i = 0; i < T; i++) {
            double *row = gallery_at(c, "weights") + ((b * H + h) * T + i) * T;
            for (int64_t j = 0; j < T; j++)
                row[j] = loops_dot(q + i * A + h * a, k + j * A + h * a, a) / sqrt((double)a);
            adaptive_entmax(row, mask ? mask + b * T : NULL, T,
                            1 + loops_sigmoid(gallery_at(c, "a")[h]));
            for (int64_t j = 0; j < T; j++)
                for (int64_t e = h * p; e < (h + 1) * p; e++)
                    o[i * P + e] += row[j] * v[j * P + e];
        }
    const double *out = loops_linear(c, o, gallery_at(c, "w_o"), NULL, T, P, O);
    for (int64_t i = 0; i < T * O; i++) gallery_at(c, "out")[b * T * O + i] = out[i];
}

static void adaptive_sparse_oracle(gallery_call *c)
{
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) adaptive_entry(c, b);
}

/* Thresholds have a corner that a difference quotient must not straddle: alpha is 1.1 to 1.5,
 * where it is smooth enough. */
static void adaptive_sparse_prepare(gallery_call *c, test_rng *rng)
{
    (void)rng;
    for (int64_t h = 0; h < gallery_size(c, 'H'); h++)
        gallery_at(c, "a")[h] = -2 * loops_sigmoid(gallery_at(c, "a")[h]);
}

static const char *const adaptive_sparse_cases[] = {"B=2,T=5", "T=4,H=1,M=3;;mask",
                                                    "B=2,T=3,H=2,O=5", NULL};

const gallery_oracle gallery_oracle_adaptive_sparse = {.cases = adaptive_sparse_cases,
                                                       .run = adaptive_sparse_oracle,
                                                       .prepare = adaptive_sparse_prepare};
