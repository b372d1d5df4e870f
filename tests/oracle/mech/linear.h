/* SPDX-License-Identifier: MIT
 * What the oracles of the family linear share: explicit weights of features, pair by pair, and
 * a state that is stepped on by loops. Arrays are B H T ., as the slots are. */
#ifndef ATTN_TESTS_MECH_LINEAR_H
#define ATTN_TESTS_MECH_LINEAR_H

#include "gallery_case.h"

/* out_i = sum_j w_ij v_j / (sum_j w_ij + eps), w_ij = pq_i . pk_j over F features, over keys
 * the mask leaves, j <= i if causal; without the division if plain. */
typedef struct linear_pairs {
    const double *pq, *pk;
    int64_t F;
    bool causal, plain;
    double eps;
} linear_pairs;

static inline void linear_row(const gallery_call *c, const linear_pairs *p, int64_t bh,
                              int64_t i)
{
    const int64_t T = gallery_size(c, 'T'), S = gallery_size(c, 'S'), E = gallery_size(c, 'E');
    const int64_t H = gallery_size(c, 'H');
    const double *mask = gallery_at(c, "mask"), *q = p->pq + (bh * T + i) * p->F;
    double *out = gallery_at(c, "out") + (bh * T + i) * E, sum = p->eps;
    for (int64_t j = 0; j < S; j++) {
        double w = 0;
        if ((mask && mask[bh / H * S + j] == 0) || (p->causal && j > i)) continue;
        for (int64_t f = 0; f < p->F; f++) w += q[f] * p->pk[(bh * S + j) * p->F + f];
        for (int64_t e = 0; e < E; e++) out[e] += w * gallery_at(c, "v")[(bh * S + j) * E + e];
        sum += w;
    }
    for (int64_t e = 0; e < E && !p->plain; e++) out[e] = sum == 0 ? 0 : out[e] / sum;
}

static inline void linear_all(const gallery_call *c, const linear_pairs *p)
{
    const int64_t heads = gallery_size(c, 'B') * gallery_size(c, 'H');
    for (int64_t bh = 0; bh < heads; bh++)
        for (int64_t i = 0; i < gallery_size(c, 'T'); i++) linear_row(c, p, bh, i);
}

/* S = diag(exp(decay)) S, S += k (beta (v - S^T k))^T (delta) or k v^T, out = scale S^T q; keys
 * and queries of F features. NULL: decay 0, beta 1, a first state of 0. */
typedef struct linear_steps {
    const double *q, *k, *decay, *beta, *state;
    double *final_state;
    int64_t F;
    bool delta;
    double scale;
} linear_steps;

static inline void linear_step(const gallery_call *c, const linear_steps *p, double *s,
                               int64_t row)
{
    const int64_t E = gallery_size(c, 'E');
    const double *q = p->q + row * p->F, *k = p->k + row * p->F;
    for (int64_t f = 0; p->decay && f < p->F; f++)
        for (int64_t e = 0; e < E; e++) s[f * E + e] *= exp(p->decay[row * p->F + f]);
    for (int64_t e = 0; e < E; e++) {
        double u = gallery_at(c, "v")[row * E + e], o = 0;
        for (int64_t f = 0; p->delta && f < p->F; f++) u -= s[f * E + e] * k[f];
        if (p->beta) u *= p->beta[row];
        for (int64_t f = 0; f < p->F; f++) s[f * E + e] += k[f] * u;
        for (int64_t f = 0; f < p->F; f++) o += s[f * E + e] * q[f];
        gallery_at(c, "out")[row * E + e] = p->scale * o;
    }
}

static inline void linear_walk(const gallery_call *c, const linear_steps *p)
{
    const int64_t heads = gallery_size(c, 'B') * gallery_size(c, 'H'), T = gallery_size(c, 'T');
    const int64_t cells = p->F * gallery_size(c, 'E');
    double *s = gallery_new(c, cells);
    for (int64_t bh = 0; bh < heads; bh++) {
        for (int64_t i = 0; i < cells; i++) s[i] = p->state ? p->state[bh * cells + i] : 0;
        for (int64_t t = 0; t < T; t++) linear_step(c, p, s, bh * T + t);
        for (int64_t i = 0; p->final_state && i < cells; i++)
            p->final_state[bh * cells + i] = s[i];
    }
}

/* Scale as asked, or 1 / sqrt(D). */
static inline double linear_scale(const gallery_call *c)
{
    const double scale = gallery_f(c, "scale"), D = (double)gallery_size(c, 'D');
    return scale != 0 ? scale : D > 0 ? 1 / sqrt(D) : 1;
}

/* Rows of n over their lengths. */
static inline double *linear_unit(const gallery_call *c, const double *x, int64_t rows,
                                  int64_t n)
{
    double *y = gallery_new(c, rows * n);
    for (int64_t r = 0; r < rows; r++) {
        double length = 0;
        for (int64_t i = 0; i < n; i++) length += x[r * n + i] * x[r * n + i];
        for (int64_t i = 0; i < n; i++)
            y[r * n + i] = length > 0 ? x[r * n + i] / sqrt(length) : 0;
    }
    return y;
}

static inline int64_t linear_rows(const gallery_call *c, char letter)
{
    return gallery_size(c, 'B') * gallery_size(c, 'H') * gallery_size(c, letter);
}

/* x = factor |x| + shift over a slot, if it is given. */
static inline void linear_fold(gallery_call *c, const char *slot, double factor, double shift)
{
    double *x = gallery_at(c, slot);
    for (int64_t i = 0; x && i < c->count[attn_mech_slot(c->mech, slot)]; i++)
        x[i] = factor * fabs(x[i]) + shift;
}

/* ---- the small call of the literature's numbers ------------------------------------------ */

static const double linear_gold_q[] = {1, .5, 0, 1, -1, .5};
static const double linear_gold_k[] = {1, 0, 0, 1, 1, 1};
static const double linear_gold_v[] = {1, 0, 0, 1, 2, -1};
#define LINEAR_GOLD                                                                            \
    {"q", linear_gold_q}, {"k", linear_gold_k},                                                \
    {                                                                                          \
        "v", linear_gold_v                                                                     \
    }

#endif
