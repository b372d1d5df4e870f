/* SPDX-License-Identifier: MIT
 * A latent array: the same plain multi-head attention twice. */
#include "oracle/mech_pattern.h"

typedef struct latent_side { /* n rows, W wide */
    const double *x;
    int64_t n, W;
} latent_side;

/* Row x of W numbers through w, one output. */
static double latent_linear(const gallery_call *c, const char *w, const double *x, int64_t W,
                            int64_t out)
{
    return pattern_dot(gallery_at(c, w) + out * W, x, W);
}

/* z[i] = concat over heads of softmax(q_i k^T) v; mask may be NULL. */
static void latent_ask(gallery_call *c, const char *const *w, latent_side from, latent_side to,
                       const double *mask, double *z)
{
    const int64_t heads = gallery_i(c, "heads"), A = gallery_size(c, 'A') / heads;
    const int64_t P = gallery_size(c, 'P'), wide = P / heads;
    double *row = gallery_new(c, to.n);
    for (int64_t x = 0; x < from.n * heads; x++) {
        const int64_t i = x / heads, h = x % heads;
        for (int64_t j = 0; j < to.n; j++) {
            row[j] = 0;
            for (int64_t a = h * A; a < (h + 1) * A; a++)
                row[j] += latent_linear(c, w[0], from.x + i * from.W, from.W, a) *
                          latent_linear(c, w[1], to.x + j * to.W, to.W, a) / sqrt((double)A);
            if (mask && mask[j] == 0) row[j] = -GALLERY_INF;
        }
        pattern_softmax(row, to.n);
        for (int64_t j = 0; j < to.n; j++)
            for (int64_t e = h * wide; e < (h + 1) * wide; e++)
                z[i * P + e] += row[j] * latent_linear(c, w[2], to.x + j * to.W, to.W, e);
    }
}

static void latent_oracle(gallery_call *c)
{
    static const char *const pack[] = {"w_pack_q", "w_pack_k", "w_pack_v"};
    static const char *const unpack[] = {"w_unpack_q", "w_unpack_k", "w_unpack_v"};
    const int64_t S = gallery_size(c, 'S'), M = gallery_size(c, 'M'), T = gallery_size(c, 'T');
    const int64_t U = gallery_size(c, 'U'), L = gallery_size(c, 'L'), P = gallery_size(c, 'P');
    const int64_t O = gallery_size(c, 'O');
    const double *mask = gallery_at(c, "mask");
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) {
        double *z = gallery_at(c, "latents_out") + b * L * P, *o = gallery_new(c, T * P);
        const latent_side latents = {gallery_at(c, "latents"), L, gallery_size(c, 'N')};
        const latent_side x = {gallery_at(c, "x") + b * S * M, S, M};
        const latent_side y = {gallery_at(c, "y") + b * T * U, T, U};
        latent_ask(c, pack, latents, x, mask ? mask + b * S : NULL, z);
        latent_ask(c, unpack, y, (latent_side){z, L, P}, NULL, o);
        for (int64_t i = 0; i < T * O; i++)
            gallery_at(c, "out")[b * T * O + i] =
                latent_linear(c, "w_o", o + i / O * P, P, i % O);
    }
}

static const char *const latent_cases[] = {"B=2,T=3,S=5", "B=1,T=4,S=2,L=2;heads=1;mask",
                                           "B=2,T=1,S=7,L=1,A=3,P=6;heads=3", NULL};

/* Asking one latent gives its value whoever asks: dp = delta, and the gradients of y and of the
 * weights in front of the scores are sums of nothing but roundings. With all inputs normal, M = 4,
 * O = 3, and A = 3, P = 6 in 3 heads, the terms of y are sqrt(O) for what comes in, sqrt(P M) for
 * a value and again for a key, sqrt(P / heads) of them in a product, sqrt(A) in the sum: 102. */
const gallery_oracle gallery_oracle_latent = {
    .cases = latent_cases, .run = latent_oracle, .terms = 102};
