/* SPDX-License-Identifier: MIT
 * Rotatory attention, its four calls written out. */
#include "oracle/mech_feature.h"

typedef struct rotatory_side {
    const double *rows, *mask;
    int64_t n, D;
} rotatory_side;

static rotatory_side rotatory_of(gallery_call *c, const char *slot, const char *mask,
                                 char letter, int64_t b)
{
    const int64_t n = gallery_size(c, letter), D = gallery_size(c, 'D');
    const double *rows = feature_rows(c, slot, mask, gallery_size(c, 'B') * n, D);
    return (rotatory_side){rows + b * n * D, feature_mask(c, mask, b, n), n, D};
}

static double *rotatory_att(gallery_call *c, const double *g, const rotatory_side *z,
                            const char *w, const char *bias)
{
    const double *key = feature_linear(c, g, gallery_at(c, w), NULL, 1, z->D, z->D);
    const double add = gallery_at(c, bias) ? gallery_at(c, bias)[0] : 0;
    double *a = gallery_new(c, z->n), *out = gallery_new(c, z->D);
    for (int64_t i = 0; i < z->n; i++)
        a[i] = tanh(feature_dot(z->rows + i * z->D, key, z->D) + add);
    feature_softmax(a, z->n, 1, z->mask);
    feature_pool(out, a, z->rows, z->n, z->D);
    return out;
}

static void rotatory_oracle(gallery_call *c)
{
    const int64_t D = gallery_size(c, 'D');
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) {
        const rotatory_side x = rotatory_of(c, "x", "mask", 'T', b);
        const rotatory_side left = rotatory_of(c, "left", "left_mask", 'L', b);
        const rotatory_side right = rotatory_of(c, "right", "right_mask", 'R', b);
        double *tl = gallery_new(c, D), *tr, *l = tl, *r = tl;
        feature_mean(tl, x.rows, x.mask, x.n, D);
        tr = tl;
        for (int64_t hop = 0; hop < gallery_i(c, "hops"); hop++) {
            l = rotatory_att(c, tl, &left, "w_l", "b_l");
            r = rotatory_att(c, tr, &right, "w_r", "b_r");
            tl = rotatory_att(c, l, &x, "w_tl", "b_tl");
            tr = rotatory_att(c, r, &x, "w_tr", "b_tr");
        }
        double *out = gallery_at(c, "out") + b * 4 * D;
        for (int64_t d = 0; d < D; d++)
            out[d] = l[d], out[D + d] = tl[d], out[2 * D + d] = tr[d], out[3 * D + d] = r[d];
    }
}

static const char *const rotatory_cases[] = {
    "B=2,T=3,L=5,R=4,D=3", "T=2,L=3,R=2;hops=3;mask,left_mask,right_mask",
    "B=2,T=1,L=2,R=3,D=2;hops=2;b_l,b_r,b_tl,b_tr", NULL};

const gallery_oracle gallery_oracle_rotatory = {.cases = rotatory_cases,
                                                .run = rotatory_oracle};
