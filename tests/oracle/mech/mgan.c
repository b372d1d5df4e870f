/* SPDX-License-Identifier: MIT
 * Four poolings over one matrix of trilinear scores and two means. */
#include "oracle/mech_feature.h"

typedef struct mgan_side {
    const double *rows, *mask;
    int64_t n, D;
} mgan_side;

static double mgan_score(const double *w, const double *x, const double *y, int64_t D)
{
    double s = 0;
    for (int64_t d = 0; d < D; d++)
        s += w[d] * x[d] + w[D + d] * y[d] + w[2 * D + d] * x[d] * y[d];
    return s;
}

static void mgan_pool(const mgan_side *z, double *scores, double *to)
{
    feature_softmax(scores, z->n, 1, z->mask);
    feature_pool(to, scores, z->rows, z->n, z->D);
}

static void mgan_coarse(gallery_call *c, const mgan_side *own, const mgan_side *other,
                        const char *w, double *to)
{
    double *mean = gallery_new(c, own->D), *scores = gallery_new(c, own->n);
    feature_mean(mean, other->rows, other->mask, other->n, own->D);
    const double *key = feature_linear(c, mean, gallery_at(c, w), NULL, 1, own->D, own->D);
    for (int64_t i = 0; i < own->n; i++)
        scores[i] = feature_dot(own->rows + i * own->D, key, own->D);
    mgan_pool(own, scores, to);
}

static void mgan_fine(gallery_call *c, const mgan_side *own, const mgan_side *other, bool swap,
                      double *to)
{
    double *scores = gallery_new(c, own->n);
    for (int64_t i = 0; i < own->n; i++) {
        scores[i] = -GALLERY_INF;
        for (int64_t j = 0; j < other->n; j++) {
            const double *a = own->rows + i * own->D, *b = other->rows + j * own->D;
            if (other->mask && other->mask[j] == 0) continue;
            scores[i] = fmax(scores[i], mgan_score(gallery_at(c, "w_u"), swap ? b : a,
                                                   swap ? a : b, own->D));
        }
    }
    mgan_pool(own, scores, to);
}

static void mgan_oracle(gallery_call *c)
{
    const int64_t B = gallery_size(c, 'B'), T = gallery_size(c, 'T'), S = gallery_size(c, 'S'),
                  D = gallery_size(c, 'D');
    double *x = feature_rows(c, "x", "x_mask", B * T, D);
    const double *y = feature_rows(c, "y", "mask", B * S, D),
                 *location = gallery_at(c, "location");
    for (int64_t i = 0; location && i < B * T * D; i++) x[i] *= location[i / D];
    for (int64_t b = 0; b < B; b++) {
        const mgan_side one = {x + b * T * D, feature_mask(c, "x_mask", b, T), T, D};
        const mgan_side two = {y + b * S * D, feature_mask(c, "mask", b, S), S, D};
        double *out = gallery_at(c, "out") + b * 4 * D;
        mgan_coarse(c, &one, &two, "w_x", out);
        mgan_fine(c, &one, &two, false, out + D);
        mgan_fine(c, &two, &one, true, out + 2 * D);
        mgan_coarse(c, &two, &one, "w_y", out + 3 * D);
    }
}

static const char *const mgan_cases[] = {"B=2,T=5,S=3,D=4", "T=4,S=2,D=2;;location,mask,x_mask",
                                         "B=2,T=3,S=1;;mask", NULL};

const gallery_oracle gallery_oracle_mgan = {.cases = mgan_cases, .run = mgan_oracle};
