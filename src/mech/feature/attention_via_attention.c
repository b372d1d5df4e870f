/* SPDX-License-Identifier: MIT
 * Attention via attention: what attention finds in words tells where to look among characters.
 *
 *     c_i   = sum_j softmax_j(scale x_j.(w_x q_i)) x_j                    out_words
 *     out_i = sum_k softmax_k(scale y_k.(w_y q_i + u_y c_i)) y_k
 *
 * q B T D asks, x B S E are features of words, y B N F features of the characters below them.
 * Both calls run in the fused engine, so nothing of size T x N is kept. If all words are alike,
 * c is the same for every query and this is attention to characters alone.
 *
 * The paper's text could not be read when this was written: its abstract says that characters
 * are attended through words, the two formulas above and their general score are our own way of
 * saying it, and `scale` is a parameter because of that. After Zhao and Zhang (AAAI 2018). */
#include "mech/mech.h"

#include "attn/attention.h"

enum { Q, X, Y, W_X, W_Y, U_Y, MASK, Y_MASK, OUT, OUT_WORDS, WEIGHTS, WORD_WEIGHTS };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B T D", "who asks"},
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B S E", "words"},
    [Y] = {"y", ATTN_IN | ATTN_GRAD, "B N F", "characters"},
    [W_X] = {"w_x", ATTN_PARAM | ATTN_GRAD, "E D", "query to words"},
    [W_Y] = {"w_y", ATTN_PARAM | ATTN_GRAD, "F D", "query to characters"},
    [U_Y] = {"u_y", ATTN_PARAM | ATTN_GRAD, "F E", "what words gave, to characters"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a word"},
    [Y_MASK] = {"y_mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B N", "and a character"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T F", "what characters gave"},
    [OUT_WORDS] = {"out_words", ATTN_OUT | ATTN_OPTIONAL | ATTN_GRAD, "B T E",
                   "what words gave"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B T N", "of characters"},
    [WORD_WEIGHTS] = {"word_weights", ATTN_OUT | ATTN_OPTIONAL, "B T S", "of words"},
    {0}};

enum { SCALE };
static const attn_param params[] = {
    [SCALE] = {"scale", 'f', "1", NULL, "of both scores; 0: 1 / sqrt(width)"}, {0}};

static attn_var via_attend(const attn__build *b, attn_var q, attn_var rows, int mask,
                           int weights)
{
    const attn_attention_vars vars = {.q = q, .k = rows, .v = rows};
    return attn__attend(b->t, &ATTN_SPEC(.scale = b->params[SCALE].f), &vars, b->in[mask],
                        attn__build_output(b, weights));
}

static void attention_via_attention_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0};
    const attn_var to_words = attn_tape_linear(t, in[Q], in[W_X], none, ATTN_ACT_NONE);
    const attn_var c = via_attend(b, to_words, in[X], MASK, WORD_WEIGHTS);
    const attn_var to_characters =
        attn_tape_add(t, attn_tape_linear(t, in[Q], in[W_Y], none, ATTN_ACT_NONE),
                      attn_tape_linear(t, c, in[U_Y], none, ATTN_ACT_NONE));
    b->out[OUT_WORDS] = c;
    b->out[OUT] = via_attend(b, to_characters, in[Y], Y_MASK, WEIGHTS);
}

const attn_mech attn__mech_attention_via_attention = {
    .name = "attention_via_attention",
    .family = "feature",
    .about = "attention to words says where to look among characters",
    .formula = "out = softmax((q w_y + c u_y) y^T) y,  c = softmax(q w_x x^T) x",
    .cost = "n^2: time T (S E + N F), memory T (E + F)",
    .source = "AAAI 2018, Zhao and Zhang (reconstructed)",
    .sizes = "B=1,T=4,S=3,N=8,D=4,E=3,F=2",
    .grows = "TSN",
    .slots = slots,
    .params = params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_BATCH_FREE | ATTN_STREAMS,
    .build = attention_via_attention_build,
};
