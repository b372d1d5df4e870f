/* SPDX-License-Identifier: MIT
 * Parallel co-attention, the affinity of each pair by hand. */
#include "oracle/mech_feature.h"

typedef struct parallel_side {
    const double *rows, *h, *mask, *u; /* h: the hidden layer without the other side */
    int64_t n, width, step;            /* c[i][j] of this side's i is c + i step + j other */
} parallel_side;

static void parallel_pool(gallery_call *c, const parallel_side *one, const parallel_side *other,
                          const double *affinity, double *a, double *out)
{
    const int64_t A = gallery_size(c, 'A');
    for (int64_t i = 0; i < one->n; i++) {
        a[i] = 0;
        for (int64_t k = 0; k < A; k++) {
            double h = one->h[i * A + k];
            for (int64_t j = 0; j < other->n; j++)
                h += affinity[i * one->step + j * other->step] * other->h[j * A + k];
            a[i] += one->u[k] * tanh(h);
        }
    }
    feature_softmax(a, one->n, 1, one->mask);
    feature_pool(out, a, one->rows, one->n, one->width);
}

static double *parallel_affinity(gallery_call *c, const double *x, const double *y, int64_t T,
                                 int64_t S)
{
    const int64_t D = gallery_size(c, 'D'), N = gallery_size(c, 'N');
    const double *keys = feature_linear(c, y, gallery_at(c, "w_b"), NULL, S, N, D);
    double *affinity = gallery_new(c, T * S);
    for (int64_t i = 0; i < T; i++)
        for (int64_t j = 0; j < S; j++)
            affinity[i * S + j] = tanh(feature_dot(x + i * D, keys + j * D, D));
    return affinity;
}

static void parallel_coattention_oracle(gallery_call *c)
{
    const int64_t B = gallery_size(c, 'B'), T = gallery_size(c, 'T'), S = gallery_size(c, 'S');
    const int64_t D = gallery_size(c, 'D'), N = gallery_size(c, 'N'), A = gallery_size(c, 'A');
    const double *x = feature_rows(c, "x", "x_mask", B * T, D);
    const double *y = feature_rows(c, "y", "mask", B * S, N);
    for (int64_t b = 0; b < B; b++, x += T * D, y += S * N) {
        const parallel_side one = {x,
                                   feature_linear(c, x, gallery_at(c, "w_x"), NULL, T, D, A),
                                   feature_mask(c, "x_mask", b, T),
                                   gallery_at(c, "u_x"),
                                   T,
                                   D,
                                   S};
        const parallel_side two = {y,
                                   feature_linear(c, y, gallery_at(c, "w_y"), NULL, S, N, A),
                                   feature_mask(c, "mask", b, S),
                                   gallery_at(c, "u_y"),
                                   S,
                                   N,
                                   1};
        const double *affinity = parallel_affinity(c, x, y, T, S);
        parallel_pool(c, &one, &two, affinity, gallery_at(c, "x_weights") + b * T,
                      gallery_at(c, "out") + b * D);
        parallel_pool(c, &two, &one, affinity, gallery_at(c, "weights") + b * S,
                      gallery_at(c, "out_y") + b * N);
    }
}

static const char *const parallel_cases[] = {"B=2,T=5,S=4,D=3,N=2,A=4", "T=3,S=6;;mask,x_mask",
                                             "T=70,S=3,D=2;;mask",
                                             "T=2,S=65,D=1,N=1,A=2;;x_mask", NULL};

const gallery_oracle gallery_oracle_parallel_coattention = {.cases = parallel_cases,
                                                            .run = parallel_coattention_oracle};
