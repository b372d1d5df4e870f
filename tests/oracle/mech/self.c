/* SPDX-License-Identifier: MIT
 * Self-attention by its definition. Gold: the scaled and causal rows of the three tokens G1,
 * with projections that pick queries, keys and values out of x = [q k v]. */
#include "../mech_heads.h"

static void self_oracle(gallery_call *c)
{
    heads_case a =
        heads_self(c, gallery_at(c, "x"), gallery_i(c, "heads"), gallery_i(c, "heads"));
    heads_run(&a, heads_dot);
    heads_to(a.out, gallery_at(c, "w_o"), a.B, a.H, a.T, a.E, gallery_size(c, 'O'),
             gallery_at(c, "out"));
}

static const char *const self_cases[] = {"B=2,T=5", "B=2,T=7;causal=true",
                                         "B=1,H=1,T=3,O=3;heads=1;mask",
                                         "B=2,H=4,T=4;heads=4,causal=true;mask", NULL};

static const double self_x[] = {1, .5, 1, 0, 1, 0, 0, 1, 0, 1, 0, 1, -1, .5, 1, 1, 2, -1};
static const double self_w_q[] = {1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0};
static const double self_w_k[] = {0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0};
static const double self_w_v[] = {0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1};
static const double self_eye[] = {1, 0, 0, 1};
static const double self_full[] = {1.230921, -.230921, 1, 0, .724388, .275612};
static const double self_causal[] = {1, 0, .330238, .669762, .724388, .275612};
#define SELF_GOLD_IN                                                                           \
    {                                                                                          \
        {"x", self_x}, {"w_q", self_w_q}, {"w_k", self_w_k}, {"w_v", self_w_v},                \
        {                                                                                      \
            "w_o", self_eye                                                                    \
        }                                                                                      \
    }
static const gallery_gold self_gold[] = {
    {"T=3,M=6,A=2,P=2,O=2,H=1;heads=1", SELF_GOLD_IN, {{"out", self_full}}},
    {"T=3,M=6,A=2,P=2,O=2,H=1;heads=1,causal=true", SELF_GOLD_IN, {{"out", self_causal}}},
    {0}};

const gallery_oracle gallery_oracle_self = {
    .cases = self_cases, .run = self_oracle, .gold = self_gold};
