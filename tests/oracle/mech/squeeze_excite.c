/* SPDX-License-Identifier: MIT
 * Squeeze and excitation, one channel after the other. */
#include "gallery_case.h"

static double squeeze_affine(const double *w, const double *bias, const double *x, int64_t row,
                             int64_t n)
{
    double sum = bias ? bias[row] : 0;
    for (int64_t i = 0; i < n; i++) sum += w[row * n + i] * x[i];
    return sum;
}

static void squeeze_excite_oracle(gallery_call *c)
{
    const int64_t B = gallery_size(c, 'B'), C = gallery_size(c, 'C'), R = gallery_size(c, 'R');
    const int64_t N = gallery_size(c, 'Y') * gallery_size(c, 'X');
    double *z = gallery_new(c, C), *h = gallery_new(c, R);
    for (int64_t b = 0; b < B; b++) {
        const double *x = gallery_at(c, "x") + b * C * N;
        double *out = gallery_at(c, "out") + b * C * N, *gate = gallery_at(c, "gate") + b * C;
        for (int64_t i = 0; i < C; i++) {
            z[i] = 0;
            for (int64_t n = 0; n < N; n++) z[i] += x[i * N + n];
            z[i] /= N > 0 ? (double)N : 1; /* no place at all: 0 */
        }
        for (int64_t r = 0; r < R; r++) {
            h[r] = squeeze_affine(gallery_at(c, "w1"), gallery_at(c, "b1"), z, r, C);
            if (h[r] < 0) h[r] = 0;
        }
        for (int64_t i = 0; i < C; i++) {
            gate[i] =
                1 /
                (1 + exp(-squeeze_affine(gallery_at(c, "w2"), gallery_at(c, "b2"), h, i, R)));
            for (int64_t n = 0; n < N; n++) out[i * N + n] = gate[i] * x[i * N + n];
        }
    }
}

static const char *const squeeze_excite_cases[] = {"B=2,C=5,R=3,Y=4,X=3", "B=1,C=2,R=1;;b1,b2",
                                                   NULL};

const gallery_oracle gallery_oracle_squeeze_excite = {.cases = squeeze_excite_cases,
                                                      .run = squeeze_excite_oracle};
