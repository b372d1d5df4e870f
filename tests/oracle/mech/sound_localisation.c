/* SPDX-License-Identifier: MIT
 * Cosines of a sound and every cell of a picture. */
#include "oracle/mech_loops.h"

static double localisation_cosine(const double *x, const double *y, int64_t D, int64_t step)
{
    double xy = 0, xx = 0, yy = 0;
    for (int64_t d = 0; d < D; d++) {
        xy += x[d] * y[d * step];
        xx += x[d] * x[d], yy += y[d * step] * y[d * step];
    }
    return xx == 0 || yy == 0 ? 0 : xy / sqrt(xx) / sqrt(yy);
}

static double localisation_score(gallery_call *c, const double *map, const double *weights,
                                 int64_t n)
{
    double top = -GALLERY_INF, soft = 0, mean = 0;
    for (int64_t i = 0; i < n; i++) {
        top = fmax(top, map[i]);
        soft += weights[i] * map[i];
        mean += map[i] / (double)n;
    }
    return gallery_i(c, "pool") == 0 ? top : gallery_i(c, "pool") == 1 ? soft : mean;
}

static void sound_localisation_oracle(gallery_call *c)
{
    const int64_t D = gallery_size(c, 'D'), n = gallery_size(c, 'Y') * gallery_size(c, 'X');
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) {
        double *map = gallery_at(c, "out") + b * n, *weights = gallery_at(c, "weights") + b * n;
        for (int64_t i = 0; i < n; i++)
            weights[i] = map[i] = gallery_f(c, "scale") *
                                  localisation_cosine(gallery_at(c, "x") + b * D,
                                                      gallery_at(c, "y") + b * D * n + i, D, n);
        loops_softmax(weights, NULL, n);
        gallery_at(c, "score")[b] = localisation_score(c, map, weights, n);
    }
}

static const char *const sound_localisation_cases[] = {
    "B=2", "D=3,Y=2,X=4;pool=softmax,scale=5", "B=2,D=7;pool=mean", NULL};

const gallery_oracle gallery_oracle_sound_localisation = {.cases = sound_localisation_cases,
                                                          .run = sound_localisation_oracle};
