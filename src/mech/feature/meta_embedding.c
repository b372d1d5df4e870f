/* SPDX-License-Identifier: MIT
 * Dynamic meta-embeddings: several representations of each word, weighed word by word.
 *
 *     e_n = w_p[n] x_n + b_p[n]                     all in one space of A features
 *     out = sum_n a_n e_n,   a = softmax_n(u.e_n)    weigh=sigmoid: a_n = sigmoid(u.e_n + b)
 *     contextual: u_h.h_n in place of u.e_n, h an LSTM over the sentence's e_n, both ways
 *
 * x B T N D holds N representations of T words, padded with zeros to one width (the columns of
 * w_p that meet padding do nothing). mask B T N is false where a word has no such
 * representation: it has no weight, and the LSTM passes it by; a word with none at all is 0.
 * The LSTM has M units in each direction (row 0 of its weights goes forward, row 1 back; gates
 * i f g o) and is shared by the representations. A bias does nothing to a softmax, so b is for
 * the sigmoid alone. Attention over N, however long the sentence.
 * Kiela et al. 2018 (1804.07983). */
#include "mech/mech.h"

enum { X, W_P, B_P, U, B, LSTM_X, LSTM_H, LSTM_B, U_H, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T N D", "representations of each word"},
    [W_P] = {"w_p", ATTN_PARAM | ATTN_GRAD, "N A D", "a projection of each"},
    [B_P] = {"b_p", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "N A", "their biases"},
    [U] = {"u", ATTN_PARAM | ATTN_GRAD, "A", "scores; not used where u_h is given"},
    [B] = {"b", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "1",
           "added to scores; weigh=sigmoid only"},
    [LSTM_X] = {"w_lstm_x", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "2 4M A",
                "contextual: LSTM"},
    [LSTM_H] = {"w_lstm_h", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "2 4M M", "of its state"},
    [LSTM_B] = {"b_lstm", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "2 4M", "its bias"},
    [U_H] = {"u_h", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "2M", "contextual: scores"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T N", "false: not there"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T A", "one representation of each word"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL | ATTN_GRAD, "B T N",
                 "of the representations"},
    {0}};

enum { WEIGH };
static const attn_param params[] = {
    [WEIGH] = {"weigh", 'e', "softmax", "softmax|sigmoid", "against each other, or each alone"},
    {0}};

/* x N B T D to e N B T A. */
static attn_var meta_project(const attn__build *b, attn_var x)
{
    attn_tape *t = b->t;
    const attn_var w = attn_tape_transpose(t, attn_tape_unsqueeze(t, b->in[W_P], 1), 2, 3);
    const attn_var e = attn_tape_matmul(t, x, w);
    if (!attn__given(b->in[B_P])) return e;
    const attn_var bias = attn_tape_unsqueeze(t, attn_tape_unsqueeze(t, b->in[B_P], 1), 1);
    return attn_tape_add(t, e, bias);
}

/* h N B T 2M of e, every representation of every sentence a sequence of its own. */
static attn_var meta_context(const attn__build *b, attn_var e, attn_var mask)
{
    attn_tape *t = b->t;
    attn_cell cell[2];
    const int64_t n = attn__build_size(b, 'N'), rows = attn__build_size(b, 'B'),
                  words = attn__build_size(b, 'T');
    const attn_var none = {0};
    for (int i = 0; i < 2; i++)
        cell[i] = (attn_cell){.w_x = attn__row_of(t, b->in[LSTM_X], i),
                              .w_h = attn__row_of(t, b->in[LSTM_H], i),
                              .b_x = attn__row_of(t, b->in[LSTM_B], i)};
    e = attn_tape_reshape(t, e, ATTN_DIMS(n * rows, words, attn__build_size(b, 'A')));
    if (attn__given(mask)) mask = attn_tape_reshape(t, mask, ATTN_DIMS(n * rows, words));
    const attn_var h = attn_tape_lstm(t, e, none, none, mask, 2, cell, NULL, NULL);
    return attn_tape_reshape(t, h, ATTN_DIMS(n, rows, words, 2 * attn__build_size(b, 'M')));
}

static attn_var meta_scores(const attn__build *b, attn_var e, attn_var mask)
{
    const attn_var *in = b->in;
    const int context =
        attn__given(in[LSTM_X]) + attn__given(in[LSTM_H]) + attn__given(in[U_H]);
    if (!attn__build_need(b, context == 3 || (context == 0 && !attn__given(in[LSTM_B])),
                          ATTN_E_NULL, "w_lstm_x", "goes with w_lstm_h and u_h", 3, context))
        return (attn_var){0};
    const attn_var s = context ? attn_tape_matmul(b->t, meta_context(b, e, mask), in[U_H])
                               : attn_tape_matmul(b->t, e, in[U]);
    return attn__given(in[B]) && b->params[WEIGH].i ? attn_tape_add(b->t, s, in[B]) : s;
}

static attn_var meta_weights(const attn__build *b, attn_var scores, attn_var mask)
{
    attn_tape *t = b->t;
    if (!b->params[WEIGH].i) return attn_tape_softmax(t, scores, mask, 0);
    const attn_var a = attn_tape_sigmoid(t, scores);
    return attn__given(mask) ? attn_tape_where(t, mask, a, attn_tape_scalar(t, 0)) : a;
}

static void meta_embedding_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var x = attn_tape_permute(t, b->in[X], ATTN_DIMS(2, 0, 1, 3));
    attn_var mask = b->in[MASK];
    if (attn__given(mask)) mask = attn_tape_permute(t, mask, ATTN_DIMS(2, 0, 1));
    const attn_var e = meta_project(b, attn__mask_rows(t, x, mask));
    const attn_var a = meta_weights(b, meta_scores(b, e, mask), mask);
    b->out[WEIGHTS] = attn_tape_permute(t, a, ATTN_DIMS(1, 2, 0));
    b->out[OUT] = attn_tape_sum(t, attn_tape_mul(t, e, attn_tape_unsqueeze(t, a, 3)),
                                ATTN_DIMS(0), false);
}

const attn_mech attn__mech_meta_embedding = {
    .name = "meta_embedding",
    .family = "feature",
    .about = "several representations of a word, weighed word by word (DME, CDME)",
    .formula = "out = sum_n softmax_n(u.e_n + b) e_n,  e_n = w_p[n] x_n + b_p[n]",
    .cost = "n: time T N A D, memory T N A",
    .source = "1804.07983",
    .sizes = "B=1,T=5,N=3,D=4,A=3,M=2",
    .grows = "T",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = meta_embedding_build,
};
