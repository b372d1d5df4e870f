/* SPDX-License-Identifier: MIT
 * Location-aware attention row after row, the convolution tap by tap. */
#include "oracle/mech_loops.h"

#include <stdlib.h>

/* features[j][r] = sum over taps of w_f[r][tap] prev[j + tap - K/2] */
static void location_convolve(gallery_call *c, const double *prev, double *features)
{
    const int64_t S = gallery_size(c, 'S'), R = gallery_size(c, 'R'), K = gallery_size(c, 'K');
    for (int64_t j = 0; j < S; j++)
        for (int64_t r = 0; r < R; r++) {
            features[j * R + r] = 0;
            for (int64_t tap = 0; tap < K; tap++) {
                const int64_t at = j + tap - K / 2;
                if (at >= 0 && at < S)
                    features[j * R + r] += gallery_at(c, "w_f")[r * K + tap] * prev[at];
            }
        }
}

/* seen[j]: near enough to the first key where half of prev is reached, and not masked. */
static void location_seen(gallery_call *c, const double *prev, const double *mask, double *seen)
{
    const int64_t S = gallery_size(c, 'S'), window = gallery_i(c, "window");
    int64_t median = 0;
    double sum = 0;
    while (median < S && (sum += prev[median]) < 0.5) median++;
    for (int64_t j = 0; j < S; j++)
        seen[j] = (!mask || mask[j] != 0) && (window == 0 || llabs(j - median) <= window);
}

static void location_normalise(gallery_call *c, double *row, const double *seen)
{
    const int64_t S = gallery_size(c, 'S');
    double sum = 0;
    if (!gallery_i(c, "smoothing")) {
        for (int64_t j = 0; j < S; j++) row[j] *= gallery_f(c, "sharpen");
        loops_softmax(row, seen, S);
        return;
    }
    for (int64_t j = 0; j < S; j++) sum += row[j] = seen[j] != 0 ? loops_sigmoid(row[j]) : 0;
    for (int64_t j = 0; j < S && sum > 0; j++) row[j] /= sum;
}

static void location_entry(gallery_call *c, int64_t b)
{
    const int64_t T = gallery_size(c, 'T'), S = gallery_size(c, 'S'), A = gallery_size(c, 'A'),
                  R = gallery_size(c, 'R'), D = gallery_size(c, 'D'), C = gallery_size(c, 'C'),
                  E = gallery_size(c, 'E');
    double *q =
        loops_linear(c, gallery_at(c, "q") + b * T * D, gallery_at(c, "w_q"), NULL, T, D, A);
    double *k = loops_linear(c, gallery_at(c, "k") + b * S * C, gallery_at(c, "w_k"),
                             gallery_at(c, "b"), S, C, A);
    double *f = gallery_new(c, S * R), *prev = gallery_new(c, S), *seen = gallery_new(c, S);
    const double *mask = gallery_at(c, "mask"), *start = gallery_at(c, "start");
    for (int64_t j = 0; j < S; j++) prev[j] = start ? start[b * S + j] : j == 0;
    for (int64_t i = 0; i < T; i++) {
        double *row = gallery_at(c, "weights") + (b * T + i) * S;
        location_convolve(c, prev, f);
        location_seen(c, prev, mask ? mask + b * S : NULL, seen);
        const double *u = loops_linear(c, f, gallery_at(c, "w_u"), NULL, S, R, A);
        for (int64_t j = 0; j < S; j++)
            for (int64_t a = 0; a < A; a++)
                row[j] +=
                    gallery_at(c, "w")[a] * tanh(q[i * A + a] + k[j * A + a] + u[j * A + a]);
        location_normalise(c, row, seen);
        for (int64_t j = 0; j < S; j++) prev[j] = row[j];
        loops_mix(row, gallery_at(c, "v") + b * S * E, S, E,
                  gallery_at(c, "out") + (b * T + i) * E);
    }
}

static void location_aware_oracle(gallery_call *c)
{
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) location_entry(c, b);
}

static const char *const location_aware_cases[] = {
    "B=2,T=4,S=6", "T=3,S=7,K=3;sharpen=2;b,start,mask", "B=2,T=3,S=8;window=2;start",
    "T=3,S=5,K=1;smoothing=true;start,mask", NULL};

const gallery_oracle gallery_oracle_location_aware = {.cases = location_aware_cases,
                                                      .run = location_aware_oracle};
