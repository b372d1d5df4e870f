/* SPDX-License-Identifier: MIT
 * Captions with soft attention: each word looks at the cells of a picture, and all words
 * together are asked to look at all of it.
 *
 *     a_i = softmax_j( w . tanh(w_q q_i + w_k y_j + b) )
 *     gate_i = sigmoid(w_g . q_i + b_g),  out_i = gate_i sum_j a[i][j] y_j
 *     penalty = sum_j (1 - sum_i a[i][j])^2
 *
 * q B T D are the states of the decoder before each word, y B S E the cells of a picture (14 x
 * 14 features, row by row), out B T E. penalty, per picture, is added to the loss times 1 or so
 * and makes the attention doubly stochastic; masked cells do not count. The gate is of the
 * arXiv version and needs w_g and b_g; without them it is 1. The stochastic ("hard") variant
 * samples a cell and is trained by REINFORCE: a mechanism of its own. Xu et al. 2015
 * (1502.03044). */
#include "mech/mech.h"

enum { Q, Y, W_Q, W_K, BIAS, W, W_G, B_G, MASK, OUT, WEIGHTS, GATE, PENALTY };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B T D", "decoder states"},
    [Y] = {"y", ATTN_IN | ATTN_GRAD, "B S E", "cells of the picture"},
    [W_Q] = {"w_q", ATTN_PARAM | ATTN_GRAD, "A D", "states in the score"},
    [W_K] = {"w_k", ATTN_PARAM | ATTN_GRAD, "A E", "cells in the score"},
    [BIAS] = {"b", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "A", "bias of the score"},
    [W] = {"w", ATTN_PARAM | ATTN_GRAD, "A", "score of their sum"},
    [W_G] = {"w_g", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "1 D", "states in the gate"},
    [B_G] = {"b_g", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "1", "bias of the gate"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a cell"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T E", "what each word sees"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B T S", "where it looks"},
    [GATE] = {"gate", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B T 1", "how much it sees"},
    [PENALTY] = {"penalty", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B",
                 "cells looked at too little or too much"},
    {0}};

static attn_var caption_gate(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_tensor q = attn_tape_value(t, b->in[Q]);
    if (attn__given(b->in[W_G]))
        return attn_tape_linear(t, b->in[Q], b->in[W_G], b->in[B_G], ATTN_ACT_SIGMOID);
    return attn_tape_expand(t, attn_tape_scalar(t, 1), ATTN_DIMS(q.shape[0], q.shape[1], 1));
}

static attn_var caption_penalty(const attn__build *b, attn_var a)
{
    attn_tape *t = b->t;
    const attn_var sum = attn_tape_sum(t, a, ATTN_DIMS(1), false);
    const attn_var miss = attn_tape_add_scalar(t, sum, -1);
    attn_var cost = attn_tape_mul(t, miss, miss);
    if (attn__given(b->in[MASK]))
        cost = attn_tape_where(t, b->in[MASK], cost, attn_tape_scalar(t, 0));
    return attn_tape_sum(t, cost, ATTN_DIMS(1), false);
}

static void show_attend_tell_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0};
    const attn_var y = attn__mask_rows(t, in[Y], in[MASK]);
    const attn_var q = attn_tape_linear(t, in[Q], in[W_Q], none, ATTN_ACT_NONE);
    const attn_var k = attn_tape_linear(t, y, in[W_K], in[BIAS], ATTN_ACT_NONE);
    const attn_var a =
        attn__rows_softmax(t, attn_tape_additive_scores(t, q, k, in[W]), in[MASK]);
    b->out[WEIGHTS] = a;
    b->out[GATE] = caption_gate(b);
    b->out[OUT] = attn_tape_mul(t, attn_tape_matmul(t, a, y), b->out[GATE]);
    if (b->wanted[PENALTY]) b->out[PENALTY] = caption_penalty(b, a);
}

const attn_mech attn__mech_show_attend_tell = {
    .name = "show_attend_tell",
    .family = "task",
    .about = "captions: each word looks at the cells of a picture, all words at all cells",
    .formula = "a = softmax(w . tanh(w_q q + w_k y + b)), out = sigmoid(w_g . q + b_g) a y, "
               "penalty = sum_j (1 - sum_i a_ij)^2",
    .cost = "n^2: time T S (A + E), memory T (S + A)",
    .source = "1502.03044",
    .sizes = "B=1,T=4,S=9,D=4,E=3,A=5",
    .grows = "TS",
    .slots = slots,
    .params = attn__no_params,
    .traits =
        ATTN_KEY_PERMUTABLE | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_CAUSAL | ATTN_STEPS,
    .build = show_attend_tell_build,
};
