/* SPDX-License-Identifier: MIT
 * Meta-embeddings one word at a time, the LSTM one step at a time. */
#include "oracle/mech_feature.h"

typedef struct meta_sizes {
    int64_t B, T, N, D, A, M;
} meta_sizes;

static double meta_gate(gallery_call *c, const meta_sizes *z, int64_t k, int64_t r,
                        const double *x, const double *state)
{
    const double *bias = gallery_at(c, "b_lstm");
    const int64_t row = k * 4 * z->M + r;
    return feature_dot(gallery_at(c, "w_lstm_x") + row * z->A, x, z->A) +
           feature_dot(gallery_at(c, "w_lstm_h") + row * z->M, state, z->M) +
           (bias ? bias[row] : 0);
}

static double meta_sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static void meta_step(gallery_call *c, const meta_sizes *z, int64_t k, const double *x,
                      double *state, double *cell)
{
    double *next = gallery_new(c, z->M);
    for (int64_t i = 0; i < z->M; i++) {
        const double in = meta_sigmoid(meta_gate(c, z, k, i, x, state));
        const double keep = meta_sigmoid(meta_gate(c, z, k, z->M + i, x, state));
        const double new = tanh(meta_gate(c, z, k, 2 * z->M + i, x, state));
        const double out = meta_sigmoid(meta_gate(c, z, k, 3 * z->M + i, x, state));
        cell[i] = keep * cell[i] + in * new;
        next[i] = out * tanh(cell[i]);
    }
    for (int64_t i = 0; i < z->M; i++) state[i] = next[i];
}

/* h of representation n of sentence b; e and mask are T by N. */
static void meta_context(gallery_call *c, const meta_sizes *z, const double *e,
                         const double *mask, int64_t n, double *s)
{
    const double *u = gallery_at(c, "u_h");
    for (int64_t k = 0; k < 2; k++) {
        double *state = gallery_new(c, z->M), *cell = gallery_new(c, z->M);
        for (int64_t step = 0; step < z->T; step++) {
            const int64_t t = k ? z->T - 1 - step : step;
            if (mask && mask[t * z->N + n] == 0) continue;
            meta_step(c, z, k, e + (t * z->N + n) * z->A, state, cell);
            s[t * z->N + n] += feature_dot(u + k * z->M, state, z->M);
        }
    }
}

static void meta_weights(gallery_call *c, const meta_sizes *z, double *s, const double *mask)
{
    if (!gallery_i(c, "weigh")) {
        feature_softmax(s, z->N, 1, mask);
        return;
    }
    for (int64_t n = 0; n < z->N; n++) s[n] = mask && mask[n] == 0 ? 0 : meta_sigmoid(s[n]);
}

static void meta_one(gallery_call *c, const meta_sizes *z, int64_t b, const double *x)
{
    const double *mask = feature_mask(c, "mask", b, z->T * z->N), *add = gallery_at(c, "b");
    const double *u = gallery_at(c, "u"), *b_p = gallery_at(c, "b_p");
    double *e = gallery_new(c, z->T * z->N * z->A);
    double *s = gallery_at(c, "weights") + b * z->T * z->N;
    for (int64_t r = 0; r < z->T * z->N; r++) {
        const double *w = gallery_at(c, "w_p") + r % z->N * z->A * z->D;
        const double *row = feature_linear(c, x + r * z->D, w,
                                           b_p ? b_p + r % z->N * z->A : NULL, 1, z->D, z->A);
        for (int64_t i = 0; i < z->A; i++) e[r * z->A + i] = row[i];
        if (!gallery_at(c, "u_h")) s[r] = feature_dot(row, u, z->A);
    }
    for (int64_t n = 0; n < z->N && gallery_at(c, "u_h"); n++)
        meta_context(c, z, e, mask, n, s);
    for (int64_t t = 0; t < z->T; t++) {
        for (int64_t n = 0; n < z->N && add; n++) s[t * z->N + n] += add[0];
        meta_weights(c, z, s + t * z->N, mask ? mask + t * z->N : NULL);
        feature_pool(gallery_at(c, "out") + (b * z->T + t) * z->A, s + t * z->N,
                     e + t * z->N * z->A, z->N, z->A);
    }
}

static void meta_embedding_oracle(gallery_call *c)
{
    const meta_sizes z = {gallery_size(c, 'B'), gallery_size(c, 'T'), gallery_size(c, 'N'),
                          gallery_size(c, 'D'), gallery_size(c, 'A'), gallery_size(c, 'M')};
    const double *x = feature_rows(c, "x", "mask", z.B * z.T * z.N, z.D);
    for (int64_t b = 0; b < z.B; b++) meta_one(c, &z, b, x + b * z.T * z.N * z.D);
}

static const char *const meta_cases[] = {"B=2,T=4,N=3,D=3,A=2;;w_lstm_x,w_lstm_h,b_lstm,u_h",
                                         "T=3,N=2;;b_p,b,mask,w_lstm_x,w_lstm_h,b_lstm,u_h",
                                         "T=3,N=2;weigh=sigmoid;w_lstm_x,w_lstm_h,b_lstm,u_h",
                                         "B=2,T=3,N=2,A=3,M=2",
                                         "T=4,N=2,M=1;weigh=sigmoid;mask,b_lstm",
                                         NULL};

const gallery_oracle gallery_oracle_meta_embedding = {
    .cases = meta_cases, .run = meta_embedding_oracle, .vary = "BTN"};
