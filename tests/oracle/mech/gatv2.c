/* SPDX-License-Identifier: MIT
 * Graph attention of the second kind, edge by edge. */
#include "oracle/mech_graph.h"

static void gatv2_oracle(gallery_call *c)
{
    const int64_t T = gallery_size(c, 'T'), D = gallery_size(c, 'D'), H = gallery_size(c, 'H'),
                  F = gallery_size(c, 'F'), A = H * F;
    for (int64_t b = 0; b < gallery_size(c, 'B'); b++) {
        const double *x = gallery_at(c, "x") + b * T * D;
        const double *q = loops_linear(c, x, gallery_at(c, "w_to"), NULL, T, D, A);
        const double *k = loops_linear(c, x, gallery_at(c, "w_from"), NULL, T, D, A);
        for (int64_t h = 0; h < H; h++) {
            double *weights = gallery_at(c, "weights") + (b * H + h) * T * T;
            for (int64_t e = 0; e < T * T; e++)
                for (int64_t f = h * F; f < (h + 1) * F; f++)
                    weights[e] += gallery_at(c, "w")[f] *
                                  graph_leaky(c, q[e / T * A + f] + k[e % T * A + f]);
            graph_sum(c, b, h, k);
        }
    }
}

static const char *const gatv2_cases[] = {"B=2,T=5", "T=7,H=1,F=4,A=4;self_loops=false",
                                          "B=2,T=4,H=3,F=2,A=6;slope=0.1", NULL};

const gallery_oracle gallery_oracle_gatv2 = {.cases = gatv2_cases, .run = gatv2_oracle};
