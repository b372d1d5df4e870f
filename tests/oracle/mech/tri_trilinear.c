/* SPDX-License-Identifier: MIT
 * The trilinear form summed over its whole core. */
#include "oracle/mech_tri.h"

static double trilinear_score(gallery_call *c, const double *q, const double *k,
                              const double *x, int64_t n)
{
    const double *core = gallery_at(c, "core");
    double sum = 0;
    if (!core) return tri_dot_score(c, q, k, x, n);
    for (int64_t r = 0; r < n; r++)
        for (int64_t s = 0; s < n; s++)
            for (int64_t t = 0; t < n; t++)
                sum += core[(r * n + s) * n + t] * q[r] * k[s] * x[t];
    return sum;
}

static double *trilinear_project(gallery_call *c, const char *x, const char *w, char rows,
                                 char to)
{
    return feature_linear(c, gallery_at(c, x), gallery_at(c, w), NULL,
                          gallery_size(c, 'B') * gallery_size(c, rows), gallery_size(c, 'D'),
                          gallery_size(c, to));
}

static void tri_trilinear_oracle(gallery_call *c)
{
    const tri_case z = {.B = gallery_size(c, 'B'),
                        .T = gallery_size(c, 'T'),
                        .S = gallery_size(c, 'S'),
                        .J = gallery_size(c, 'J'),
                        .H = gallery_i(c, "heads"),
                        .D = gallery_size(c, 'R'),
                        .E = gallery_size(c, 'E'),
                        .q = trilinear_project(c, "q", "w_q", 'T', 'R'),
                        .k = trilinear_project(c, "k", "w_k", 'S', 'R'),
                        .c = trilinear_project(c, "c", "w_c", 'J', 'R'),
                        .v = trilinear_project(c, "v", "w_v", 'S', 'E'),
                        .u = trilinear_project(c, "c", "w_u", 'J', 'E'),
                        .score = trilinear_score,
                        .scale = gallery_f(c, "scale")};
    tri_all(c, &z);
}

static const char *const trilinear_cases[] = {
    "B=2,H=1,T=3,S=4,J=2,D=3,R=2,E=3;scale=.25",
    "H=2,T=3,S=3,J=3,D=2,R=4,E=6;heads=2;core,mask",
    "B=2,T=2,S=3,J=2,D=3,R=3,E=2;scale=.5;c_mask,core", NULL};

const gallery_oracle gallery_oracle_tri_trilinear = {
    .cases = trilinear_cases, .run = tri_trilinear_oracle, .vary = "BTSJ"};
