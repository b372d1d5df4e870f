/* SPDX-License-Identifier: MIT
 * Copying: words of a vocabulary and places of a text compete in one softmax, so whether to
 * copy needs no gate.
 *
 *     said[v] = (w_v q_i)[v],  copied[j] = q_i . tanh(w_c y_j)
 *     e = softmax over both together;  out[i][word] = e_said[word] + sum where ids[j] = word of
 *         e_copied[j]
 *
 * q B T D decoder states, y B S E the encoded text, ids its words. Words 0 .. V-1 are the
 * vocabulary, words V .. N-1 the unknown words of the text, which can only be copied; words B N
 * tells N and which words may be generated. weights are those of the places, so they sum to
 * less than 1; `copying` is their sum. With nothing hidden, a text whose copies all score -inf
 * gives the plain softmax of the vocabulary. Gu et al. 2016 (1603.06393); their selective read,
 * which feeds copied places to the next state, belongs to the decoder. */
#include "mech/mech.h"

enum { Q, Y, IDS, WORDS, W_V, B_V, W_C, MASK, OUT, WEIGHTS, COPYING };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B T D", "decoder states"},
    [Y] = {"y", ATTN_IN | ATTN_GRAD, "B S E", "the encoded text"},
    [IDS] = {"ids", ATTN_IN | ATTN_IDS, "B S", "its words", "N"},
    [WORDS] = {"words", ATTN_IN | ATTN_FLAGS, "B N", "which words may be generated"},
    [W_V] = {"w_v", ATTN_PARAM | ATTN_GRAD, "V D", "scores of words"},
    [B_V] = {"b_v", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "V", "their bias"},
    [W_C] = {"w_c", ATTN_PARAM | ATTN_GRAD, "D E", "scores of places"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a place"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T N", "probability of every word"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B T S",
                 "probability to copy a place"},
    [COPYING] = {"copying", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B T", "probability to copy"},
    {0}};

/* Flags B V+S of what takes part. */
static attn_var copy_allowed(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var say =
        attn_tape_cast(t, attn_tape_slice(t, b->in[WORDS], 1, 0, attn__build_size(b, 'V')));
    const attn_var all =
        attn_tape_expand(t, attn_tape_scalar(t, 1),
                         ATTN_DIMS(attn__build_size(b, 'B'), attn__build_size(b, 'S')));
    const attn_var place = attn__given(b->in[MASK]) ? attn_tape_cast(t, b->in[MASK]) : all;
    return attn_tape_less(t, attn_tape_scalar(t, 0),
                          attn_tape_concat(t, 2, (attn_var[]){say, place}, 1));
}

static void copy_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0};
    const attn_var y = attn__mask_rows(t, in[Y], in[MASK]);
    const int64_t V = attn__build_size(b, 'V'), N = attn__build_size(b, 'N');
    if (!attn__build_need(b, N >= V, ATTN_E_SHAPE, "words",
                          "must have at least the words of the vocabulary", V, N))
        return;
    const attn_var said = attn_tape_linear(t, in[Q], in[W_V], in[B_V], ATTN_ACT_NONE);
    const attn_var keys = attn_tape_linear(t, y, in[W_C], none, ATTN_ACT_TANH);
    const attn_var copied = attn_tape_matmul(t, in[Q], attn_tape_transpose(t, keys, 1, 2));
    const attn_var e = attn__rows_softmax(
        t, attn_tape_concat(t, 2, (attn_var[]){said, copied}, 2), copy_allowed(b));
    b->out[WEIGHTS] = attn_tape_slice(t, e, 2, V, V + attn__build_size(b, 'S'));
    b->out[COPYING] = attn_tape_sum(t, b->out[WEIGHTS], ATTN_DIMS(-1), false);
    const attn_var words = attn_tape_pad(t, attn_tape_slice(t, e, 2, 0, V), 2, 0, N - V, 0);
    b->out[OUT] = attn__copy_scatter(t, words, in[IDS], b->out[WEIGHTS]);
}

const attn_mech attn__mech_copy = {
    .name = "copy",
    .family = "task",
    .about = "words of a vocabulary and places of a text compete in one softmax",
    .formula = "e = softmax([w_v q, q . tanh(w_c y)]), out = e_words + sum of e_j where ids_j "
               "is the word",
    .cost = "n^2: time T S D + T V D, memory T (S + N)",
    .source = "1603.06393",
    .sizes = "B=1,T=3,S=6,D=4,E=4,V=6,N=8",
    .grows = "TS",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_BATCH_FREE | ATTN_CAUSAL | ATTN_STEPS,
    .build = copy_build,
};
