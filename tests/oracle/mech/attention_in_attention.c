/* SPDX-License-Identifier: MIT
 * Attention in attention, one picture after the other. */
#include "gallery_case.h"
#include "oracle/mech_picture.h"

typedef struct a2b_sizes {
    picture p, h; /* of x and of the hidden layer */
    int64_t R, K, L, n;
} a2b_sizes;

static double *a2b_conv(gallery_call *c, const a2b_sizes *z, const double *x, const char *w)
{
    double *y = gallery_new(c, z->h.C * z->n);
    const bool plain = w[2] == 'n';
    picture_conv(z->h, x, gallery_at(c, w), NULL, z->h.C, plain ? gallery_size(c, 'I') : z->K,
                 plain ? gallery_size(c, 'J') : z->L, 1, y);
    return y;
}

static void a2b_choose(gallery_call *c, const a2b_sizes *z, const double *h, double *pi)
{
    double *mean = gallery_new(c, z->h.C), *squeezed = gallery_new(c, z->R);
    for (int64_t f = 0; f < z->h.C; f++) {
        for (int64_t i = 0; i < z->n; i++) mean[f] += h[f * z->n + i];
        mean[f] /= (double)z->n;
    }
    for (int64_t r = 0; r < z->R; r++) {
        squeezed[r] = picture_row(gallery_at(c, "w_a"), NULL, mean, r, z->h.C);
        if (squeezed[r] < 0) squeezed[r] = 0;
    }
    for (int64_t i = 0; i < 2; i++)
        pi[i] = picture_row(gallery_at(c, "w_b"), NULL, squeezed, i, z->R) /
                gallery_f(c, "temperature");
    picture_softmax(pi, 2);
}

static double *a2b_attend(gallery_call *c, const a2b_sizes *z, const double *h)
{
    const int64_t all = z->h.C * z->n;
    double *around = a2b_conv(c, z, h, "w_1"), *gated = a2b_conv(c, z, h, "w_3");
    double *gate = gallery_new(c, all);
    picture_leaky(around, all, gallery_f(c, "slope"));
    picture_1x1(z->h, around, gallery_at(c, "w_2"), gallery_at(c, "b_2"), z->h.C, gate);
    for (int64_t i = 0; i < all; i++) gated[i] *= picture_sigmoid(gate[i]);
    return a2b_conv(c, z, gated, "w_4");
}

static void a2b_one(gallery_call *c, const a2b_sizes *z, int64_t b)
{
    const int64_t all = z->h.C * z->n;
    const double *x = gallery_at(c, "x") + b * z->p.C * z->n;
    double *out = gallery_at(c, "out") + b * z->p.C * z->n, *pi = gallery_at(c, "pi") + 2 * b;
    double *h = gallery_new(c, all);
    picture_1x1(z->p, x, gallery_at(c, "w_in"), NULL, z->h.C, h);
    picture_leaky(h, all, gallery_f(c, "slope"));
    a2b_choose(c, z, h, pi);
    const double *att = a2b_attend(c, z, h);
    double *mixed = a2b_conv(c, z, h, "w_non");
    for (int64_t i = 0; i < all; i++) mixed[i] = pi[0] * att[i] + pi[1] * mixed[i];
    picture_leaky(mixed, all, gallery_f(c, "slope"));
    picture_1x1(z->h, mixed, gallery_at(c, "w_out"), NULL, z->p.C, out);
    for (int64_t i = 0; i < z->p.C * z->n; i++) out[i] += x[i];
}

static void attention_in_attention_oracle(gallery_call *c)
{
    const int64_t Y = gallery_size(c, 'Y'), X = gallery_size(c, 'X');
    const a2b_sizes z = {.p = {gallery_size(c, 'C'), Y, X},
                         .h = {gallery_size(c, 'F'), Y, X},
                         .R = gallery_size(c, 'R'),
                         .K = gallery_size(c, 'K'),
                         .L = gallery_size(c, 'L'),
                         .n = Y * X};
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) a2b_one(c, &z, b);
}

static const char *const attention_in_attention_cases[] = {
    "B=2", "B=1,I=1,J=1;temperature=0.5,slope=0.1;b_2", "B=1,C=2,F=3,Y=1,X=5,K=1,L=3,I=1,J=3",
    NULL};

const gallery_oracle gallery_oracle_attention_in_attention = {
    .cases = attention_in_attention_cases, .run = attention_in_attention_oracle};
