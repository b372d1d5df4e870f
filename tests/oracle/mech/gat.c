/* SPDX-License-Identifier: MIT
 * Graph attention, edge by edge. */
#include "oracle/mech_graph.h"

static void gat_oracle(gallery_call *c)
{
    const int64_t T = gallery_size(c, 'T'), D = gallery_size(c, 'D'), H = gallery_size(c, 'H'),
                  F = gallery_size(c, 'F');
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) {
        const double *x = loops_linear(c, gallery_at(c, "x") + b * T * D, gallery_at(c, "w"),
                                       NULL, T, D, H * F);
        for (int64_t h = 0; h < H; h++) {
            double *weights = gallery_at(c, "weights") + (b * H + h) * T * T;
            for (int64_t e = 0; e < T * T; e++)
                weights[e] = graph_leaky(
                    c,
                    loops_dot(gallery_at(c, "w_to") + h * F, x + (e / T * H + h) * F, F) +
                        loops_dot(gallery_at(c, "w_from") + h * F, x + (e % T * H + h) * F, F));
            graph_sum(c, b, h, x);
        }
    }
}

static const char *const gat_cases[] = {"B=2,T=5", "T=7,H=1,F=4,A=4;self_loops=false",
                                        "B=2,T=4,H=3,F=2,A=6;slope=0.1", NULL};

const gallery_oracle gallery_oracle_gat = {.cases = gat_cases, .run = gat_oracle};
