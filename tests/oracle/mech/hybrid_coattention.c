/* SPDX-License-Identifier: MIT
 * Two matrices of scores, each normalised both ways, and what they weigh. */
#include "oracle/mech_feature.h"

typedef struct hybrid_case {
    int64_t T, S, D;
    const double *x, *y, *w, *mask, *x_mask;
    double *flow, *plain, *column, *top, *h, *summary; /* T S three times; T; D; S D */
} hybrid_case;

static void hybrid_scores(const hybrid_case *z)
{
    for (int64_t i = 0; i < z->T; i++) {
        z->top[i] = -GALLERY_INF;
        for (int64_t j = 0; j < z->S; j++) {
            const double *x = z->x + i * z->D, *y = z->y + j * z->D;
            double s = feature_dot(z->w, x, z->D) + feature_dot(z->w + z->D, y, z->D);
            for (int64_t d = 0; d < z->D; d++) s += z->w[2 * z->D + d] * x[d] * y[d];
            z->flow[i * z->S + j] = s;
            z->plain[i * z->S + j] = z->column[i * z->S + j] = feature_dot(x, y, z->D);
            if (!z->mask || z->mask[j] != 0) z->top[i] = fmax(z->top[i], s);
        }
    }
}

static void hybrid_normalise(const hybrid_case *z)
{
    for (int64_t i = 0; i < z->T; i++) {
        feature_softmax(z->flow + i * z->S, z->S, 1, z->mask);
        feature_softmax(z->plain + i * z->S, z->S, 1, z->mask);
    }
    for (int64_t j = 0; j < z->S; j++) {
        feature_softmax(z->column + j, z->T, z->S, z->x_mask);
        for (int64_t i = 0; i < z->T; i++)
            for (int64_t d = 0; d < z->D; d++)
                z->summary[j * z->D + d] += z->column[i * z->S + j] * z->x[i * z->D + d];
    }
    feature_softmax(z->top, z->T, 1, z->x_mask);
    feature_pool(z->h, z->top, z->x, z->T, z->D);
}

static void hybrid_out(const hybrid_case *z, double *out)
{
    const int64_t D = z->D;
    for (int64_t i = 0; i < z->T; i++, out += 6 * D) {
        feature_pool(out + D, z->flow + i * z->S, z->y, z->S, D);
        feature_pool(out + 2 * D, z->plain + i * z->S, z->y, z->S, D);
        feature_pool(out + 3 * D, z->plain + i * z->S, z->summary, z->S, D);
        for (int64_t d = 0; d < D; d++) {
            out[d] = z->x[i * D + d];
            out[4 * D + d] = out[d] * out[D + d];
            out[5 * D + d] = out[d] * z->h[d];
        }
    }
}

static void hybrid_coattention_oracle(gallery_call *c)
{
    const int64_t B = gallery_size(c, 'B'), T = gallery_size(c, 'T'), S = gallery_size(c, 'S'),
                  D = gallery_size(c, 'D');
    const double *x = feature_rows(c, "x", "x_mask", B * T, D);
    const double *y = feature_rows(c, "y", "mask", B * S, D);
    for (int64_t b = 0; b < B; b++) {
        const hybrid_case z = {.T = T,
                               .S = S,
                               .D = D,
                               .x = x + b * T * D,
                               .y = y + b * S * D,
                               .w = gallery_at(c, "w"),
                               .mask = feature_mask(c, "mask", b, S),
                               .x_mask = feature_mask(c, "x_mask", b, T),
                               .flow = gallery_new(c, T * S),
                               .plain = gallery_new(c, T * S),
                               .column = gallery_new(c, T * S),
                               .top = gallery_new(c, T),
                               .h = gallery_new(c, D),
                               .summary = gallery_new(c, S * D)};
        hybrid_scores(&z);
        hybrid_normalise(&z);
        hybrid_out(&z, gallery_at(c, "out") + b * T * 6 * D);
    }
}

static const char *const hybrid_cases[] = {"B=2,T=5,S=4,D=3", "T=3,S=4;;mask,x_mask", NULL};

const gallery_oracle gallery_oracle_hybrid_coattention = {.cases = hybrid_cases,
                                                          .run = hybrid_coattention_oracle};
