/* SPDX-License-Identifier: MIT
 * Dense attention over the pairs that a predicate allows: what every sparse pattern's oracle
 * is, once it has said which pairs. */
#ifndef ATTN_TESTS_MECH_PATTERN_H
#define ATTN_TESTS_MECH_PATTERN_H

#include <stdlib.h>

#include "gallery_case.h"

/* Whether query i of sequence b and head h may see key j. */
typedef bool (*pattern_sees)(const gallery_call *c, int64_t b, int64_t h, int64_t i, int64_t j);

static inline double pattern_dot(const double *a, const double *b, int64_t n)
{
    double sum = 0;
    for (int64_t d = 0; d < n; d++) sum += a[d] * b[d];
    return sum;
}

/* Scores (-inf: forbidden) to weights; a row without a key gives zeros. */
static inline void pattern_softmax(double *row, int64_t n)
{
    double top = -GALLERY_INF, sum = 0;
    for (int64_t j = 0; j < n; j++) top = fmax(top, row[j]);
    for (int64_t j = 0; j < n; j++)
        sum += row[j] = row[j] == -GALLERY_INF ? 0 : exp(row[j] - top);
    for (int64_t j = 0; j < n && sum > 0; j++) row[j] /= sum;
}

/* Fills out from q, k, v and mask of B H T, by sees. */
static inline void pattern_attend(gallery_call *c, pattern_sees sees)
{
    const int64_t B = gallery_size(c, 'B'), H = gallery_size(c, 'H'), T = gallery_size(c, 'T');
    const int64_t D = gallery_size(c, 'D'), E = gallery_size(c, 'E');
    const double *q = gallery_at(c, "q"), *k = gallery_at(c, "k"), *v = gallery_at(c, "v");
    const double *mask = gallery_at(c, "mask");
    double *out = gallery_at(c, "out"), *row = gallery_new(c, T);
    for (int64_t bh = 0; bh < B * H; bh++)
        for (int64_t i = 0; i < T; i++) {
            for (int64_t j = 0; j < T; j++) {
                const bool ok =
                    sees(c, bh / H, bh % H, i, j) && (!mask || mask[bh / H * T + j] != 0);
                const double s = pattern_dot(q + (bh * T + i) * D, k + (bh * T + j) * D, D);
                row[j] = ok ? s / sqrt((double)D) : -GALLERY_INF;
            }
            pattern_softmax(row, T);
            for (int64_t j = 0; j < T; j++)
                for (int64_t e = 0; e < E; e++)
                    out[(bh * T + i) * E + e] += row[j] * v[(bh * T + j) * E + e];
        }
}

/* Fills pattern T T, or H T T. */
static inline void pattern_flags(gallery_call *c, pattern_sees sees, int64_t heads)
{
    const int64_t T = gallery_size(c, 'T');
    for (int64_t x = 0; x < heads * T * T; x++)
        gallery_at(c, "pattern")[x] = sees(c, 0, x / T / T, x / T % T, x % T);
}

#endif
