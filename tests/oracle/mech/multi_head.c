/* SPDX-License-Identifier: MIT
 * Multi-head attention on given features. Gold: G0 as one head. */
#include "../mech_heads.h"

static double multi_head_gate(const gallery_call *c, int64_t b, int64_t h, int64_t heads)
{
    const double *gate = gallery_at(c, "gate");
    if (!gate) return 1;
    double sum = 0;
    for (int64_t i = 0; i < heads; i++) sum += gate[b * heads + i];
    if (!gallery_i(c, "rescale") || sum == 0) return gate[b * heads + h];
    return gate[b * heads + h] * (double)heads / sum;
}

static void multi_head_oracle(gallery_call *c)
{
    const int64_t B = gallery_size(c, 'B'), T = gallery_size(c, 'T'), S = gallery_size(c, 'S'),
                  A = gallery_size(c, 'A'), P = gallery_size(c, 'P'), H = gallery_i(c, "heads");
    heads_case a = {.B = B, .H = H, .G = H, .T = T, .S = S, .D = A / H, .E = P / H};
    a.q = heads_from(c, gallery_at(c, "q"), NULL, B, T, A, H, a.D);
    a.k = heads_from(c, gallery_at(c, "k"), NULL, B, S, A, H, a.D);
    a.v = heads_from(c, gallery_at(c, "v"), NULL, B, S, P, H, a.E);
    a.mask = gallery_at(c, "mask");
    a.scale = 1 / sqrt((double)a.D);
    a.causal = gallery_i(c, "causal"), a.offset = gallery_i(c, "offset");
    a.out = gallery_new(c, B * H * T * a.E), a.weights = gallery_at(c, "weights");
    heads_run(&a, heads_dot);
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t x = 0; x < T * a.E; x++)
                a.out[(b * H + h) * T * a.E + x] *= multi_head_gate(c, b, h, H);
    heads_to(a.out, gallery_at(c, "w_o"), B, H, T, a.E, gallery_size(c, 'O'),
             gallery_at(c, "out"));
}

/* Gates as they are used: none near a sum of 0, where rescaling jumps. */
static void multi_head_prepare(gallery_call *c, test_rng *rng)
{
    double *gate = gallery_at(c, "gate");
    for (int64_t i = 0; gate && i < c->count[attn_mech_slot(c->mech, "gate")]; i++)
        gate[i] = (double)test_rng_range(rng, 2, 20) / 16;
}

static const char *const multi_head_cases[] = {
    "B=2,T=5,S=7", "B=2,H=3,T=4,S=5,A=6,P=9;heads=3,rescale=true", "B=1,H=1;heads=1;mask,gate",
    "B=2,T=4,S=6;causal=true,offset=2;gate", NULL};

static const double multi_head_q[] = {1, .5};
static const double multi_head_k[] = {1, 0, 0, 1, 1, 1, -1, .5};
static const double multi_head_v[] = {1, 0, 0, 1, 2, 2, -1, 1};
static const double multi_head_eye[] = {1, 0, 0, 1};
static const double multi_head_out[] = {1.041469, 1.124141};
static const double multi_head_weights[] = {.292703, .205533, .416844, .084921};
static const gallery_gold multi_head_gold[] = {
    {"T=1,S=4,A=2,P=2,O=2,H=1;heads=1",
     {{"q", multi_head_q}, {"k", multi_head_k}, {"v", multi_head_v}, {"w_o", multi_head_eye}},
     {{"out", multi_head_out}, {"weights", multi_head_weights}}},
    {0}};

const gallery_oracle gallery_oracle_multi_head = {.cases = multi_head_cases,
                                                  .run = multi_head_oracle,
                                                  .prepare = multi_head_prepare,
                                                  .gold = multi_head_gold};
