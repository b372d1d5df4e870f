/* SPDX-License-Identifier: MIT
 * Structured self-attention and its penalty, element by element. */
#include "../mech_heads.h"

static void structured_weights(gallery_call *c, int64_t b, double *A)
{
    const int64_t S = gallery_size(c, 'S'), U = gallery_size(c, 'U'), N = gallery_size(c, 'N'),
                  R = gallery_size(c, 'R');
    const double *x = gallery_at(c, "x") + b * S * U, *mask = gallery_at(c, "mask");
    for (int64_t r = 0; r < R; r++) {
        for (int64_t s = 0; s < S; s++) {
            double sum = 0;
            for (int64_t n = 0; n < N; n++)
                sum += gallery_at(c, "w_2")[r * N + n] *
                       tanh(heads_inner(gallery_at(c, "w_1") + n * U, x + s * U, U));
            A[r * S + s] = mask && mask[b * S + s] == 0 ? -GALLERY_INF : sum;
        }
        heads_softmax(A + r * S, S);
    }
}

static double structured_penalty(const double *A, int64_t R, int64_t S)
{
    double sum = 0;
    for (int64_t r = 0; r < R; r++)
        for (int64_t p = 0; p < R; p++) {
            const double off = heads_inner(A + r * S, A + p * S, S) - (r == p ? 1 : 0);
            sum += off * off;
        }
    return sum;
}

static void structured_self_oracle(gallery_call *c)
{
    const int64_t S = gallery_size(c, 'S'), U = gallery_size(c, 'U'), R = gallery_size(c, 'R');
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) {
        double *A = gallery_at(c, "weights") + b * R * S;
        const double *x = gallery_at(c, "x") + b * S * U;
        structured_weights(c, b, A);
        gallery_at(c, "penalty")[b] = structured_penalty(A, R, S);
        for (int64_t r = 0; r < R; r++)
            for (int64_t s = 0; s < S; s++)
                for (int64_t u = 0; u < U; u++)
                    gallery_at(c, "out")[(b * R + r) * U + u] += A[r * S + s] * x[s * U + u];
    }
}

static const char *const structured_self_cases[] = {"B=2,S=7,U=5,N=3,R=4", "B=2,R=1;;mask",
                                                    NULL};

/* Two questions that read half of each of two words, one word shared: 0.625. Scores of 0 and
 * -1e4 by tanh of +-20: the weights are exactly 1/2 and 0. */
static const double structured_x[] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
static const double structured_w_1[] = {20, 0, 0, 0, 20, 0, 0, 0, 20};
static const double structured_w_2[] = {1e4, 1e4, -1e4, -1e4, 1e4, 1e4};
static const double structured_A[] = {.5, .5, 0, 0, .5, .5}, structured_p[] = {.625};
static const gallery_gold structured_self_gold[] = {
    {"S=3,U=3,N=3,R=2",
     {{"x", structured_x}, {"w_1", structured_w_1}, {"w_2", structured_w_2}},
     {{"weights", structured_A}, {"penalty", structured_p}, {"out", structured_A}}},
    {0}};

const gallery_oracle gallery_oracle_structured_self = {.cases = structured_self_cases,
                                                       .run = structured_self_oracle,
                                                       .gold = structured_self_gold};
