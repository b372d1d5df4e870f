/* SPDX-License-Identifier: MIT
 * Capsules, one class after the other, and the two hinges of their loss. */
#include "../mech_heads.h"

static void capsule_class(gallery_call *c, int64_t b, int64_t i)
{
    const int64_t S = gallery_size(c, 'S'), D = gallery_size(c, 'D'), C = gallery_size(c, 'C');
    const double *x = gallery_at(c, "x") + b * S * D, *mask = gallery_at(c, "mask");
    double *a = gallery_at(c, "weights") + (b * C + i) * S,
           *v = gallery_at(c, "out") + (b * C + i) * D;
    for (int64_t t = 0; t < S; t++)
        a[t] = mask && mask[b * S + t] == 0
                   ? -GALLERY_INF
                   : heads_inner(x + t * D, gallery_at(c, "w") + i * D, D);
    heads_softmax(a, S);
    for (int64_t t = 0; t < S; t++)
        for (int64_t d = 0; d < D; d++) v[d] += a[t] * x[t * D + d];
    const double z = heads_inner(gallery_at(c, "w_p") + i * D, v, D) + gallery_at(c, "b_p")[i];
    const double p = 1 / (1 + exp(-z));
    gallery_at(c, "probability")[b * C + i] = p;
    for (int64_t d = 0; d < D; d++) v[d] *= p;
}

/* s . r for the mean s of what is not hidden. */
static double capsule_near(const gallery_call *c, int64_t b, const double *r)
{
    const int64_t S = gallery_size(c, 'S'), D = gallery_size(c, 'D');
    const double *mask = gallery_at(c, "mask");
    double sum = 0, n = 0;
    for (int64_t t = 0; t < S; t++) {
        if (mask && mask[b * S + t] == 0) continue;
        sum += heads_inner(gallery_at(c, "x") + (b * S + t) * D, r, D);
        n++;
    }
    return n > 0 ? sum / n : 0;
}

static void capsule_oracle(gallery_call *c)
{
    const int64_t C = gallery_size(c, 'C'), D = gallery_size(c, 'D');
    const double *target = gallery_at(c, "target");
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) {
        double p = 1, near = 1;
        for (int64_t i = 0; i < C; i++) {
            const double y = target && (int64_t)target[b] == i ? -1 : 1;
            capsule_class(c, b, i);
            p += y * gallery_at(c, "probability")[b * C + i];
            near += y * capsule_near(c, b, gallery_at(c, "out") + (b * C + i) * D);
        }
        gallery_at(c, "loss")[b] = fmax(0, p) + fmax(0, near);
    }
}

static const char *const capsule_cases[] = {"B=2,S=5", "B=3,S=7,D=3,C=2;;mask",
                                            "B=2,S=4,C=1;;target,loss", NULL};

const gallery_oracle gallery_oracle_capsule = {.cases = capsule_cases, .run = capsule_oracle};
