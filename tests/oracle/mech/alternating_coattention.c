/* SPDX-License-Identifier: MIT
 * Three additive poolings, each with its own weights. */
#include "oracle/mech_feature.h"

typedef struct alternating_rows {
    const double *rows, *mask;
    int64_t n, D;
} alternating_rows;

/* guide NULL: none. */
static void alternating_att(gallery_call *c, const alternating_rows *z, const char *w,
                            const char *v, const char *u, const double *guide, int64_t width,
                            double *a, double *to)
{
    const int64_t A = gallery_size(c, 'A');
    const double *h = feature_linear(c, z->rows, gallery_at(c, w), NULL, z->n, z->D, A);
    const double *g =
        guide ? feature_linear(c, guide, gallery_at(c, v), NULL, 1, width, A) : NULL;
    for (int64_t i = 0; i < z->n; i++) {
        a[i] = 0;
        for (int64_t k = 0; k < A; k++)
            a[i] += gallery_at(c, u)[k] * tanh(h[i * A + k] + (g ? g[k] : 0));
    }
    feature_softmax(a, z->n, 1, z->mask);
    feature_pool(to, a, z->rows, z->n, z->D);
}

static void alternating_coattention_oracle(gallery_call *c)
{
    const int64_t B = gallery_size(c, 'B'), T = gallery_size(c, 'T'), S = gallery_size(c, 'S'),
                  D = gallery_size(c, 'D'), N = gallery_size(c, 'N');
    const double *x = feature_rows(c, "x", "x_mask", B * T, D);
    const double *y = feature_rows(c, "y", "mask", B * S, N);
    for (int64_t b = 0; b < B; b++) {
        const alternating_rows question = {x + b * T * D, feature_mask(c, "x_mask", b, T), T,
                                           D};
        const alternating_rows picture = {y + b * S * N, feature_mask(c, "mask", b, S), S, N};
        double *summary = gallery_new(c, D), *seen = gallery_at(c, "out_y") + b * N;
        alternating_att(c, &question, "w_s", NULL, "u_s", NULL, 0, gallery_new(c, T), summary);
        alternating_att(c, &picture, "w_y", "v_y", "u_y", summary, D,
                        gallery_at(c, "weights") + b * S, seen);
        alternating_att(c, &question, "w_x", "v_x", "u_x", seen, N,
                        gallery_at(c, "x_weights") + b * T, gallery_at(c, "out") + b * D);
    }
}

static const char *const alternating_cases[] = {"B=2,T=5,S=4,D=3,N=2,A=4",
                                                "T=3,S=6;;mask,x_mask", NULL};

const gallery_oracle gallery_oracle_alternating_coattention = {
    .cases = alternating_cases, .run = alternating_coattention_oracle};
