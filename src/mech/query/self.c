/* SPDX-License-Identifier: MIT
 * Self-attention with projections: a sequence asks itself, in H heads.
 *
 *     q = x w_q^T, k = x w_k^T, v = x w_v^T   split into heads of A/H and P/H features
 *     out = concat_h( softmax(q_h k_h^T / sqrt(A/H)) v_h ) w_o^T
 *
 * x B T M; weights are out x in, as every linear layer here. causal: position t sees 0 .. t,
 * which is masked self-attention, the decoder's; then row 0 of a head is its first value, and
 * the first rows are what they are without the later ones. mask B T hides padding; with every
 * key hidden a row is 0. Vaswani et al. 2017 (1706.03762). */
#include "mech/mech.h"

enum { X, W_Q, W_K, W_V, W_O, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T M", "asks itself"},
    [W_Q] = {"w_q", ATTN_PARAM | ATTN_GRAD, "A M", "queries"},
    [W_K] = {"w_k", ATTN_PARAM | ATTN_GRAD, "A M", "keys"},
    [W_V] = {"w_v", ATTN_PARAM | ATTN_GRAD, "P M", "values"},
    [W_O] = {"w_o", ATTN_PARAM | ATTN_GRAD, "O P", "heads to output"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T O", "answers"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B H T T", "of every head"},
    {0}};

enum { HEADS, CAUSAL };
static const attn_param params[] = {
    [HEADS] = {"heads", 'i', "2", NULL, "they share the features of w_q, w_k and w_v evenly",
               'H'},
    [CAUSAL] = {"causal", 'b', "false", NULL, "a position sees itself and what came before"},
    {0}};

static void self_build(const attn__build *b)
{
    const attn_var x = b->in[X];
    const attn_spec spec = ATTN_SPEC(.causal = b->params[CAUSAL].i);
    b->out[OUT] = attn__attend_projected(
        b, &spec, &(attn__asking){x, x, b->in[MASK], .w_q = W_Q, .weights = WEIGHTS});
}

const attn_mech attn__mech_self = {
    .name = "self",
    .family = "query",
    .about = "a sequence attends to itself, in heads",
    .formula = "out = concat_h(softmax(q_h k_h^T / sqrt(A/H)) v_h) w_o^T, q k v from x",
    .cost = "n^2: time T^2 (A + P), memory T (A + P)",
    .source = "1706.03762",
    .sizes = "B=1,H=2,T=6,M=4,A=4,P=8,O=4",
    .grows = "T",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS | ATTN_CAUSAL | ATTN_STEPS,
    .build = self_build,
};
