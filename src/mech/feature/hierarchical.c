/* SPDX-License-Identifier: MIT
 * Hierarchical attention: words make sentences, sentences make a document.
 *
 *     s_n = sum_t softmax_t(u_w.tanh(w_w x_nt + b_w)) x_nt
 *     h   = s, or a GRU over s in both directions when its weights are given
 *     out = sum_n softmax_n(u_s.tanh(w_s h_n + b_s)) h_n
 *
 * x B N T D holds N sentences of T words, after the encoder of words; E is the width of h: D,
 * or 2L with a GRU of L units in each direction (row 0 of its weights goes forward, row 1 back,
 * gates r z n). mask B N T hides words; a sentence without a word has no weight, and the GRU
 * passes it by. Two poolings, no pairs. Without the GRU the order of sentences is nothing.
 * Yang et al. 2016 (NAACL N16-1174). */
#include "mech/mech.h"

enum { X, W_W, B_W, U_W, GRU_X, GRU_H, GRU_BX, GRU_BH, W_S, B_S, U_S, MASK, OUT, WEIGHTS, S_W };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B N T D", "words of every sentence"},
    [W_W] = {"w_w", ATTN_PARAM | ATTN_GRAD, "A D", "words: hidden layer"},
    [B_W] = {"b_w", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "A", "words: its bias"},
    [U_W] = {"u_w", ATTN_PARAM | ATTN_GRAD, "A", "words: the context vector"},
    [GRU_X] = {"w_gru_x", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "2 3L D",
               "GRU: of sentences"},
    [GRU_H] = {"w_gru_h", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "2 3L L",
               "GRU: of its state"},
    [GRU_BX] = {"b_gru_x", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "2 3L", "GRU: a bias"},
    [GRU_BH] = {"b_gru_h", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "2 3L", "GRU: a bias"},
    [W_S] = {"w_s", ATTN_PARAM | ATTN_GRAD, "P E", "sentences: hidden layer"},
    [B_S] = {"b_s", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "P", "sentences: its bias"},
    [U_S] = {"u_s", ATTN_PARAM | ATTN_GRAD, "P", "sentences: the context vector"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B N T", "false hides a word"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B E", "the document"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL | ATTN_GRAD, "B N T",
                 "of words in their sentence"},
    [S_W] = {"sentence_weights", ATTN_OUT | ATTN_OPTIONAL | ATTN_GRAD, "B N", "of sentences"},
    {0}};

/* All sentences as one batch. */
static attn_var hierarchical_words(const attn__build *b, attn_var *weights)
{
    attn_tape *t = b->t;
    const int64_t B = attn__build_size(b, 'B'), N = attn__build_size(b, 'N'),
                  T = attn__build_size(b, 'T'), D = attn__build_size(b, 'D');
    attn_var mask = b->in[MASK], x = attn_tape_reshape(t, b->in[X], ATTN_DIMS(B * N, T, D));
    if (attn__given(mask)) mask = attn_tape_reshape(t, mask, ATTN_DIMS(B * N, T));
    x = attn__mask_rows(t, x, mask);
    const attn_var scores =
        attn__score_additive(t, x, b->in[W_W], b->in[B_W], (attn_var){0}, b->in[U_W]);
    const attn_var a = attn__pool_weights(t, scores, mask);
    *weights = attn_tape_reshape(t, a, ATTN_DIMS(B, N, T));
    return attn_tape_reshape(t, attn__pool(t, a, x), ATTN_DIMS(B, N, D));
}

/* B N: whether there is a word in the sentence. */
static attn_var hierarchical_mask(const attn__build *b)
{
    if (!attn__given(b->in[MASK])) return (attn_var){0};
    const attn_var words = attn_tape_cast(b->t, b->in[MASK]);
    return attn_tape_less(b->t, attn_tape_scalar(b->t, 0),
                          attn_tape_sum(b->t, words, ATTN_DIMS(2), false));
}

static attn_var hierarchical_gru(const attn__build *b, attn_var s, attn_var mask)
{
    const attn_var *in = b->in;
    const bool any = attn__given(in[GRU_X]) || attn__given(in[GRU_H]) ||
                     attn__given(in[GRU_BX]) || attn__given(in[GRU_BH]);
    const int there = attn__given(in[GRU_X]) + attn__given(in[GRU_H]);
    const int64_t width =
        any && there == 2 ? 2 * attn__build_size(b, 'L') : attn__build_size(b, 'D');
    attn_cell cell[2];
    if (!attn__build_need(b, !any || there == 2, ATTN_E_NULL, "w_gru_x",
                          "a GRU needs w_gru_x and w_gru_h", 2, there) ||
        !attn__build_need(b, width == attn__build_size(b, 'E'), ATTN_E_SHAPE, "w_s",
                          "its width must be that of the sentences", width,
                          attn__build_size(b, 'E')))
        return (attn_var){0};
    if (!any) return s;
    for (int i = 0; i < 2; i++)
        cell[i] = (attn_cell){.w_x = attn__row_of(b->t, in[GRU_X], i),
                              .w_h = attn__row_of(b->t, in[GRU_H], i),
                              .b_x = attn__row_of(b->t, in[GRU_BX], i),
                              .b_h = attn__row_of(b->t, in[GRU_BH], i)};
    return attn_tape_gru(b->t, s, (attn_var){0}, mask, 2, cell, NULL);
}

static void hierarchical_build(const attn__build *b)
{
    const attn_var mask = hierarchical_mask(b), none = {0};
    const attn_var h = hierarchical_gru(b, hierarchical_words(b, &b->out[WEIGHTS]), mask);
    const attn_var scores =
        attn__score_additive(b->t, h, b->in[W_S], b->in[B_S], none, b->in[U_S]);
    b->out[S_W] = attn__pool_weights(b->t, scores, mask);
    b->out[OUT] = attn__pool(b->t, b->out[S_W], h);
}

const attn_mech attn__mech_hierarchical = {
    .name = "hierarchical",
    .family = "feature",
    .about = "attention over words, then over sentences (HAN)",
    .formula = "out = att_s(gru(att_w(x))),  att(z) = softmax(u.tanh(w z + b)) z",
    .cost = "n: time N T D A + N E P, memory N T A",
    .source = "N16-1174",
    .sizes = "B=1,N=3,T=4,D=4,A=3,L=2,P=3,E=4",
    .grows = "T",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = hierarchical_build,
};
