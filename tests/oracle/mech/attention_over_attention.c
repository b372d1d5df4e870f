/* SPDX-License-Identifier: MIT
 * One matrix of scores, normalised along both of its sides. Gold: three words of document, two
 * of question. */
#include "oracle/mech_feature.h"

typedef struct aoa_sizes {
    int64_t T, S, D, C;
} aoa_sizes;

static void aoa_scores(const aoa_sizes *z, const double *x, const double *y, double *m)
{
    for (int64_t i = 0; i < z->T; i++)
        for (int64_t j = 0; j < z->S; j++)
            m[i * z->S + j] = feature_dot(x + i * z->D, y + j * z->D, z->D);
}

static void aoa_answer(gallery_call *c, const aoa_sizes *z, int64_t b, const double *out)
{
    const double *words = gallery_at(c, "words"), *candidates = gallery_at(c, "candidates");
    double *answer = gallery_at(c, "answer") + b * z->C;
    for (int64_t k = 0; words && candidates && k < z->C; k++)
        for (int64_t i = 0; i < z->T; i++)
            if (words[b * z->T + i] == candidates[b * z->C + k]) answer[k] += out[i];
}

static void aoa_one(gallery_call *c, const aoa_sizes *z, int64_t b, const double *x,
                    const double *y)
{
    const double *mask = feature_mask(c, "mask", b, z->S),
                 *x_mask = feature_mask(c, "x_mask", b, z->T);
    double *alpha = gallery_at(c, "weights") + b * z->T * z->S;
    double *beta = gallery_new(c, z->T * z->S);
    double *mean = gallery_at(c, "y_weights") + b * z->S,
           *out = gallery_at(c, "out") + b * z->T;
    aoa_scores(z, x, y, alpha);
    aoa_scores(z, x, y, beta);
    for (int64_t i = 0; i < z->T; i++) feature_softmax(beta + i * z->S, z->S, 1, mask);
    feature_mean(mean, beta, x_mask, z->T, z->S);
    for (int64_t j = 0; j < z->S; j++) {
        feature_softmax(alpha + j, z->T, z->S, x_mask);
        for (int64_t i = 0; i < z->T; i++) {
            if (mask && mask[j] == 0) alpha[i * z->S + j] = 0;
            out[i] += alpha[i * z->S + j] * mean[j];
        }
    }
    feature_pool(gallery_at(c, "pooled") + b * z->D, out, x, z->T, z->D);
    aoa_answer(c, z, b, out);
}

static void attention_over_attention_oracle(gallery_call *c)
{
    const aoa_sizes z = {gallery_size(c, 'T'), gallery_size(c, 'S'), gallery_size(c, 'D'),
                         gallery_size(c, 'C')};
    const int64_t B = gallery_size(c, 'B');
    const double *x = feature_rows(c, "x", "x_mask", B * z.T, z.D);
    const double *y = feature_rows(c, "y", "mask", B * z.S, z.D);
    for (int64_t b = 0; b < B; b++) aoa_one(c, &z, b, x + b * z.T * z.D, y + b * z.S * z.D);
}

static const char *const aoa_cases[] = {
    "B=2,T=5,S=4,D=3,C=6", "T=4,S=3;;mask,x_mask", "B=2,T=3,S=4;;x_mask,words,answer",
    "T=70,S=3,D=2;;mask",  "T=3,S=70,D=2;;x_mask", NULL};

/* clang-format off */
static const gallery_gold aoa_gold[] = {
    {"B=1,T=3,S=2,D=2,C=1;;answer",
     {{"x", (const double[]){1, 0, 0, 1, 1, 1}},
      {"y", (const double[]){1, .5, -1, 1}}},
     {{"out", (const double[]){.240303, .333844, .425853}}}},
    {0}};
/* clang-format on */

const gallery_oracle gallery_oracle_attention_over_attention = {
    .cases = aoa_cases, .run = attention_over_attention_oracle, .gold = aoa_gold};
