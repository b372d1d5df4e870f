/* SPDX-License-Identifier: MIT
 * Two additive poolings and, between them, a GRU one sentence after the other. */
#include "oracle/mech_feature.h"

static void hierarchical_pool(gallery_call *c, const double *rows, const double *mask,
                              int64_t n, int64_t width, char hidden, const char *level,
                              double *a, double *to)
{
    const int64_t A = gallery_size(c, hidden);
    char w[] = "w_?", bias[] = "b_?", u[] = "u_?";
    w[2] = bias[2] = u[2] = level[0];
    const double *h =
        feature_linear(c, rows, gallery_at(c, w), gallery_at(c, bias), n, width, A);
    for (int64_t i = 0; i < n; i++) {
        a[i] = 0;
        for (int64_t k = 0; k < A; k++) a[i] += gallery_at(c, u)[k] * tanh(h[i * A + k]);
    }
    feature_softmax(a, n, 1, mask);
    feature_pool(to, a, rows, n, width);
}

/* Row r of the products of direction k with one vector. */
static double hierarchical_gate(gallery_call *c, const char *w, const char *bias, int64_t k,
                                int64_t r, const double *x, int64_t width)
{
    const int64_t rows = 3 * gallery_size(c, 'L');
    const double *b = gallery_at(c, bias);
    return feature_dot(gallery_at(c, w) + (k * rows + r) * width, x, width) +
           (b ? b[k * rows + r] : 0);
}

static void hierarchical_step(gallery_call *c, int64_t k, const double *x, double *state)
{
    const int64_t L = gallery_size(c, 'L'), D = gallery_size(c, 'D');
    double *next = gallery_new(c, L);
    for (int64_t i = 0; i < L; i++) {
        double gx[3], gh[3];
        for (int64_t g = 0; g < 3; g++) {
            gx[g] = hierarchical_gate(c, "w_gru_x", "b_gru_x", k, g * L + i, x, D);
            gh[g] = hierarchical_gate(c, "w_gru_h", "b_gru_h", k, g * L + i, state, L);
        }
        const double r = 1 / (1 + exp(-gx[0] - gh[0])), z = 1 / (1 + exp(-gx[1] - gh[1]));
        next[i] = (1 - z) * tanh(gx[2] + r * gh[2]) + z * state[i];
    }
    for (int64_t i = 0; i < L; i++) state[i] = next[i];
}

static double *hierarchical_gru(gallery_call *c, double *s, const double *there)
{
    const int64_t N = gallery_size(c, 'N'), L = gallery_size(c, 'L'), D = gallery_size(c, 'D');
    if (!gallery_at(c, "w_gru_x")) return s;
    double *h = gallery_new(c, N * 2 * L);
    for (int64_t k = 0; k < 2; k++) {
        double *state = gallery_new(c, L);
        for (int64_t step = 0; step < N; step++) {
            const int64_t n = k ? N - 1 - step : step;
            if (there[n] == 0) continue;
            hierarchical_step(c, k, s + n * D, state);
            for (int64_t i = 0; i < L; i++) h[n * 2 * L + k * L + i] = state[i];
        }
    }
    return h;
}

static void hierarchical_oracle(gallery_call *c)
{
    const int64_t B = gallery_size(c, 'B'), N = gallery_size(c, 'N'), T = gallery_size(c, 'T'),
                  D = gallery_size(c, 'D'), E = gallery_size(c, 'E');
    const double *x = feature_rows(c, "x", "mask", B * N * T, D);
    for (int64_t b = 0; b < B; b++) {
        double *s = gallery_new(c, N * D), *there = gallery_new(c, N);
        for (int64_t n = 0; n < N; n++) {
            const double *mask = feature_mask(c, "mask", b * N + n, T);
            for (int64_t t = 0; t < T && mask; t++) there[n] += mask[t];
            if (!mask) there[n] = 1;
            hierarchical_pool(c, x + (b * N + n) * T * D, mask, T, D, 'A', "w",
                              gallery_at(c, "weights") + (b * N + n) * T, s + n * D);
        }
        hierarchical_pool(c, hierarchical_gru(c, s, there), there, N, E, 'P', "s",
                          gallery_at(c, "sentence_weights") + b * N,
                          gallery_at(c, "out") + b * E);
    }
}

static const char *const hierarchical_cases[] = {
    "B=2,N=3,T=4,D=3,A=2,L=2,P=3,E=4",
    "N=2,T=3,D=3,A=4,P=2,E=3;;w_gru_x,w_gru_h,b_gru_x,b_gru_h,mask,b_w,b_s",
    "B=2,N=4,T=2,D=2,L=1,E=2;;b_gru_x,b_gru_h", NULL};

const gallery_oracle gallery_oracle_hierarchical = {
    .cases = hierarchical_cases, .run = hierarchical_oracle, .vary = "BNT"};
