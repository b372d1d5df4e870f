/* SPDX-License-Identifier: MIT
 * Relative position representations: a learned vector for every clipped distance joins the key,
 * and another one the value.
 *
 *     r = clip(j - p_i, -R, R) + R
 *     score_ij = q_i . (k_j + rel_k[r]) / sqrt(D);   out_i = sum_j a_ij (v_j + rel_v[r])
 *
 * q B H T D, k B G S D, v B G S E; rel_k L 2R+1 D and rel_v L 2R+1 E have a table for each head
 * (L = H), or one for all, as in the paper (L = 1). Query i stands at p_i = i + offset, key j
 * at j. Only distances count: moving all positions changes nothing, and beyond R all are alike.
 * Fused: q . rel_k is worked out once a query for all 2R + 1 distances, and the weights are
 * summed by distance before they meet rel_v, so nothing of size T x S is kept. Music
 * Transformer's relative scores are the case without rel_v. Shaw, Uszkoreit, Vaswani 2018
 * (1803.02155). */
#include "mech/mech.h"

enum { Q, K, V, REL_K, REL_V, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B H T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B G S D", "keys; G divides H"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B G S E", "values"},
    [REL_K] = {"rel_k", ATTN_PARAM | ATTN_GRAD, "L 2R+1 D", "joins keys; L is H or 1"},
    [REL_V] = {"rel_v", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "L 2R+1 E", "joins values"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B H T E", "answers"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B H T S", "of every head"},
    {0}};

enum { CAUSAL, OFFSET };
static const attn_param params[] = {
    [CAUSAL] = {"causal", 'b', "false", NULL, "keys up to the query's position"},
    [OFFSET] = {"offset", 'i', "0", NULL, "position of query 0 among the keys"},
    {0}};

static void shaw_build(const attn__build *b)
{
    const attn_var *in = b->in;
    const attn_spec spec = ATTN_SPEC(.causal = b->params[CAUSAL].i, .align = ATTN_ALIGN_OFFSET,
                                     .offset = b->params[OFFSET].i);
    const attn_attention_vars vars = {.q = in[Q],
                                      .k = in[K],
                                      .v = in[V],
                                      .rel_k = attn__heads_tables(b, in[REL_K], "rel_k"),
                                      .rel_v = attn__heads_tables(b, in[REL_V], "rel_v")};
    b->out[OUT] = attn__attend(b->t, &spec, &vars, in[MASK], attn__build_output(b, WEIGHTS));
}

const attn_mech attn__mech_shaw = {
    .name = "shaw",
    .family = "position",
    .about = "learned vectors of clipped distances join keys and values",
    .formula = "softmax(q_i . (k_j + rel_k[clip(j - i)]) / sqrt(D)) (v_j + rel_v[clip(j - i)])",
    .cost = "n^2: time T S (D + E) + T R (D + E), memory T",
    .source = "1803.02155",
    .sizes = "B=1,H=2,G=2,T=6,S=6,D=4,E=4,L=2,R=2",
    .grows = "TS",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = shaw_build,
};
