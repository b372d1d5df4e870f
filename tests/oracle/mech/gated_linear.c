/* SPDX-License-Identifier: MIT
 * Gated linear attention: a state stepped on token by token. */
#include "linear.h"

static void gated_linear_oracle(gallery_call *c)
{
    const linear_steps steps = {.q = gallery_at(c, "q"),
                                .k = gallery_at(c, "k"),
                                .decay = gallery_at(c, "decay"),
                                .state = gallery_at(c, "state"),
                                .final_state = gallery_at(c, "final_state"),
                                .F = gallery_size(c, 'D'),
                                .scale = linear_scale(c)};
    linear_walk(c, &steps);
}

static const char *const gated_linear_cases[] = {"B=2,T=7", "T=5,D=5;scale=0.5;-state", NULL};

const gallery_oracle gallery_oracle_gated_linear = {.cases = gated_linear_cases,
                                                    .run = gated_linear_oracle};
