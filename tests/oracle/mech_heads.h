/* SPDX-License-Identifier: MIT
 * What the oracles of the query and position families have in common: features to heads by
 * hand, and attention over B H T S pairs whose scores one function gives. Plain loops in
 * double. */
#ifndef ATTN_TESTS_MECH_HEADS_H
#define ATTN_TESTS_MECH_HEADS_H

#include "../gallery_case.h"

typedef struct heads_case {
    int64_t B, H, G, T, S, D, E;
    const double *q, *k, *v, *mask; /* B H T D, B G S D, B G S E, B S or NULL */
    double *out, *weights;          /* B H T E, B H T S */
    double scale;
    int64_t causal, offset;
    const gallery_call *c; /* for scores that need more */
    const void *user;
} heads_case;

/* The score of query i and key j of head h; masks are not its business. */
typedef double (*heads_score)(const heads_case *a, int64_t b, int64_t h, int64_t i, int64_t j);

static inline const double *heads_q(const heads_case *a, int64_t b, int64_t h, int64_t i)
{
    return a->q + ((b * a->H + h) * a->T + i) * a->D;
}

static inline const double *heads_k(const heads_case *a, int64_t b, int64_t h, int64_t j)
{
    return a->k + ((b * a->G + h * a->G / a->H) * a->S + j) * a->D;
}

static inline double heads_inner(const double *x, const double *y, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

static inline double heads_dot(const heads_case *a, int64_t b, int64_t h, int64_t i, int64_t j)
{
    return a->scale * heads_inner(heads_q(a, b, h, i), heads_k(a, b, h, j), a->D);
}

/* Scores become weights; -inf everywhere: 0. */
static inline void heads_softmax(double *row, int64_t n)
{
    double top = -GALLERY_INF, sum = 0;
    for (int64_t j = 0; j < n; j++) top = fmax(top, row[j]);
    for (int64_t j = 0; j < n; j++)
        sum += row[j] = row[j] == -GALLERY_INF ? 0 : exp(row[j] - top);
    for (int64_t j = 0; j < n && sum > 0; j++) row[j] /= sum;
}

static inline int heads_hidden(const heads_case *a, int64_t b, int64_t i, int64_t j)
{
    return (a->mask && a->mask[b * a->S + j] == 0) || (a->causal && j > i + a->offset);
}

static inline void heads_row(heads_case *a, heads_score score, int64_t b, int64_t h, int64_t i)
{
    const int64_t row = (b * a->H + h) * a->T + i;
    double *w = a->weights + row * a->S, *o = a->out + row * a->E;
    const double *v = a->v + (b * a->G + h * a->G / a->H) * a->S * a->E;
    for (int64_t j = 0; j < a->S; j++)
        w[j] = heads_hidden(a, b, i, j) ? -GALLERY_INF : score(a, b, h, i, j);
    heads_softmax(w, a->S);
    for (int64_t j = 0; j < a->S; j++)
        for (int64_t e = 0; e < a->E; e++) o[e] += w[j] * v[j * a->E + e];
}

static inline void heads_run(heads_case *a, heads_score score)
{
    for (int64_t b = 0; b < a->B; b++)
        for (int64_t h = 0; h < a->H; h++)
            for (int64_t i = 0; i < a->T; i++) heads_row(a, score, b, h, i);
}

/* y[b][h][t][d] = sum_m w[h D + d][m] x[b][t][m]; w NULL: x itself, cut into heads. */
static inline double *heads_from(const gallery_call *c, const double *x, const double *w,
                                 int64_t B, int64_t T, int64_t M, int64_t H, int64_t D)
{
    double *y = gallery_new(c, B * H * T * D), *to = y;
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t t = 0; t < T; t++)
                for (int64_t d = 0; d < D; d++)
                    *to++ = w ? heads_inner(w + (h * D + d) * M, x + (b * T + t) * M, M)
                              : x[(b * T + t) * M + h * D + d];
    return y;
}

/* out[b][t][o] = sum_h sum_e w[o][h E + e] x[b][h][t][e] */
static inline void heads_to(const double *x, const double *w, int64_t B, int64_t H, int64_t T,
                            int64_t E, int64_t O, double *out)
{
    for (int64_t b = 0; b < B; b++)
        for (int64_t t = 0; t < T; t++)
            for (int64_t o = 0; o < O; o++)
                for (int64_t h = 0; h < H; h++)
                    out[(b * T + t) * O + o] +=
                        heads_inner(w + (o * H + h) * E, x + ((b * H + h) * T + t) * E, E);
}

/* Self-attention over x B T M with w_q, w_k, w_v, the rest to be set: E of the values' heads.
 */
static inline heads_case heads_self(const gallery_call *c, const double *x, int64_t H,
                                    int64_t G)
{
    const int64_t B = gallery_size(c, 'B'), T = gallery_size(c, 'T'), M = gallery_size(c, 'M');
    heads_case a = {.B = B, .H = H, .G = G, .T = T, .S = T, .c = c};
    a.D = gallery_size(c, 'A') / H;
    a.E = gallery_size(c, 'P') / G;
    a.q = heads_from(c, x, gallery_at(c, "w_q"), B, T, M, H, a.D);
    a.k = heads_from(c, x, gallery_at(c, "w_k"), B, T, M, G, a.D);
    a.v = heads_from(c, x, gallery_at(c, "w_v"), B, T, M, G, a.E);
    a.mask = gallery_at(c, "mask");
    a.scale = 1 / sqrt((double)a.D);
    a.causal = gallery_i(c, "causal");
    a.out = gallery_new(c, B * H * T * a.E);
    a.weights = gallery_at(c, "weights");
    return a;
}

/* G of a k that has such a letter, else every head has its own. */
static inline int64_t heads_groups(const gallery_call *c)
{
    return c->mech->slots[attn_mech_slot(c->mech, "k")].shape[2] == 'G' ? gallery_size(c, 'G')
                                                                        : gallery_size(c, 'H');
}

/* Slots q B H T D, k B G S D, v B G S E, mask B S, out, weights; params causal and offset. */
static inline heads_case heads_given(const gallery_call *c)
{
    heads_case a = {.B = gallery_size(c, 'B'),
                    .H = gallery_size(c, 'H'),
                    .G = heads_groups(c),
                    .T = gallery_size(c, 'T'),
                    .S = gallery_size(c, 'S'),
                    .D = gallery_size(c, 'D'),
                    .E = gallery_size(c, 'E'),
                    .c = c};
    a.q = gallery_at(c, "q"), a.k = gallery_at(c, "k"), a.v = gallery_at(c, "v");
    a.mask = gallery_at(c, "mask");
    a.out = gallery_at(c, "out"), a.weights = gallery_at(c, "weights");
    a.scale = 1 / sqrt((double)a.D);
    a.causal = gallery_i(c, "causal"), a.offset = gallery_i(c, "offset");
    return a;
}

#endif
