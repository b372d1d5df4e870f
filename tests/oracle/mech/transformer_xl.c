/* SPDX-License-Identifier: MIT
 * Transformer-XL with its four terms written out over memory and segment. */
#include "../mech_heads.h"

typedef struct xl_case {
    const double *r, *u, *v; /* projected waves, row d + far for distance d; A */
    int64_t far, n_memory;
} xl_case;

static double xl_score(const heads_case *a, int64_t b, int64_t h, int64_t i, int64_t j)
{
    const xl_case *x = a->user;
    const double *q = heads_q(a, b, h, i), *k = heads_k(a, b, h, j);
    const double *r = x->r + ((x->n_memory + i - j + x->far) * a->H + h) * a->D;
    double sum = 0;
    for (int64_t d = 0; d < a->D; d++)
        sum += (q[d] + x->u[h * a->D + d]) * k[d] + (q[d] + x->v[h * a->D + d]) * r[d];
    return sum * a->scale;
}

/* Rows w_r PE(d) for d = -far .. far. */
static double *xl_waves(const gallery_call *c, int64_t far, int64_t M, int64_t A)
{
    double *r = gallery_new(c, (2 * far + 1) * A), *pe = gallery_new(c, M);
    for (int64_t row = 0; row < 2 * far + 1; row++) {
        for (int64_t m = 0; m < M; m++) {
            const double angle =
                (double)(row - far) *
                pow(gallery_f(c, "base"), -2.0 * (double)(m / 2) / (double)(M + M % 2));
            pe[m] = m % 2 ? cos(angle) : sin(angle);
        }
        for (int64_t x = 0; x < A; x++)
            r[row * A + x] = heads_inner(gallery_at(c, "w_r") + x * M, pe, M);
    }
    return r;
}

/* [memory; x] and [memory_mask; mask]. */
static double *xl_joined(const gallery_call *c, const char *first, const char *second,
                         int64_t width, double fallback)
{
    const int64_t B = gallery_size(c, 'B'), T = gallery_size(c, 'T');
    const int64_t N = gallery_size(c, 'N');
    const double *x = gallery_at(c, first), *y = gallery_at(c, second);
    double *all = gallery_new(c, B * (N + T) * width), *to = all;
    for (int64_t b = 0; b < B; b++) {
        for (int64_t i = 0; i < N * width; i++) *to++ = x ? x[b * N * width + i] : fallback;
        for (int64_t i = 0; i < T * width; i++) *to++ = y ? y[b * T * width + i] : fallback;
    }
    return all;
}

static void xl_give_weights(gallery_call *c, const heads_case *a, int64_t N)
{
    double *recall = gallery_at(c, "memory_weights"), *own = gallery_at(c, "weights");
    for (int64_t row = 0; row < a->B * a->H * a->T; row++)
        for (int64_t j = 0; j < a->S; j++)
            *(j < N ? recall++ : own++) = a->weights[row * a->S + j];
}

static void transformer_xl_oracle(gallery_call *c)
{
    const int64_t H = gallery_i(c, "heads"), M = gallery_size(c, 'M'), A = gallery_size(c, 'A');
    const int64_t N = gallery_size(c, 'N');
    heads_case a = {
        .B = gallery_size(c, 'B'), .H = H, .G = H, .T = gallery_size(c, 'T'), .c = c};
    a.S = N + a.T, a.D = A / H, a.E = gallery_size(c, 'P') / H;
    const double *all = xl_joined(c, "memory", "x", M, 0);
    const xl_case x = {xl_waves(c, a.S, M, A), gallery_at(c, "u"), gallery_at(c, "v_bias"), a.S,
                       N};
    a.user = &x;
    a.q = heads_from(c, gallery_at(c, "x"), gallery_at(c, "w_q"), a.B, a.T, M, H, a.D);
    a.k = heads_from(c, all, gallery_at(c, "w_k"), a.B, a.S, M, H, a.D);
    a.v = heads_from(c, all, gallery_at(c, "w_v"), a.B, a.S, M, H, a.E);
    a.mask = xl_joined(c, "memory_mask", "mask", 1, 1);
    a.scale = 1 / sqrt((double)a.D), a.causal = gallery_i(c, "causal"), a.offset = N;
    a.out = gallery_new(c, a.B * H * a.T * a.E);
    a.weights = gallery_new(c, a.B * H * a.T * a.S);
    heads_run(&a, xl_score);
    xl_give_weights(c, &a, N);
    heads_to(a.out, gallery_at(c, "w_o"), a.B, H, a.T, a.E, gallery_size(c, 'O'),
             gallery_at(c, "out"));
}

static const char *const transformer_xl_cases[] = {
    "B=2,T=5", "B=1,T=4,N=7,M=5;causal=false;mask", "B=2,H=1,T=6,N=0;heads=1;memory_mask,mask",
    "B=1,T=3,N=2;base=50;memory_mask", NULL};

const gallery_oracle gallery_oracle_transformer_xl = {
    .cases = transformer_xl_cases, .vary = "BTN", .run = transformer_xl_oracle};
