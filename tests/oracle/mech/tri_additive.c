/* SPDX-License-Identifier: MIT
 * The additive score of every triple; values are added. Gold: identities as weights. */
#include "oracle/mech_feature.h"

typedef struct additive_sizes {
    int64_t T, S, J, D, E, A, H;
    const double *q, *k, *c, *u; /* q, k, c: hidden layers of all */
} additive_sizes;

static double additive_score(gallery_call *c, const additive_sizes *z, const double *q,
                             const double *k, const double *x, int64_t h)
{
    double s = 0;
    for (int64_t a = h * z->A / z->H; a < (h + 1) * z->A / z->H; a++)
        s += gallery_at(c, "p")[a] * tanh(q[a] + k[a] + x[a]);
    return s;
}

static void additive_row(gallery_call *c, const additive_sizes *z, int64_t b, int64_t h,
                         int64_t i)
{
    const int64_t n = z->S * z->J, E = z->E / z->H;
    const double *mask = feature_mask(c, "mask", b, z->S),
                 *c_mask = feature_mask(c, "c_mask", b, z->J);
    double *w = gallery_at(c, "weights") + ((b * z->H + h) * z->T + i) * n;
    double *allowed = gallery_new(c, n), *out = gallery_at(c, "out") + (b * z->T + i) * z->E;
    for (int64_t x = 0; x < n; x++) {
        const int64_t j = x / z->J, m = x % z->J;
        allowed[x] = (!mask || mask[j] != 0) && (!c_mask || c_mask[m] != 0);
        w[x] = additive_score(c, z, z->q + (b * z->T + i) * z->A, z->k + (b * z->S + j) * z->A,
                              z->c + (b * z->J + m) * z->A, h);
    }
    feature_softmax(w, n, 1, allowed);
    for (int64_t x = 0; x < n; x++)
        for (int64_t e = h * E; e < (h + 1) * E; e++)
            out[e] += w[x] * (gallery_at(c, "v")[(b * z->S + x / z->J) * z->E + e] +
                              z->u[(b * z->J + x % z->J) * z->E + e]);
}

static double *additive_hidden(gallery_call *c, const char *x, const char *w, char rows)
{
    return feature_linear(c, gallery_at(c, x), gallery_at(c, w), NULL,
                          gallery_size(c, 'B') * gallery_size(c, rows), gallery_size(c, 'D'),
                          gallery_size(c, 'A'));
}

static void tri_additive_oracle(gallery_call *c)
{
    const double *u = gallery_at(c, "u");
    const additive_sizes z = {.T = gallery_size(c, 'T'),
                              .S = gallery_size(c, 'S'),
                              .J = gallery_size(c, 'J'),
                              .D = gallery_size(c, 'D'),
                              .E = gallery_size(c, 'E'),
                              .A = gallery_size(c, 'A'),
                              .H = gallery_i(c, "heads"),
                              .q = additive_hidden(c, "q", "w_q", 'T'),
                              .k = additive_hidden(c, "k", "w_k", 'S'),
                              .c = additive_hidden(c, "c", "w_c", 'J'),
                              .u = u ? u : gallery_at(c, "c")};
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++)
        for (int64_t h = 0; h < z.H; h++)
            for (int64_t i = 0; i < z.T; i++) additive_row(c, &z, b, h, i);
}

static const char *const additive_cases[] = {
    "B=2,T=4,S=3,J=2,D=4,E=3,A=2",           "B=2,H=2,T=2,S=3,J=2,D=2,E=4,A=6;heads=2",
    "T=3,S=4,J=3,D=3,E=3;;u,mask",           "T=2,S=3,J=2,D=2,E=4;;c_mask",
    "T=70,S=2,J=2,D=1,E=1,A=1;;mask,c_mask", NULL};

/* clang-format off */
static const gallery_gold additive_gold[] = {
    {"B=1,T=3,S=3,J=2,D=2,E=2,A=2;;u",
     {{"q", (const double[]){1, .5, 0, 1, -1, .5}},
      {"k", (const double[]){1, 0, 0, 1, 1, 1}},
      {"v", (const double[]){1, 0, 0, 1, 2, -1}},
      {"c", (const double[]){1, 2, .5, -1}},
      {"w_q", (const double[]){1, 0, 0, 1}},
      {"w_k", (const double[]){1, 0, 0, 1}},
      {"w_c", (const double[]){1, 0, 0, 1}},
      {"p", (const double[]){1, -1}}},
     {{"out", (const double[]){1.657355, -.164541, 1.775228, .068877, 1.840894, -.175028}}}},
    {0}};
/* clang-format on */

const gallery_oracle gallery_oracle_tri_additive = {
    .cases = additive_cases, .run = tri_additive_oracle, .gold = additive_gold, .vary = "BTSJ"};
