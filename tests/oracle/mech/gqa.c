/* SPDX-License-Identifier: MIT
 * Grouped queries: head h reads the key and value head floor(h G / H). */
#include "../mech_heads.h"

static void gqa_oracle(gallery_call *c)
{
    heads_case a =
        heads_self(c, gallery_at(c, "x"), gallery_i(c, "heads"), gallery_i(c, "kv_heads"));
    heads_run(&a, heads_dot);
    heads_to(a.out, gallery_at(c, "w_o"), a.B, a.H, a.T, a.E, gallery_size(c, 'O'),
             gallery_at(c, "out"));
}

static const char *const gqa_cases[] = {"B=2,T=5",
                                        "B=2,H=6,T=4,A=12,K=6,P=9,Z=18;heads=6,kv_heads=3",
                                        "B=1,H=4,K=2,P=3;kv_heads=1,causal=false;mask",
                                        "B=1,H=4,K=8,P=8,Z=8,T=3;kv_heads=4;mask", NULL};

const gallery_oracle gallery_oracle_gqa = {.cases = gqa_cases, .run = gqa_oracle};
