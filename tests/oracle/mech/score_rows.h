/* SPDX-License-Identifier: MIT
 * What the oracles of scores share: with the score of every pair, a softmax over the keys that
 * mask leaves, and the weighted sums. */
#ifndef ATTN_TESTS_SCORE_ROWS_H
#define ATTN_TESTS_SCORE_ROWS_H

#include "gallery_case.h"

typedef double (*score_pair)(const gallery_call *c, int64_t b, int64_t i, int64_t j);

/* The softmax of n scores in place; -inf gives 0, and a row of those stays 0. */
static inline void score_softmax(double *s, int64_t n)
{
    double top = -GALLERY_INF, sum = 0;
    for (int64_t j = 0; j < n; j++) top = fmax(top, s[j]);
    for (int64_t j = 0; j < n; j++) sum += s[j] = s[j] == -GALLERY_INF ? 0 : exp(s[j] - top);
    for (int64_t j = 0; j < n && sum > 0; j++) s[j] /= sum;
}

static inline bool score_hidden(const gallery_call *c, int64_t b, int64_t j, int64_t S)
{
    const double *mask = gallery_at(c, "mask");
    return mask && mask[b * S + j] == 0;
}

/* Slots v, mask, out and weights. */
static inline void score_rows(const gallery_call *c, score_pair score)
{
    const int64_t B = gallery_size(c, 'B'), T = gallery_size(c, 'T');
    const int64_t S = gallery_size(c, 'S'), E = gallery_size(c, 'E');
    for (int64_t b = 0; b < B; b++)
        for (int64_t i = 0; i < T; i++) {
            double *w = gallery_at(c, "weights") + (b * T + i) * S;
            double *out = gallery_at(c, "out") + (b * T + i) * E;
            for (int64_t j = 0; j < S; j++)
                w[j] = score_hidden(c, b, j, S) ? -GALLERY_INF : score(c, b, i, j);
            score_softmax(w, S);
            for (int64_t j = 0; j < S; j++)
                for (int64_t e = 0; e < E; e++)
                    out[e] += w[j] * gallery_at(c, "v")[(b * S + j) * E + e];
        }
}

/* Row i of batch entry b of a slot of rank 3. */
static inline const double *score_row(const gallery_call *c, const char *slot, int64_t b,
                                      int64_t i)
{
    const int at = attn_mech_slot(c->mech, slot);
    return c->at[at] + (b * c->shape[at][1] + i) * c->shape[at][2];
}

/* Row r of w (n wide) times x. */
static inline double score_dot(const double *w, const double *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += w[i] * x[i];
    return sum;
}

/* The data of the published values: q = (1, 1/2), four keys, four values. */
static const double score_q[] = {1, .5}, score_k[] = {1, 0, 0, 1, 1, 1, -1, .5},
                    score_v[] = {1, 0, 0, 1, 2, 2, -1, 1}, score_w[] = {1, 2, 0, -1};
#define SCORE_GOLD "B=1,T=1,S=4,D=2,E=2"

#endif
