/* SPDX-License-Identifier: MIT
 * A pointer-generator: a summary's next word comes from the vocabulary, or is copied from the
 * text, known or not.
 *
 *     a, loss, coverage = attention with coverage of states q over the encoded text y
 *     c_i = sum_j a[i][j] y_j
 *     vocabulary = softmax over the words that can be said of
 *                  w_v (w_os q_i + w_oc c_i + b_o) + b_v
 *     p = sigmoid(w_gc . c_i + w_gs . q_i + w_gx . x_i + b_g)
 *     out[i][word] = p vocabulary[word] + (1 - p) sum over j with ids[j] = word of a[i][j]
 *
 * q B T D decoder states, x B T I their inputs, y B S E. Words 0 .. V-1 are the vocabulary;
 * words V .. N-1 are the unknown words of the text, numbered by the caller, and can only be
 * copied. words B N tells N, and which words of the vocabulary may be generated: false gives 0.
 * ids are those of the text in this numbering. start and coverage carry coverage from call to
 * call; loss is sum_j min(a, covered) of every row. Without w_cov there is no coverage in the
 * scores. mask hides padding, of which nothing is copied. See et al. 2017 (1704.04368). */
#include "mech/mech.h"

enum {
    Q,
    X,
    Y,
    IDS,
    WORDS,
    W_Q,
    W_K,
    W_COV,
    BIAS,
    W,
    W_OS,
    W_OC,
    B_O,
    W_V,
    B_V,
    W_GC,
    W_GS,
    W_GX,
    B_G,
    START,
    MASK,
    OUT,
    WEIGHTS,
    GATE,
    COVERAGE,
    LOSS
};
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B T D", "decoder states"},
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T I", "inputs of the decoder"},
    [Y] = {"y", ATTN_IN | ATTN_GRAD, "B S E", "the encoded text"},
    [IDS] = {"ids", ATTN_IN | ATTN_IDS, "B S", "its words", "N"},
    [WORDS] = {"words", ATTN_IN | ATTN_FLAGS, "B N", "which words may be generated"},
    [W_Q] = {"w_q", ATTN_PARAM | ATTN_GRAD, "A D", "states in the score"},
    [W_K] = {"w_k", ATTN_PARAM | ATTN_GRAD, "A E", "text in the score"},
    [W_COV] = {"w_cov", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "A", "coverage in the score"},
    [BIAS] = {"b", ATTN_PARAM | ATTN_GRAD, "A", "bias of the score"},
    [W] = {"w", ATTN_PARAM | ATTN_GRAD, "A", "score of what is left"},
    [W_OS] = {"w_os", ATTN_PARAM | ATTN_GRAD, "P D", "states to words"},
    [W_OC] = {"w_oc", ATTN_PARAM | ATTN_GRAD, "P E", "context to words"},
    [B_O] = {"b_o", ATTN_PARAM | ATTN_GRAD, "P", "its bias"},
    [W_V] = {"w_v", ATTN_PARAM | ATTN_GRAD, "V P", "words"},
    [B_V] = {"b_v", ATTN_PARAM | ATTN_GRAD, "V", "their bias"},
    [W_GC] = {"w_gc", ATTN_PARAM | ATTN_GRAD, "1 E", "context in the gate"},
    [W_GS] = {"w_gs", ATTN_PARAM | ATTN_GRAD, "1 D", "states in the gate"},
    [W_GX] = {"w_gx", ATTN_PARAM | ATTN_GRAD, "1 I", "inputs in the gate"},
    [B_G] = {"b_g", ATTN_PARAM | ATTN_GRAD, "1", "bias of the gate"},
    [START] = {"start", ATTN_IN | ATTN_GRAD | ATTN_OPTIONAL, "B S", "coverage so far"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a word"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T N", "probability of every word"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B T S", "attention"},
    [GATE] = {"gate", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B T 1", "p, 1 generates"},
    [COVERAGE] = {"coverage", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B S",
                  "start of a next call"},
    [LOSS] = {"loss", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B T",
              "attention to what is covered"},
    {0}};

static attn_var generator_attend(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0};
    const attn_var y = attn__mask_rows(t, in[Y], in[MASK]);
    const attn__coverage step = {
        .keys = attn_tape_linear(t, y, in[W_K], in[BIAS], ATTN_ACT_NONE),
        .w_c = attn__given(in[W_COV]) ? in[W_COV] : attn_tape_scalar(t, 0),
        .w = in[W],
        .mask = in[MASK]};
    b->out[COVERAGE] = in[START];
    b->out[WEIGHTS] =
        attn__coverage_rows(t, &step, attn_tape_linear(t, in[Q], in[W_Q], none, ATTN_ACT_NONE),
                            &b->out[COVERAGE], b->wanted[LOSS] ? &b->out[LOSS] : NULL);
    return attn_tape_matmul(t, b->out[WEIGHTS], y);
}

/* B T V: what the vocabulary says. */
static attn_var generator_words(const attn__build *b, attn_var c)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0};
    const attn_var h =
        attn_tape_add(t, attn_tape_linear(t, in[Q], in[W_OS], in[B_O], ATTN_ACT_NONE),
                      attn_tape_linear(t, c, in[W_OC], none, ATTN_ACT_NONE));
    const attn_var may = attn_tape_slice(t, in[WORDS], 1, 0, attn__build_size(b, 'V'));
    return attn__rows_softmax(t, attn_tape_linear(t, h, in[W_V], in[B_V], ATTN_ACT_NONE), may);
}

static attn_var generator_gate(const attn__build *b, attn_var c)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0};
    const attn_var from_states = attn_tape_linear(t, in[Q], in[W_GS], in[B_G], ATTN_ACT_NONE);
    const attn_var from_context = attn_tape_linear(t, c, in[W_GC], none, ATTN_ACT_NONE);
    const attn_var from_inputs = attn_tape_linear(t, in[X], in[W_GX], none, ATTN_ACT_NONE);
    return attn_tape_sigmoid(
        t, attn_tape_add(t, attn_tape_add(t, from_states, from_context), from_inputs));
}

static void pointer_generator_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const int64_t V = attn__build_size(b, 'V'), N = attn__build_size(b, 'N');
    if (!attn__build_need(b, N >= V, ATTN_E_SHAPE, "words",
                          "must have at least the words of the vocabulary", V, N))
        return;
    const attn_var c = generator_attend(b), p = generator_gate(b, c);
    const attn_var said = attn_tape_mul(t, generator_words(b, c), p);
    const attn_var copied =
        attn_tape_mul(t, b->out[WEIGHTS], attn_tape_add_scalar(t, attn_tape_neg(t, p), 1));
    b->out[GATE] = p;
    b->out[OUT] =
        attn__copy_scatter(t, attn_tape_pad(t, said, 2, 0, N - V, 0), b->in[IDS], copied);
}

const attn_mech attn__mech_pointer_generator = {
    .name = "pointer_generator",
    .family = "task",
    .about = "summaries: says words of a vocabulary or copies them, with coverage",
    .formula = "out = p softmax(vocabulary) + (1 - p) sum of a_j where ids_j is the word, "
               "p = sigmoid(w_gc . c + w_gs . q + w_gx . x + b_g)",
    .cost = "n^2: time T S (A + E) + T V P, memory T S A + T N",
    .source = "1704.04368",
    .sizes = "B=1,T=3,S=6,D=4,I=3,E=4,A=5,P=4,V=6,N=8",
    .grows = "TS",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_BATCH_FREE | ATTN_CAUSAL | ATTN_STEPS,
    .build = pointer_generator_build,
};
