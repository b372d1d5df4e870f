/* SPDX-License-Identifier: MIT
 * Waves by libm, added, then self-attention. Gold: the first rows of the encoding of width 4.
 */
#include "../mech_heads.h"

static void sinusoidal_oracle(gallery_call *c)
{
    const int64_t B = gallery_size(c, 'B'), T = gallery_size(c, 'T'), M = gallery_size(c, 'M');
    double *y = gallery_at(c, "encoded");
    for (int64_t at = 0; at < B * T * M; at++) {
        const int64_t m = at % M;
        const double p = (double)(gallery_i(c, "offset") + at / M % T);
        const double angle =
            p * pow(gallery_f(c, "base"), -2.0 * (double)(m / 2) / (double)(M + M % 2));
        y[at] =
            gallery_f(c, "factor") * gallery_at(c, "x")[at] + (m % 2 ? cos(angle) : sin(angle));
    }
    heads_case a = heads_self(c, y, gallery_i(c, "heads"), gallery_i(c, "heads"));
    heads_run(&a, heads_dot);
    heads_to(a.out, gallery_at(c, "w_o"), a.B, a.H, a.T, a.E, gallery_size(c, 'O'),
             gallery_at(c, "out"));
}

static const char *const sinusoidal_cases[] = {
    "B=2,T=5", "B=1,T=7,M=5;causal=true,offset=-3,factor=2.5",
    "B=1,H=1,T=3,M=2;heads=1,base=20,offset=5;mask", NULL};

static const double sinusoidal_none[64] = {0};
static const double sinusoidal_rows[] = {0,       1,       0,       1,        .841471, .540302,
                                         .010000, .999950, .909297, -.416147, .019999, .999800};
static const gallery_gold sinusoidal_gold[] = {{"T=3,M=4",
                                                {{"x", sinusoidal_none},
                                                 {"w_q", sinusoidal_none},
                                                 {"w_k", sinusoidal_none},
                                                 {"w_v", sinusoidal_none},
                                                 {"w_o", sinusoidal_none}},
                                                {{"encoded", sinusoidal_rows}}},
                                               {0}};

const gallery_oracle gallery_oracle_sinusoidal = {
    .cases = sinusoidal_cases, .run = sinusoidal_oracle, .gold = sinusoidal_gold};
