/* SPDX-License-Identifier: MIT
 * Both directions, their gates and the pooled sentence, feature by feature. */
#include "score_rows.h"

typedef struct disan_sizes {
    int64_t T, D;
} disan_sizes;

static double disan_elu(double x)
{
    return x > 0 ? x : expm1(x);
}

/* Row r of the matrix of a direction in slot. */
static const double *disan_matrix(const gallery_call *c, const char *slot, int64_t D, int back,
                                  int64_t r)
{
    return gallery_at(c, slot) + (back * D + r) * D;
}

/* s_i[f] of a direction. */
static double disan_look(const gallery_call *c, const disan_sizes *z, const double *h,
                         int64_t b, int64_t i, int64_t f, int back)
{
    const double bound = gallery_f(c, "softcap");
    double *w = gallery_new(c, z->T), s = 0;
    for (int64_t j = 0; j < z->T; j++) {
        const double x = score_dot(disan_matrix(c, "w_1", z->D, back, f), h + j * z->D, z->D) +
                         score_dot(disan_matrix(c, "w_2", z->D, back, f), h + i * z->D, z->D) +
                         gallery_at(c, "b")[back * z->D + f];
        const bool seen = back ? j > i : j < i;
        w[j] = seen && !score_hidden(c, b, j, z->T) ? bound * tanh(x / bound) : -GALLERY_INF;
    }
    score_softmax(w, z->T);
    for (int64_t j = 0; j < z->T; j++) s += w[j] * h[j * z->D + f];
    return s;
}

static void disan_token(const gallery_call *c, const disan_sizes *z, const double *h, int64_t b,
                        int64_t i, int back)
{
    double *s = gallery_new(c, z->D);
    for (int64_t f = 0; f < z->D; f++) s[f] = disan_look(c, z, h, b, i, f, back);
    for (int64_t f = 0; f < z->D; f++) {
        const double x = score_dot(disan_matrix(c, "w_s", z->D, back, f), s, z->D) +
                         score_dot(disan_matrix(c, "w_f", z->D, back, f), h + i * z->D, z->D) +
                         gallery_at(c, "b_f")[back * z->D + f];
        const double g = 1 / (1 + exp(-x));
        gallery_at(c, "out")[((b * z->T + i) * 2 + back) * z->D + f] =
            g * h[i * z->D + f] + (1 - g) * s[f];
    }
}

static void disan_sentence(const gallery_call *c, const disan_sizes *z, int64_t b)
{
    const int64_t N = 2 * z->D;
    double *w = gallery_new(c, N * z->T), *hidden = gallery_new(c, N);
    for (int64_t i = 0; i < z->T; i++) {
        const double *u = gallery_at(c, "out") + (b * z->T + i) * N;
        for (int64_t f = 0; f < N; f++)
            hidden[f] = disan_elu(score_dot(gallery_at(c, "w_t") + f * N, u, N) +
                                  gallery_at(c, "b_t")[f]);
        for (int64_t f = 0; f < N; f++)
            w[f * z->T + i] = score_hidden(c, b, i, z->T)
                                  ? -GALLERY_INF
                                  : score_dot(gallery_at(c, "w_u") + f * N, hidden, N) +
                                        gallery_at(c, "b_u")[f];
    }
    for (int64_t f = 0; f < N; f++) {
        score_softmax(w + f * z->T, z->T);
        for (int64_t i = 0; i < z->T; i++)
            gallery_at(c, "sentence")[b * N + f] +=
                w[f * z->T + i] * gallery_at(c, "out")[(b * z->T + i) * N + f];
    }
}

static void disan_oracle(gallery_call *c)
{
    const disan_sizes z = {gallery_size(c, 'T'), gallery_size(c, 'D')};
    const int64_t M = gallery_size(c, 'M');
    double *h = gallery_new(c, z.T * z.D);
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) {
        for (int64_t i = 0; i < z.T; i++)
            for (int64_t f = 0; f < z.D; f++)
                h[i * z.D + f] = disan_elu(
                    score_dot(gallery_at(c, "w_h") + f * M, score_row(c, "x", b, i), M) +
                    gallery_at(c, "b_h")[f]);
        for (int64_t i = 0; i < z.T; i++)
            for (int back = 0; back < 2; back++) disan_token(c, &z, h, b, i, back);
        disan_sentence(c, &z, b);
    }
}

static const char *const disan_cases[] = {"B=2,T=4,M=3,D=2", "T=3,M=2,D=2;softcap=2;mask",
                                          NULL};

const gallery_oracle gallery_oracle_disan = {.cases = disan_cases, .run = disan_oracle};
