/* SPDX-License-Identifier: MIT
 * Distances within each head; values through w and back, or free. */
#include "score_rows.h"

typedef struct lipschitz_sizes {
    int64_t T, M, heads, d, e;
} lipschitz_sizes;

/* Element a of head h of x_t w^T. */
static double lipschitz_p(const gallery_call *c, const lipschitz_sizes *z, int64_t b, int64_t t,
                          int64_t h, int64_t a)
{
    return score_dot(gallery_at(c, "w") + (h * z->d + a) * z->M, score_row(c, "x", b, t), z->M);
}

static double lipschitz_score(const gallery_call *c, const lipschitz_sizes *z, int64_t b,
                              int64_t h, int64_t i, int64_t j)
{
    double s = 0;
    for (int64_t a = 0; a < z->d; a++) {
        const double x = lipschitz_p(c, z, b, i, h, a) - lipschitz_p(c, z, b, j, h, a);
        s -= x * x;
    }
    return s / sqrt((double)z->d);
}

static double lipschitz_value(const gallery_call *c, const lipschitz_sizes *z, int64_t b,
                              int64_t h, int64_t t, int64_t e)
{
    const double *w_v = gallery_at(c, "w_v") + (h * z->e + e) * z->M;
    double v = 0;
    if (!gallery_i(c, "tied")) return score_dot(w_v, score_row(c, "x", b, t), z->M);
    for (int64_t m = 0; m < z->M; m++)
        for (int64_t a = 0; a < z->d; a++)
            v += lipschitz_p(c, z, b, t, h, a) * gallery_at(c, "w")[(h * z->d + a) * z->M + m] *
                 w_v[m];
    return v / sqrt((double)z->d);
}

static void lipschitz_row(const gallery_call *c, const lipschitz_sizes *z, int64_t b, int64_t i)
{
    const int64_t O = gallery_size(c, 'O'), P = gallery_size(c, 'P');
    double *out = gallery_at(c, "out") + (b * z->T + i) * O;
    for (int64_t h = 0; h < z->heads; h++) {
        double *w = gallery_at(c, "weights") + ((b * z->heads + h) * z->T + i) * z->T;
        for (int64_t j = 0; j < z->T; j++)
            w[j] =
                score_hidden(c, b, j, z->T) ? -GALLERY_INF : lipschitz_score(c, z, b, h, i, j);
        score_softmax(w, z->T);
        for (int64_t j = 0; j < z->T; j++)
            for (int64_t e = 0; e < z->e; e++) {
                const double y = w[j] * lipschitz_value(c, z, b, h, j, e);
                for (int64_t o = 0; o < O; o++)
                    out[o] += gallery_at(c, "w_o")[o * P + h * z->e + e] * y;
            }
    }
}

static void lipschitz_l2_oracle(gallery_call *c)
{
    const int64_t heads = gallery_i(c, "heads");
    const lipschitz_sizes z = {gallery_size(c, 'T'), gallery_size(c, 'M'), heads,
                               gallery_size(c, 'A') / heads, gallery_size(c, 'P') / heads};
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++)
        for (int64_t i = 0; i < z.T; i++) lipschitz_row(c, &z, b, i);
}

static const char *const lipschitz_l2_cases[] = {
    "B=2,T=4,M=3,A=4,P=2,O=3", "T=3;tied=false;mask", "T=5,M=2,A=3,P=3,O=2;heads=1", NULL};

const gallery_oracle gallery_oracle_lipschitz_l2 = {.cases = lipschitz_l2_cases,
                                                    .run = lipschitz_l2_oracle};
