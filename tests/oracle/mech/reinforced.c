/* SPDX-License-Identifier: MIT
 * Tokens drawn as heads and dependents, attention from each drawn head to the other drawn
 * dependents, and a gate between a token and what it attended to. Draws by the words that
 * categorical documents: class 1 of (0, logit) by place (b, i, side). */
#include "gallery_case.h"

typedef struct reinforced_sizes {
    int64_t B, T, M, R, A;
} reinforced_sizes;

static double *reinforced_linear(gallery_call *c, const double *x, const char *w, const char *b,
                                 int64_t n, int64_t from, int64_t to)
{
    double *y = gallery_new(c, n * to);
    for (int64_t r = 0; r < n; r++)
        for (int64_t o = 0; o < to; o++) {
            double *at = &y[r * to + o];
            if (b) *at = gallery_at(c, b)[o];
            for (int64_t i = 0; i < from; i++)
                *at += x[r * from + i] * gallery_at(c, w)[o * from + i];
        }
    return y;
}

static double reinforced_uniform(gallery_call *c, int64_t place)
{
    const uint64_t seed = (uint64_t)gallery_i(c, "seed");
    const uint32_t key[2] = {(uint32_t)(seed & 0xFFFFFFFF), (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {(uint32_t)place, 0, 0, 3};
    uint32_t words[4];
    oracle_philox(counter, key, words);
    return ((double)words[0] * 1048576.0 + (double)(words[1] >> 12) + 0.5) / 4503599627370496.0;
}

/* z, B T 2; log_prob and share of every sequence. */
static double *reinforced_draw(gallery_call *c, const reinforced_sizes *n)
{
    const double *mask = gallery_at(c, "mask");
    double *f = reinforced_linear(c, gallery_at(c, "x"), "w_f", "b_f", n->B * n->T, n->M, n->R);
    for (int64_t i = 0; i < n->B * n->T * n->R; i++) f[i] = f[i] > 0 ? f[i] : exp(f[i]) - 1;
    const double *logit = reinforced_linear(c, f, "w_z", "b_z", n->B * n->T, n->R, 2);
    double *z = gallery_new(c, n->B * n->T * 2);
    for (int64_t i = 0; i < n->B * n->T * 2; i++) {
        const double yes = 1 / (1 + exp(-logit[i]));
        const bool all = gallery_i(c, "all");
        if (mask && mask[i / 2] == 0) continue;
        z[i] = all || reinforced_uniform(c, i) >= 1 - yes;
        if (!all) gallery_at(c, "log_prob")[i / 2 / n->T] += log(z[i] != 0 ? yes : 1 - yes);
        gallery_at(c, "share")[i / 2 / n->T] += z[i] / (2 * (double)n->T);
    }
    return z;
}

/* p_i over the drawn dependents other than i; false: there are none. */
static bool reinforced_weights(const reinforced_sizes *n, const double *q, const double *k,
                               const double *z, int64_t i, double *w)
{
    double top = -GALLERY_INF, sum = 0;
    for (int64_t j = 0; j < n->T; j++) {
        double s = 0;
        for (int64_t a = 0; a < n->A; a++) s += q[a] * k[j * n->A + a];
        w[j] = z[2 * j + 1] != 0 && j != i ? s / sqrt((double)n->A) : -GALLERY_INF;
        top = fmax(top, w[j]);
    }
    for (int64_t j = 0; j < n->T; j++) sum += w[j] = w[j] == -GALLERY_INF ? 0 : exp(w[j] - top);
    for (int64_t j = 0; j < n->T && sum > 0; j++) w[j] /= sum;
    return sum > 0;
}

static void reinforced_oracle(gallery_call *c)
{
    const reinforced_sizes n = {gallery_size(c, 'B'), gallery_size(c, 'T'),
                                gallery_size(c, 'M'), gallery_size(c, 'R'),
                                gallery_size(c, 'A')};
    const int64_t rows = n.B * n.T, M = n.M;
    const double *x = gallery_at(c, "x"), *z = reinforced_draw(c, &n);
    const double *q = reinforced_linear(c, x, "w_q", NULL, rows, M, n.A);
    const double *k = reinforced_linear(c, x, "w_k", NULL, rows, M, n.A);
    const double *v = reinforced_linear(c, x, "w_v", NULL, rows, M, M);
    double *s = gallery_new(c, rows * M), *w = gallery_new(c, n.T);
    for (int64_t r = 0; r < rows; r++) {
        const int64_t b = r / n.T * n.T;
        if (z[2 * r] == 0) continue;
        if (!reinforced_weights(&n, q + r * n.A, k + b * n.A, z + 2 * b, r - b, w)) continue;
        for (int64_t j = 0; j < n.T; j++)
            for (int64_t m = 0; m < M; m++) s[r * M + m] += w[j] * v[(b + j) * M + m];
    }
    const double *gs = reinforced_linear(c, s, "w_s", NULL, rows, M, M);
    const double *gx = reinforced_linear(c, x, "w_x", "b_g", rows, M, M);
    for (int64_t i = 0; i < rows * M; i++) {
        const double gate = 1 / (1 + exp(-gs[i] - gx[i]));
        gallery_at(c, "out")[i] = gate * x[i] + (1 - gate) * s[i];
    }
}

static const char *const reinforced_cases[] = {"B=2,T=5", "B=1,T=6;all=true;mask",
                                               "B=3,T=4;seed=9", NULL};

const gallery_oracle gallery_oracle_reinforced = {.cases = reinforced_cases,
                                                  .run = reinforced_oracle};
