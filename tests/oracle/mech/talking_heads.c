/* SPDX-License-Identifier: MIT
 * Talking heads, one pair of query and key after the other. */
#include "../mech_heads.h"

typedef struct talking_sizes {
    int64_t B, H, K, V, T, S, D, E;
} talking_sizes;

/* The logits of head k, query i, over all keys. */
static void talking_row(gallery_call *c, const talking_sizes *z, int64_t b, int64_t k,
                        int64_t i, double *row)
{
    const double *q = gallery_at(c, "q"), *key = gallery_at(c, "k"),
                 *w = gallery_at(c, "w_logits"), *mask = gallery_at(c, "mask");
    const double scale =
        gallery_f(c, "scale") != 0 ? gallery_f(c, "scale") : 1 / sqrt((double)z->D);
    for (int64_t j = 0; j < z->S; j++) {
        row[j] = 0;
        for (int64_t h = 0; h < z->H; h++)
            row[j] += w[k * z->H + h] * scale *
                      heads_inner(q + ((b * z->H + h) * z->T + i) * z->D,
                                  key + ((b * z->H + h) * z->S + j) * z->D, z->D);
        const int late = gallery_i(c, "causal") && j > i + gallery_i(c, "offset");
        if (late || (mask && mask[b * z->S + j] == 0)) row[j] = -GALLERY_INF;
    }
    heads_softmax(row, z->S);
}

static void talking_query(gallery_call *c, const talking_sizes *z, int64_t b, int64_t i,
                          double *maps)
{
    const double *w = gallery_at(c, "w_weights"), *v = gallery_at(c, "v");
    for (int64_t k = 0; k < z->K; k++) talking_row(c, z, b, k, i, maps + k * z->S);
    for (int64_t u = 0; u < z->V; u++) {
        const int64_t row = (b * z->V + u) * z->T + i;
        double *mixed = gallery_at(c, "weights") + row * z->S;
        for (int64_t j = 0; j < z->S; j++) {
            for (int64_t k = 0; k < z->K; k++) mixed[j] += w[u * z->K + k] * maps[k * z->S + j];
            for (int64_t e = 0; e < z->E; e++)
                gallery_at(c, "out")[row * z->E + e] +=
                    mixed[j] * v[((b * z->V + u) * z->S + j) * z->E + e];
        }
    }
}

static void talking_heads_oracle(gallery_call *c)
{
    const talking_sizes z = {gallery_size(c, 'B'), gallery_size(c, 'H'), gallery_size(c, 'K'),
                             gallery_size(c, 'V'), gallery_size(c, 'T'), gallery_size(c, 'S'),
                             gallery_size(c, 'D'), gallery_size(c, 'E')};
    double *maps = gallery_new(c, z.K * z.S);
    for (int64_t b = 0; b < z.B; b++)
        for (int64_t i = 0; i < z.T; i++) talking_query(c, &z, b, i, maps);
}

static const char *const talking_heads_cases[] = {
    "B=2,T=4,S=5", "B=1,H=3,K=2,V=4,T=3,S=6,E=2;causal=true,offset=1",
    "B=2,H=1,K=1,V=1;scale=1;mask", NULL};

const gallery_oracle gallery_oracle_talking_heads = {.cases = talking_heads_cases,
                                                     .run = talking_heads_oracle};
