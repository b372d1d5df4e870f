/* SPDX-License-Identifier: MIT
 * Crossmodal attention, one direction after the other, head by head. */
#include "oracle/mech_loops.h"

typedef struct crossmodal_side {
    const char *x, *y, *w_q, *w_k, *w_v, *w_o, *x_mask, *mask, *out, *weights;
    char T, S, M, N;
} crossmodal_side;

static double *crossmodal_norm(gallery_call *c, const double *x, const double *mask,
                               int64_t rows, int64_t n)
{
    double *y = gallery_new(c, rows * n);
    for (int64_t r = 0; r < rows; r++) {
        double mean = 0, var = 0;
        if (mask && mask[r] == 0) continue;
        for (int64_t i = 0; i < n; i++) mean += x[r * n + i] / (double)n;
        for (int64_t i = 0; i < n; i++)
            var += (x[r * n + i] - mean) * (x[r * n + i] - mean) / (double)n;
        for (int64_t i = 0; i < n; i++) y[r * n + i] = (x[r * n + i] - mean) / sqrt(var + 1e-5);
    }
    return y;
}

static void crossmodal_entry(gallery_call *c, const crossmodal_side *s, int64_t b)
{
    const int64_t T = gallery_size(c, s->T), S = gallery_size(c, s->S),
                  M = gallery_size(c, s->M), N = gallery_size(c, s->N),
                  A = gallery_size(c, 'A'), P = gallery_size(c, 'P'), H = gallery_i(c, "heads"),
                  a = A / H, p = P / H;
    const double *mask = gallery_at(c, s->mask), *x_mask = gallery_at(c, s->x_mask);
    const double *x = crossmodal_norm(c, gallery_at(c, s->x) + b * T * M,
                                      x_mask ? x_mask + b * T : NULL, T, M);
    const double *y =
        crossmodal_norm(c, gallery_at(c, s->y) + b * S * N, mask ? mask + b * S : NULL, S, N);
    const double *q = loops_linear(c, x, gallery_at(c, s->w_q), NULL, T, M, A);
    const double *k = loops_linear(c, y, gallery_at(c, s->w_k), NULL, S, N, A);
    const double *v = loops_linear(c, y, gallery_at(c, s->w_v), NULL, S, N, P);
    double *o = gallery_new(c, T * P);
    for (int64_t h = 0; h < H; h++)
        for (int64_t i = 0; i < T; i++) {
            double *row = gallery_at(c, s->weights) + ((b * H + h) * T + i) * S;
            for (int64_t j = 0; j < S; j++)
                row[j] = loops_dot(q + i * A + h * a, k + j * A + h * a, a) / sqrt((double)a);
            loops_softmax(row, mask ? mask + b * S : NULL, S);
            for (int64_t j = 0; j < S; j++)
                for (int64_t e = h * p; e < (h + 1) * p; e++)
                    o[i * P + e] += row[j] * v[j * P + e];
        }
    const double *out = loops_linear(c, o, gallery_at(c, s->w_o), NULL, T, P, M);
    for (int64_t i = 0; i < T * M; i++)
        gallery_at(c, s->out)[b * T * M + i] = gallery_at(c, s->x)[b * T * M + i] + out[i];
}

static void crossmodal_oracle(gallery_call *c)
{
    const crossmodal_side there = {"x",    "y",   "w_q",     "w_k", "w_v", "w_o", "x_mask",
                                   "mask", "out", "weights", 'T',   'S',   'M',   'N'};
    const crossmodal_side back = {"y",        "x",    "w_back_q", "w_back_k", "w_back_v",
                                  "w_back_o", "mask", "x_mask",   "back",     "back_weights",
                                  'S',        'T',    'N',        'M'};
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) {
        crossmodal_entry(c, &there, b);
        if (gallery_at(c, "w_back_q")) crossmodal_entry(c, &back, b);
    }
}

static const char *const crossmodal_cases[] = {
    "B=2,T=4,S=6", "H=1,T=3,S=7;heads=1;mask,x_mask",
    "B=2,T=3,S=5,M=5;;w_back_q,w_back_k,w_back_v,w_back_o,x_mask,back,back_weights", NULL};

const gallery_oracle gallery_oracle_crossmodal = {.cases = crossmodal_cases,
                                                  .run = crossmodal_oracle};
