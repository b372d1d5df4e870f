/* SPDX-License-Identifier: MIT
 * Multi-head latent attention in its plain form, keys and values of every head written out;
 * the absorbed form is held to the same numbers. */
#include "../mech_heads.h"

typedef struct mla_sizes {
    int64_t B, T, M, H, N, L, R, E, Q;
} mla_sizes;

/* x / sqrt(mean x^2 + eps) * g */
static void mla_norm(double *x, const double *g, int64_t n, double eps)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * x[i];
    for (int64_t i = 0; i < n; i++) x[i] = x[i] / sqrt(sum / (double)n + eps) * (g ? g[i] : 1);
}

static void mla_turn(const gallery_call *c, double *x, int64_t L, int64_t position)
{
    const int half = gallery_i(c, "layout") == 0;
    for (int64_t t = 0; t < L / 2; t++) {
        const int64_t a = half ? t : 2 * t, b = half ? t + L / 2 : 2 * t + 1;
        const double angle =
            (double)position * pow(gallery_f(c, "rope_base"), -2.0 * (double)t / (double)L);
        const double xa = x[a], xb = x[b];
        x[a] = xa * cos(angle) - xb * sin(angle);
        x[b] = xb * cos(angle) + xa * sin(angle);
    }
}

static void mla_affine(const double *w, const double *x, int64_t rows, int64_t n, double *y)
{
    for (int64_t r = 0; r < rows; r++) y[r] = heads_inner(w + r * n, x, n);
}

/* q, k B H T N+L and v B H T E of token (b, t). */
static void mla_token(gallery_call *c, const mla_sizes *z, int64_t b, int64_t t, double *q,
                      double *k, double *v)
{
    const int64_t D = z->N + z->L, W = z->N + z->E;
    const double *x = gallery_at(c, "x") + (b * z->T + t) * z->M;
    double *narrow = gallery_new(c, z->Q), *wide = gallery_new(c, z->H * D),
           *kv = gallery_new(c, z->R + z->L), *grown = gallery_new(c, z->H * W);
    mla_affine(gallery_at(c, "w_qa"), x, z->Q, z->M, narrow);
    if (gallery_i(c, "q_norm"))
        mla_norm(narrow, gallery_at(c, "g_q"), z->Q, gallery_f(c, "eps"));
    mla_affine(gallery_at(c, "w_qb"), narrow, z->H * D, z->Q, wide);
    mla_affine(gallery_at(c, "w_kva"), x, z->R + z->L, z->M, kv);
    mla_norm(kv, gallery_at(c, "g_kv"), z->R, gallery_f(c, "eps"));
    mla_turn(c, kv + z->R, z->L, t);
    mla_affine(gallery_at(c, "w_kvb"), kv, z->H * W, z->R, grown);
    for (int64_t h = 0; h < z->H; h++) {
        const int64_t row = (b * z->H + h) * z->T + t;
        mla_turn(c, wide + h * D + z->N, z->L, t);
        for (int64_t d = 0; d < D; d++) {
            q[row * D + d] = wide[h * D + d];
            k[row * D + d] = d < z->N ? grown[h * W + d] : kv[z->R + d - z->N];
        }
        for (int64_t e = 0; e < z->E; e++) v[row * z->E + e] = grown[h * W + z->N + e];
    }
}

static void mla_oracle(gallery_call *c)
{
    mla_sizes z = {.B = gallery_size(c, 'B'),
                   .T = gallery_size(c, 'T'),
                   .M = gallery_size(c, 'M'),
                   .H = gallery_i(c, "heads"),
                   .L = gallery_i(c, "rope_dims"),
                   .R = gallery_size(c, 'R'),
                   .Q = gallery_size(c, 'Q')};
    z.N = gallery_size(c, 'A') / z.H - z.L;
    z.E = gallery_size(c, 'K') / z.H - z.N;
    const int64_t rows = z.B * z.H * z.T;
    double *q = gallery_new(c, rows * (z.N + z.L)), *k = gallery_new(c, rows * (z.N + z.L)),
           *v = gallery_new(c, rows * z.E);
    for (int64_t b = 0; b < z.B; b++)
        for (int64_t t = 0; t < z.T; t++) mla_token(c, &z, b, t, q, k, v);
    heads_case a = {z.B, z.H, z.H, z.T, z.T, z.N + z.L, z.E, q, k, v, .c = c};
    a.mask = gallery_at(c, "mask");
    a.scale = 1 / sqrt((double)a.D), a.causal = gallery_i(c, "causal");
    a.out = gallery_new(c, rows * z.E), a.weights = gallery_at(c, "weights");
    heads_run(&a, heads_dot);
    heads_to(a.out, gallery_at(c, "w_o"), z.B, z.H, z.T, z.E, gallery_size(c, 'O'),
             gallery_at(c, "out"));
}

static const char *const mla_cases[] = {
    "B=2,T=5",
    "B=2,T=5;absorbed=true",
    "B=1,T=4,H=3,Q=4,A=18,R=5,C=9,K=9,P=3;heads=3,rope_dims=4,layout=half,rope_base=50,"
    "causal=false,absorbed=true;mask",
    "B=1,T=3,H=1,Q=4,A=6,C=8,K=5,P=3;heads=1,rope_dims=4,q_norm=false,eps=0.01;g_q,g_kv",
    "B=1,T=4,A=6,C=4,K=10,P=4;rope_dims=0",
    NULL};

const gallery_oracle gallery_oracle_mla = {.cases = mla_cases, .run = mla_oracle};
