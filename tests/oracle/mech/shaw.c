/* SPDX-License-Identifier: MIT
 * Shaw's relative vectors, pair by pair. */
#include "../mech_heads.h"

static int64_t shaw_row(const heads_case *a, int64_t i, int64_t j)
{
    const int64_t R = gallery_size(a->c, 'R'), d = j - i - a->offset;
    return (d < -R ? -R : d > R ? R : d) + R;
}

static int64_t shaw_table(const heads_case *a, int64_t h)
{
    return gallery_size(a->c, 'L') == 1 ? 0 : h;
}

static double shaw_score(const heads_case *a, int64_t b, int64_t h, int64_t i, int64_t j)
{
    const int64_t rows = 2 * gallery_size(a->c, 'R') + 1;
    const double *rel =
        gallery_at(a->c, "rel_k") + (shaw_table(a, h) * rows + shaw_row(a, i, j)) * a->D;
    return heads_dot(a, b, h, i, j) + a->scale * heads_inner(heads_q(a, b, h, i), rel, a->D);
}

static void shaw_oracle(gallery_call *c)
{
    heads_case a = heads_given(c);
    const int64_t rows = 2 * gallery_size(c, 'R') + 1;
    const double *rel = gallery_at(c, "rel_v");
    heads_run(&a, shaw_score);
    for (int64_t row = 0; rel && row < a.B * a.H * a.T; row++)
        for (int64_t j = 0; j < a.S; j++)
            for (int64_t e = 0; e < a.E; e++)
                a.out[row * a.E + e] +=
                    a.weights[row * a.S + j] *
                    rel[(shaw_table(&a, row / a.T % a.H) * rows + shaw_row(&a, row % a.T, j)) *
                            a.E +
                        e];
}

static const char *const shaw_cases[] = {"B=2,T=5,S=7",
                                         "B=1,H=4,T=6,S=6,R=3,L=1;causal=true;mask",
                                         "B=2,H=1,G=1,L=1,T=3,S=5,R=1;offset=2;rel_v", NULL};

const gallery_oracle gallery_oracle_shaw = {.cases = shaw_cases, .run = shaw_oracle};
