/* SPDX-License-Identifier: MIT
 * Cross attention with projections: one sequence asks, another answers, in H heads.
 *
 *     q = x w_q^T, k = y w_k^T, v = y w_v^T   split into heads of A/H and P/H features
 *     out = concat_h( softmax(q_h k_h^T / sqrt(A/H)) v_h ) w_o^T
 *
 * x B T M, y B S N; weights are out x in, as every linear layer here. mask B S hides keys.
 * Vaswani et al. 2017 (1706.03762). Bahdanau's encoder-decoder attention has the same data flow
 * with additive scores (see additive). */
#include "mech/mech.h"

enum { X, Y, W_Q, W_K, W_V, W_O, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T M", "who asks"},
    [Y] = {"y", ATTN_IN | ATTN_GRAD, "B S N", "who is asked"},
    [W_Q] = {"w_q", ATTN_PARAM | ATTN_GRAD, "A M", "queries"},
    [W_K] = {"w_k", ATTN_PARAM | ATTN_GRAD, "A N", "keys"},
    [W_V] = {"w_v", ATTN_PARAM | ATTN_GRAD, "P N", "values"},
    [W_O] = {"w_o", ATTN_PARAM | ATTN_GRAD, "O P", "heads to output"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T O", "answers"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B H T S", "of every head"},
    {0}};

enum { HEADS };
static const attn_param params[] = {
    [HEADS] = {"heads", 'i', "2", NULL, "they share the features of w_q, w_k and w_v evenly",
               'H'},
    {0}};

static void cross_build(const attn__build *b)
{
    const attn_var *in = b->in;
    const attn_var y = attn__mask_rows(b->t, in[Y], in[MASK]);
    b->out[OUT] = attn__attend_projected(
        b, NULL, &(attn__asking){in[X], y, in[MASK], .w_q = W_Q, .weights = WEIGHTS});
}

const attn_mech attn__mech_cross = {
    .name = "cross",
    .family = "query",
    .about = "one sequence attends to another, in heads",
    .formula = "out = concat_h(softmax(q_h k_h^T / sqrt(A/H)) v_h) w_o^T",
    .cost = "n^2: time T S (A + P), memory T (A + P)",
    .source = "1706.03762",
    .sizes = "B=1,H=2,T=5,S=6,M=4,N=6,A=4,P=8,O=4",
    .grows = "TS",
    .slots = slots,
    .params = params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = cross_build,
};
