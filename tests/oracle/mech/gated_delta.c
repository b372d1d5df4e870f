/* SPDX-License-Identifier: MIT
 * The gated delta rule: a state that forgets, then learns, token by token. */
#include "linear.h"

static void gated_delta_oracle(gallery_call *c)
{
    const int64_t D = gallery_size(c, 'D');
    const double *k = gallery_at(c, "k");
    const linear_steps steps = {
        .q = gallery_at(c, "q"),
        .k = gallery_i(c, "unit_keys") ? linear_unit(c, k, linear_rows(c, 'T'), D) : k,
        .decay = gallery_at(c, "decay"),
        .beta = gallery_at(c, "beta"),
        .state = gallery_at(c, "state"),
        .final_state = gallery_at(c, "final_state"),
        .F = D,
        .delta = true,
        .scale = linear_scale(c)};
    linear_walk(c, &steps);
}

static const char *const gated_delta_cases[] = {"B=2,T=5", "T=4;scale=0.5;-beta,state",
                                                "T=3,D=4;unit_keys=false", NULL};

/* Gates 1, .8, .6 by token; their logs for both keys. */
static const double decay[] = {
    0, 0, -.22314355131420976, -.22314355131420976, -.5108256237659907, -.5108256237659907};
static const double beta[] = {.9, .5, .7};
static const double out[] = {.9, 0, 0, .5, -.851375, .449987};
static const gallery_gold gated_delta_gold[] = {
    {"B=1,H=1,T=3,D=2,E=2;scale=1",
     {LINEAR_GOLD, {"decay", decay}, {"beta", beta}},
     {{"out", out}}},
    {0}};

const gallery_oracle gallery_oracle_gated_delta = {
    .cases = gated_delta_cases, .run = gated_delta_oracle, .gold = gated_delta_gold};
