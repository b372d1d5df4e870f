/* SPDX-License-Identifier: MIT
 * External attention, columns and then rows. Gold: one memory gives each visible row all of
 * it. */
#include "../mech_heads.h"

static void external_oracle(gallery_call *c)
{
    const int64_t S = gallery_size(c, 'S'), D = gallery_size(c, 'D'), N = gallery_size(c, 'N'),
                  E = gallery_size(c, 'E');
    const double *mask = gallery_at(c, "mask");
    double *column = gallery_new(c, S);
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) {
        double *a = gallery_at(c, "weights") + b * S * N;
        const double *x = gallery_at(c, "x") + b * S * D;
        for (int64_t j = 0; j < N; j++) {
            for (int64_t i = 0; i < S; i++)
                column[i] = mask && mask[b * S + i] == 0
                                ? -GALLERY_INF
                                : heads_inner(x + i * D, gallery_at(c, "m_k") + j * D, D);
            heads_softmax(column, S);
            for (int64_t i = 0; i < S; i++) a[i * N + j] = column[i];
        }
        for (int64_t i = 0; i < S; i++) {
            double sum = 0;
            for (int64_t j = 0; j < N; j++) sum += a[i * N + j];
            for (int64_t j = 0; j < N && sum > 0; j++) a[i * N + j] /= sum;
            for (int64_t j = 0; j < N; j++)
                for (int64_t e = 0; e < E; e++)
                    gallery_at(c, "out")[(b * S + i) * E + e] +=
                        a[i * N + j] * gallery_at(c, "m_v")[j * E + e];
        }
    }
}

static const char *const external_cases[] = {"B=2,S=7", "B=2,S=5,D=3,N=5,E=2;;mask", NULL};

static const double external_x[] = {1, .5, -3, 2, 0, 1}, external_m_k[] = {.5, 2};
static const double external_m_v[] = {7, -1}, external_ones[] = {1, 1, 1};
static const double external_out[] = {7, -1, 7, -1, 7, -1};
static const gallery_gold external_gold[] = {
    {"S=3,D=2,N=1,E=2",
     {{"x", external_x}, {"m_k", external_m_k}, {"m_v", external_m_v}},
     {{"out", external_out}, {"weights", external_ones}}},
    {0}};

const gallery_oracle gallery_oracle_external = {
    .cases = external_cases, .run = external_oracle, .gold = external_gold};
