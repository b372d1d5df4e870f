/* SPDX-License-Identifier: MIT
 * Attention on the states of a recurrent network: a bidirectional GRU reads, and what counts of
 * its states is summed. The workhorse of classification.
 *
 *     states = [GRU forward, GRU backward](x)
 *     weights = softmax_j( w . tanh(w_a states_j + b_a) ),  out = sum_j weights_j states_j
 *
 * x B S I, states B S 2R, out B 2R. w is the learned query ("what is informative here?"). The
 * cells are tape's GRU, gates r z n, the reset gate after w_h. mask hides padding: states pass
 * it unchanged and it has no weight, so the backward direction begins at the last true step; a
 * sequence of padding only gives 0. Yang et al. 2016 (HAN, N16-1174) use one for words and one
 * for sentences; Zhou et al. 2016 (P16-2034) the same for relations. */
#include "mech/mech.h"

enum { X, W_X, W_H, B_X, B_H, V_X, V_H, C_X, C_H, W_A, B_A, W, MASK, OUT, WEIGHTS, STATES };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B S I", "a sequence"},
    [W_X] = {"w_x", ATTN_PARAM | ATTN_GRAD, "3R I", "forward: inputs to gates r z n"},
    [W_H] = {"w_h", ATTN_PARAM | ATTN_GRAD, "3R R", "forward: state to gates"},
    [B_X] = {"b_x", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "3R", "forward: bias of inputs"},
    [B_H] = {"b_h", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "3R", "forward: bias of the state"},
    [V_X] = {"w_back_x", ATTN_PARAM | ATTN_GRAD, "3R I", "backward: inputs to gates"},
    [V_H] = {"w_back_h", ATTN_PARAM | ATTN_GRAD, "3R R", "backward: state to gates"},
    [C_X] = {"b_back_x", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "3R", "backward: bias"},
    [C_H] = {"b_back_h", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "3R", "backward: bias"},
    [W_A] = {"w_a", ATTN_PARAM | ATTN_GRAD, "A 2R", "states in the score"},
    [B_A] = {"b_a", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "A", "its bias"},
    [W] = {"w", ATTN_PARAM | ATTN_GRAD, "A", "what is asked for"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a step"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B 2R", "the sequence in one vector"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B S", "what counts"},
    [STATES] = {"states", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B S 2R", "both directions"},
    {0}};

static void rnn_attention_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0};
    const attn_cell cells[] = {{in[W_X], in[W_H], in[B_X], in[B_H]},
                               {in[V_X], in[V_H], in[C_X], in[C_H]}};
    const attn_var h = attn_tape_gru(t, in[X], none, in[MASK], 2, cells, NULL);
    const attn_var u = attn_tape_linear(t, h, in[W_A], in[B_A], ATTN_ACT_TANH);
    const attn_var s =
        attn_tape_linear(t, u, attn_tape_unsqueeze(t, in[W], 0), none, ATTN_ACT_NONE);
    b->out[STATES] = h;
    b->out[WEIGHTS] = attn__pool_weights(t, attn_tape_squeeze(t, s, -1), in[MASK]);
    b->out[OUT] = attn__pool(t, b->out[WEIGHTS], h);
}

const attn_mech attn__mech_rnn_attention = {
    .name = "rnn_attention",
    .family = "task",
    .about = "a bidirectional GRU reads, attention sums the states that count",
    .formula = "h = BiGRU(x), weights = softmax(w . tanh(w_a h + b_a)), out = weights h",
    .cost = "n: time S R (I + R + A), memory S (R + A)",
    .source = "N16-1174",
    .sizes = "B=1,S=6,I=3,R=4,A=5",
    .grows = "S",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = rnn_attention_build,
};
