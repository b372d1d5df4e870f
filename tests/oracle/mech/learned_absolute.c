/* SPDX-License-Identifier: MIT
 * A table's rows, added, then self-attention. */
#include "../mech_heads.h"

static void learned_absolute_oracle(gallery_call *c)
{
    const int64_t B = gallery_size(c, 'B'), T = gallery_size(c, 'T'), M = gallery_size(c, 'M');
    const double *positions = gallery_at(c, "positions");
    double *y = gallery_at(c, "encoded");
    for (int64_t at = 0; at < B * T * M; at++) {
        const int64_t row = at / M, p = positions ? (int64_t)positions[row]
                                                  : gallery_i(c, "offset") + row % T;
        if (p >= gallery_size(c, 'N')) return; /* refused */
        y[at] = gallery_at(c, "x")[at] + gallery_at(c, "table")[p * M + at % M];
    }
    heads_case a = heads_self(c, y, gallery_i(c, "heads"), gallery_i(c, "heads"));
    heads_run(&a, heads_dot);
    heads_to(a.out, gallery_at(c, "w_o"), a.B, a.H, a.T, a.E, gallery_size(c, 'O'),
             gallery_at(c, "out"));
}

static const char *const learned_absolute_cases[] = {
    "B=2,T=5,N=7", "B=1,T=6;causal=true,offset=3;positions",
    "B=2,H=1,T=3;heads=1;mask,positions", NULL};

const gallery_oracle gallery_oracle_learned_absolute = {
    .cases = learned_absolute_cases, .vary = "BT", .run = learned_absolute_oracle};
