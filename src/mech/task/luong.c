/* SPDX-License-Identifier: MIT
 * Attention of translation by multiplication: decoder states look at encoder states, and what
 * they saw is mixed with them into an attentional state.
 *
 *     score(q_i, y_j) = q_i . y_j                      dot (D = E)
 *                     = q_i . (w_a y_j)                general
 *                     = w . tanh(w_q q_i + w_k y_j)    concat
 *     c_i = sum_j softmax_j(score) y_j
 *     out_i = tanh(w_c c_i + w_h q_i)
 *
 * q B T D, y B S E, out B T P; w_c and w_h are the two halves of the paper's W_c [c; h]. No
 * score is divided by a root. concat needs w_q, w_k and w, general needs w_a. Input feeding is
 * the caller's: out_{i-1} joins the next input of the decoder that makes q (input_feeding does
 * both). Each score streams.
 * Luong et al. 2015 (1508.04025). */
#include "mech/mech.h"

enum { Q, Y, W_C, W_H, W_A, W_Q, W_K, W, MASK, OUT, CONTEXT, WEIGHTS };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B T D", "decoder states"},
    [Y] = {"y", ATTN_IN | ATTN_GRAD, "B S E", "encoder states"},
    [W_C] = {"w_c", ATTN_PARAM | ATTN_GRAD, "P E", "context in out"},
    [W_H] = {"w_h", ATTN_PARAM | ATTN_GRAD, "P D", "decoder state in out"},
    [W_A] = {"w_a", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "D E", "score=general"},
    [W_Q] = {"w_q", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "A D", "score=concat: queries"},
    [W_K] = {"w_k", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "A E", "score=concat: keys"},
    [W] = {"w", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "A", "score=concat: score"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T P", "attentional states"},
    [CONTEXT] = {"context", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B T E", "what was seen"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B T S", "attention"},
    {0}};

enum { SCORE };
static const attn_param params[] = {
    [SCORE] = {"score", 'e', "dot", "dot|general|concat", "how states are compared"}, {0}};

static attn_var luong_engine(const attn__build *b, attn_var keys, attn_var y)
{
    const attn_attention_vars vars = {.q = b->in[Q], .k = keys, .v = y};
    return attn__attend(b->t, &ATTN_SPEC(.scale = 1), &vars, b->in[MASK],
                        attn__build_output(b, WEIGHTS));
}

static attn_var luong_dot(const attn__build *b, attn_var y)
{
    const int64_t D = attn__build_size(b, 'D'), E = attn__build_size(b, 'E');
    if (!attn__build_need(b, D == E, ATTN_E_SHAPE, "y", "score=dot needs states of one width",
                          D, E))
        return (attn_var){0};
    return luong_engine(b, y, y);
}

static attn_var luong_general(const attn__build *b, attn_var y)
{
    const attn_var none = {0};
    if (!attn__build_need(b, attn__given(b->in[W_A]), ATTN_E_NULL, "w_a",
                          "score=general needs it", 1, 0))
        return none;
    return luong_engine(b, attn_tape_linear(b->t, y, b->in[W_A], none, ATTN_ACT_NONE), y);
}

static attn_var luong_concat(const attn__build *b, attn_var y)
{
    const attn_var none = {0}, *in = b->in;
    const bool all = attn__given(in[W_Q]) && attn__given(in[W_K]) && attn__given(in[W]);
    if (!attn__build_need(b, all, ATTN_E_NULL, "w_q, w_k and w", "score=concat needs them", 3,
                          attn__given(in[W_Q]) + attn__given(in[W_K]) + attn__given(in[W])))
        return none;
    const attn_attention_vars vars = {
        .q = attn_tape_linear(b->t, in[Q], in[W_Q], none, ATTN_ACT_NONE),
        .k = attn_tape_linear(b->t, y, in[W_K], none, ATTN_ACT_NONE),
        .v = y};
    return attn__additive_attend(b, &vars, in[W], in[MASK], WEIGHTS);
}

static void luong_build(const attn__build *b)
{
    static attn_var (*const scores[])(const attn__build *,
                                      attn_var) = {luong_dot, luong_general, luong_concat};
    const attn_var none = {0}, y = attn__mask_rows(b->t, b->in[Y], b->in[MASK]);
    const attn_var c = scores[b->params[SCORE].i](b, y);
    b->out[CONTEXT] = c;
    b->out[OUT] = attn_tape_tanh(
        b->t, attn_tape_add(b->t, attn_tape_linear(b->t, c, b->in[W_C], none, ATTN_ACT_NONE),
                            attn_tape_linear(b->t, b->in[Q], b->in[W_H], none, ATTN_ACT_NONE)));
}

const attn_mech attn__mech_luong = {
    .name = "luong",
    .family = "task",
    .about = "translation: decoder states look at encoder states by products",
    .formula = "c = softmax(score(q, y)) y, out = tanh(w_c c + w_h q)",
    .cost = "n^2: time T S (D + E), memory T (D + E)",
    .source = "1508.04025",
    .sizes = "B=1,T=5,S=6,D=4,E=4,A=3,P=4",
    .grows = "TS",
    .slots = slots,
    .params = params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_BATCH_FREE | ATTN_CAUSAL | ATTN_STEPS | ATTN_STREAMS,
    .build = luong_build,
};
