/* SPDX-License-Identifier: MIT
 * The delta rule: a state stepped on token by token. */
#include "linear.h"

static void delta_oracle(gallery_call *c)
{
    const int64_t D = gallery_size(c, 'D');
    const double *k = gallery_at(c, "k");
    const linear_steps steps = {
        .q = gallery_at(c, "q"),
        .k = gallery_i(c, "unit_keys") ? linear_unit(c, k, linear_rows(c, 'T'), D) : k,
        .beta = gallery_at(c, "beta"),
        .state = gallery_at(c, "state"),
        .final_state = gallery_at(c, "final_state"),
        .F = D,
        .delta = true,
        .scale = linear_scale(c)};
    linear_walk(c, &steps);
}

static void delta_prepare(gallery_call *c, test_rng *rng)
{
    (void)rng;
    linear_fold(c, "beta", 0.4, 0);
    if (!gallery_i(c, "unit_keys")) linear_fold(c, "k", 0.4, 0.1);
}

static const char *const delta_cases[] = {"B=2,T=7", "T=5;scale=0.5;-beta,state",
                                          "T=5,D=4;unit_keys=false", NULL};

static const double beta[] = {.9, .5, .7};
static const double out[] = {.9, 0, 0, .5, -1.237475, .584987};
static const gallery_gold delta_gold[] = {
    {"B=1,H=1,T=3,D=2,E=2;scale=1", {LINEAR_GOLD, {"beta", beta}}, {{"out", out}}}, {0}};

const gallery_oracle gallery_oracle_delta = {
    .cases = delta_cases, .run = delta_oracle, .prepare = delta_prepare, .gold = delta_gold};
