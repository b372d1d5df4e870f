/* SPDX-License-Identifier: MIT
 * The encoder-decoder with attention that began it: before each step the decoder looks at the
 * encoder states with its last state, and what it sees is part of the step's input.
 *
 *     a_i = softmax_j( w . tanh(w_q s_{i-1} + w_k y_j + b) ),  c_i = sum_j a[i][j] y_j
 *     s_i = GRU([x_i, c_i], s_{i-1});  out_i = s_i
 *
 * x B T I are the inputs of the decoder (in training the words before), y B S E the encoder's
 * states, out B T D. This is a recurrence: row i needs row i - 1, unlike luong, where the
 * states are there before. The cell is tape's GRU, gates r z n, the reset gate after w_h: w_x
 * and w_c are its weights for x and for the context. start is the state before the first row
 * (absent: 0), the last row of out continues a sequence. The output layer is the caller's, of
 * out, context and x. Bahdanau, Cho and Bengio 2015 (1409.0473). */
#include "mech/mech.h"

enum { X, Y, W_Q, W_K, BIAS, W, W_X, W_C, W_H, B_X, B_H, START, MASK, OUT, CONTEXT, WEIGHTS };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T I", "inputs of the decoder"},
    [Y] = {"y", ATTN_IN | ATTN_GRAD, "B S E", "encoder states"},
    [W_Q] = {"w_q", ATTN_PARAM | ATTN_GRAD, "A D", "states in the score"},
    [W_K] = {"w_k", ATTN_PARAM | ATTN_GRAD, "A E", "encoder states in the score"},
    [BIAS] = {"b", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "A", "bias of the score"},
    [W] = {"w", ATTN_PARAM | ATTN_GRAD, "A", "score of their sum"},
    [W_X] = {"w_x", ATTN_PARAM | ATTN_GRAD, "3D I", "inputs to gates r z n"},
    [W_C] = {"w_c", ATTN_PARAM | ATTN_GRAD, "3D E", "context to gates"},
    [W_H] = {"w_h", ATTN_PARAM | ATTN_GRAD, "3D D", "state to gates"},
    [B_X] = {"b_x", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "3D", "bias of inputs"},
    [B_H] = {"b_h", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "3D", "bias of the state"},
    [START] = {"start", ATTN_IN | ATTN_GRAD | ATTN_OPTIONAL, "B D", "state before; absent: 0"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a state of y"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T D", "decoder states"},
    [CONTEXT] = {"context", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B T E", "what was seen"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B T S", "attention"},
    {0}};

/* What the state B 1 D sees: B 1 S. */
static attn_var bahdanau_look(const attn__build *b, attn_var state, attn_var keys)
{
    const attn_var none = {0};
    const attn_var q = attn_tape_linear(b->t, state, b->in[W_Q], none, ATTN_ACT_NONE);
    return attn__rows_softmax(b->t, attn_tape_additive_scores(b->t, q, keys, b->in[W]),
                              b->in[MASK]);
}

static void bahdanau_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0};
    const int64_t B = attn__build_size(b, 'B'), T = attn__build_size(b, 'T');
    const attn_var y = attn__mask_rows(t, in[Y], in[MASK]);
    const attn_var keys = attn_tape_linear(t, y, in[W_K], in[BIAS], ATTN_ACT_NONE);
    const attn_var w_x = attn_tape_concat(t, 2, (attn_var[]){in[W_X], in[W_C]}, 1);
    const attn_cell cell = {w_x, in[W_H], in[B_X], in[B_H]};
    attn__series states = {.t = t, .dim = 1}, seen = {.t = t, .dim = 1}, looks = seen;
    const attn_dims first = ATTN_DIMS(B, attn__build_size(b, 'D'));
    attn_var s =
        attn__given(in[START]) ? in[START] : attn_tape_expand(t, attn_tape_scalar(t, 0), first);
    for (int64_t i = 0; i < T && attn__given(s); i++) {
        const attn_var a = bahdanau_look(b, attn_tape_unsqueeze(t, s, 1), keys);
        const attn_var c = attn_tape_matmul(t, a, y);
        const attn_var parts[] = {attn_tape_slice(t, in[X], 1, i, i + 1), c};
        const attn_var x = attn_tape_concat(t, 2, parts, 2);
        attn__series_add(&states, attn_tape_gru(t, x, s, none, 1, &cell, &s));
        attn__series_add(&seen, c);
        attn__series_add(&looks, a);
    }
    b->out[OUT] = attn__series_end(&states, ATTN_DIMS(B, 0, first.at[1]));
    b->out[CONTEXT] = attn__series_end(&seen, ATTN_DIMS(B, 0, attn__build_size(b, 'E')));
    b->out[WEIGHTS] = attn__series_end(&looks, ATTN_DIMS(B, 0, attn__build_size(b, 'S')));
}

const attn_mech attn__mech_bahdanau = {
    .name = "bahdanau",
    .family = "task",
    .about = "translation: the decoder looks at the encoder before each step",
    .formula = "a_i = softmax(w . tanh(w_q s_i-1 + w_k y + b)), s_i = GRU([x_i, a_i y], s_i-1)",
    .cost = "n^2: time T S (A + E) + T D (I + E + D), memory T (S + D)",
    .source = "1409.0473",
    .sizes = "B=1,T=4,S=6,I=3,D=4,E=5,A=4",
    .grows = "TS",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_BATCH_FREE | ATTN_CAUSAL | ATTN_STEPS,
    .build = bahdanau_build,
};
