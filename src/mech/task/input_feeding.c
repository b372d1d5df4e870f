/* SPDX-License-Identifier: MIT
 * Translation with input feeding: what a step decided to say goes into the next one, so that
 * the decoder knows where it has looked.
 *
 *     h_i, cell_i = LSTM([x_i, out_{i-1}], h_{i-1}, cell_{i-1})
 *     c_i = sum_j softmax_j(h_i . w_a y_j) y_j
 *     out_i = tanh(w_c c_i + w_p h_i)
 *
 * x B T I decoder inputs, y B S E encoder states, out B T P. luong is the same without feeding,
 * of states that are there already. w_x and w_f are the weights of the LSTM for x and for what
 * is fed, gates i f g o. start is out before the first row, start_state and start_cell the
 * LSTM's (absent: 0); the last row of out, state and cell continue a sequence. No score is
 * divided by a root. Luong et al. 2015 (1508.04025). */
#include "mech/mech.h"

enum {
    X,
    Y,
    W_X,
    W_F,
    W_H,
    B_X,
    B_H,
    W_A,
    W_C,
    W_P,
    START,
    START_STATE,
    START_CELL,
    MASK,
    OUT,
    WEIGHTS,
    STATE,
    CELL
};
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T I", "inputs of the decoder"},
    [Y] = {"y", ATTN_IN | ATTN_GRAD, "B S E", "encoder states"},
    [W_X] = {"w_x", ATTN_PARAM | ATTN_GRAD, "4D I", "inputs to gates i f g o"},
    [W_F] = {"w_f", ATTN_PARAM | ATTN_GRAD, "4D P", "what is fed to gates"},
    [W_H] = {"w_h", ATTN_PARAM | ATTN_GRAD, "4D D", "state to gates"},
    [B_X] = {"b_x", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "4D", "bias of inputs"},
    [B_H] = {"b_h", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "4D", "bias of the state"},
    [W_A] = {"w_a", ATTN_PARAM | ATTN_GRAD, "D E", "encoder states in the score"},
    [W_C] = {"w_c", ATTN_PARAM | ATTN_GRAD, "P E", "context in out"},
    [W_P] = {"w_p", ATTN_PARAM | ATTN_GRAD, "P D", "state in out"},
    [START] = {"start", ATTN_IN | ATTN_GRAD | ATTN_OPTIONAL, "B P", "out before; absent: 0"},
    [START_STATE] = {"start_state", ATTN_IN | ATTN_GRAD | ATTN_OPTIONAL, "B D", "state before"},
    [START_CELL] = {"start_cell", ATTN_IN | ATTN_GRAD | ATTN_OPTIONAL, "B D", "cell before"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a state of y"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T P", "attentional states"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B T S", "attention"},
    [STATE] = {"state", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B D", "after the last row"},
    [CELL] = {"cell", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B D", "after the last row"},
    {0}};

/* x, or zeros B n. */
static attn_var feeding_start(const attn__build *b, attn_var x, int64_t n)
{
    if (attn__given(x)) return x;
    return attn_tape_expand(b->t, attn_tape_scalar(b->t, 0),
                            ATTN_DIMS(attn__build_size(b, 'B'), n));
}

/* State h B 1 D, keys B D S, y B S E -> out B 1 P; the attention B 1 S. */
static attn_var feeding_attend(const attn__build *b, attn_var h, attn_var keys, attn_var y,
                               attn_var *a)
{
    attn_tape *t = b->t;
    const attn_var none = {0};
    *a = attn__rows_softmax(t, attn_tape_matmul(t, h, keys), b->in[MASK]);
    const attn_var c = attn_tape_matmul(t, *a, y);
    return attn_tape_tanh(
        t, attn_tape_add(t, attn_tape_linear(t, c, b->in[W_C], none, ATTN_ACT_NONE),
                         attn_tape_linear(t, h, b->in[W_P], none, ATTN_ACT_NONE)));
}

static void input_feeding_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0};
    const int64_t B = attn__build_size(b, 'B'), T = attn__build_size(b, 'T'),
                  D = attn__build_size(b, 'D'), P = attn__build_size(b, 'P');
    const attn_var y = attn__mask_rows(t, in[Y], in[MASK]);
    const attn_var keys =
        attn_tape_transpose(t, attn_tape_linear(t, y, in[W_A], none, ATTN_ACT_NONE), 1, 2);
    const attn_var w_x = attn_tape_concat(t, 2, (attn_var[]){in[W_X], in[W_F]}, 1);
    const attn_cell cell = {w_x, in[W_H], in[B_X], in[B_H]};
    attn__series outs = {.t = t, .dim = 1}, looks = outs;
    attn_var fed = attn_tape_unsqueeze(t, feeding_start(b, in[START], P), 1), a;
    b->out[STATE] = feeding_start(b, in[START_STATE], D);
    b->out[CELL] = feeding_start(b, in[START_CELL], D);
    for (int64_t i = 0; i < T && attn__given(fed); i++) {
        const attn_var parts[] = {attn_tape_slice(t, in[X], 1, i, i + 1), fed};
        const attn_var h =
            attn_tape_lstm(t, attn_tape_concat(t, 2, parts, 2), b->out[STATE], b->out[CELL],
                           none, 1, &cell, &b->out[STATE], &b->out[CELL]);
        fed = feeding_attend(b, h, keys, y, &a);
        attn__series_add(&outs, fed);
        attn__series_add(&looks, a);
    }
    b->out[OUT] = attn__series_end(&outs, ATTN_DIMS(B, 0, P));
    b->out[WEIGHTS] = attn__series_end(&looks, ATTN_DIMS(B, 0, attn__build_size(b, 'S')));
}

const attn_mech attn__mech_input_feeding = {
    .name = "input_feeding",
    .family = "task",
    .about = "translation: what a step says is fed to the next, so it knows where it looked",
    .formula = "h_i = LSTM([x_i, out_i-1], h_i-1), out_i = tanh(w_c softmax(h_i . w_a y) y + "
               "w_p h_i)",
    .cost = "n^2: time T S (D + E) + T D (I + P + D), memory T (S + D)",
    .source = "1508.04025",
    .sizes = "B=1,T=4,S=6,I=3,D=4,E=5,P=3",
    .grows = "TS",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_BATCH_FREE | ATTN_CAUSAL | ATTN_STEPS,
    .build = input_feeding_build,
};
