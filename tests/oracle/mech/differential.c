/* SPDX-License-Identifier: MIT
 * Differential attention: two ordinary attentions per head, then their difference. */
#include "../mech_heads.h"

static double differential_lambda(gallery_call *c)
{
    const int64_t L = gallery_size(c, 'L');
    return exp(heads_inner(gallery_at(c, "lambda_q1"), gallery_at(c, "lambda_k1"), L)) -
           exp(heads_inner(gallery_at(c, "lambda_q2"), gallery_at(c, "lambda_k2"), L)) +
           gallery_f(c, "lambda_init");
}

/* Heads half, half + 2, half + 4 ... of 2 H. */
static double *differential_every(const gallery_call *c, const double *x, const heads_case *a,
                                  int64_t half)
{
    double *y = gallery_new(c, a->B * a->H * a->T * a->D);
    const int64_t n = a->T * a->D;
    for (int64_t head = 0; head < a->B * a->H; head++)
        for (int64_t i = 0; i < n; i++) y[head * n + i] = x[(2 * head + half) * n + i];
    return y;
}

static void differential_norm(gallery_call *c, double *x, int64_t E)
{
    const double *g = gallery_at(c, "g");
    double sum = 0;
    for (int64_t e = 0; e < E; e++) sum += x[e] * x[e];
    const double root = sqrt(sum / (double)E + gallery_f(c, "eps"));
    for (int64_t e = 0; e < E; e++)
        x[e] *= (1 - gallery_f(c, "lambda_init")) / root * (g ? g[e] : 1);
}

static void differential_oracle(gallery_call *c)
{
    const int64_t B = gallery_size(c, 'B'), T = gallery_size(c, 'T'), M = gallery_size(c, 'M'),
                  H = gallery_i(c, "heads"), L = gallery_size(c, 'L');
    const int64_t E = gallery_size(c, 'P') / H;
    const double *x = gallery_at(c, "x"), lambda = differential_lambda(c);
    const double *q = heads_from(c, x, gallery_at(c, "w_q"), B, T, M, 2 * H, L),
                 *k = heads_from(c, x, gallery_at(c, "w_k"), B, T, M, 2 * H, L);
    double *o = gallery_new(c, B * H * T * E);
    for (int half = 0; half < 2; half++) {
        heads_case a = {.B = B, .H = H, .G = H, .T = T, .S = T, .D = L, .E = E, .c = c};
        a.q = differential_every(c, q, &a, half), a.k = differential_every(c, k, &a, half);
        a.v = heads_from(c, x, gallery_at(c, "w_v"), B, T, M, H, E);
        a.mask = gallery_at(c, "mask");
        a.scale = 1 / sqrt((double)L), a.causal = gallery_i(c, "causal");
        a.out = gallery_new(c, B * H * T * E);
        a.weights = gallery_at(c, half ? "weights_2" : "weights_1");
        heads_run(&a, heads_dot);
        for (int64_t i = 0; i < B * H * T * E; i++)
            o[i] += half ? -lambda * a.out[i] : a.out[i];
    }
    for (int64_t row = 0; gallery_i(c, "norm") && row < B * H * T; row++)
        differential_norm(c, o + row * E, E);
    heads_to(o, gallery_at(c, "w_o"), B, H, T, E, gallery_size(c, 'O'), gallery_at(c, "out"));
}

static const char *const differential_cases[] = {
    "B=2,T=5", "B=1,H=1,T=4,A=6,P=4;heads=1,causal=false,norm=false",
    "B=1,H=3,T=3,A=12,L=2,P=6,E=2;heads=3,lambda_init=0.2,eps=0.1;mask,g", NULL};

const gallery_oracle gallery_oracle_differential = {.cases = differential_cases,
                                                    .run = differential_oracle};
