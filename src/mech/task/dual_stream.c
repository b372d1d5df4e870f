/* SPDX-License-Identifier: MIT
 * Two streams: a decoder looks at sound and at video by itself, and gets both contexts side by
 * side.
 *
 *     context of a stream = sum_j softmax_j( w . tanh(w_q q_i + w_k stream_j + b) ) stream_j
 *     out_i = [context of x, context of y]
 *
 * q B T D decoder states, x B S E the sound, y B R E the video, out B T 2E. The streams have
 * lengths of their own and weights of their own; their widths are one, so project them before.
 * A stream that is missing is hidden by its mask: its half of out is 0, and the model goes on
 * with the other. Chung et al. 2017 (1611.05358). */
#include "mech/mech.h"

enum { Q, X, Y, W_Q, W_K, BIAS, W, V_Q, V_K, V_B, V, MASK, Y_MASK, OUT, WEIGHTS, Y_WEIGHTS };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B T D", "decoder states"},
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B S E", "the sound"},
    [Y] = {"y", ATTN_IN | ATTN_GRAD, "B R E", "the video"},
    [W_Q] = {"w_q", ATTN_PARAM | ATTN_GRAD, "A D", "states in the score of the sound"},
    [W_K] = {"w_k", ATTN_PARAM | ATTN_GRAD, "A E", "the sound in its score"},
    [BIAS] = {"b", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "A", "bias of this score"},
    [W] = {"w", ATTN_PARAM | ATTN_GRAD, "A", "this score"},
    [V_Q] = {"w_yq", ATTN_PARAM | ATTN_GRAD, "A D", "states in the score of the video"},
    [V_K] = {"w_yk", ATTN_PARAM | ATTN_GRAD, "A E", "the video in its score"},
    [V_B] = {"b_y", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "A", "bias of that score"},
    [V] = {"w_y", ATTN_PARAM | ATTN_GRAD, "A", "that score"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a step of x"},
    [Y_MASK] = {"y_mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B R", "and of y"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T 2E", "both contexts"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B T S", "on the sound"},
    [Y_WEIGHTS] = {"y_weights", ATTN_OUT | ATTN_OPTIONAL, "B T R", "on the video"},
    {0}};

/* The stream whose slots of weights begin at w. */
static attn_var dual_stream_context(const attn__build *b, int stream, int w, int mask,
                                    int weights)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0};
    const attn_var y = attn__mask_rows(t, in[stream], in[mask]);
    const attn_attention_vars vars = {
        .q = attn_tape_linear(t, in[Q], in[w], none, ATTN_ACT_NONE),
        .k = attn_tape_linear(t, y, in[w + 1], in[w + 2], ATTN_ACT_NONE),
        .v = y};
    return attn__additive_attend(b, &vars, in[w + 3], in[mask], weights);
}

static void dual_stream_build(const attn__build *b)
{
    const attn_var both[] = {dual_stream_context(b, X, W_Q, MASK, WEIGHTS),
                             dual_stream_context(b, Y, V_Q, Y_MASK, Y_WEIGHTS)};
    b->out[OUT] = attn_tape_concat(b->t, 2, both, -1);
}

const attn_mech attn__mech_dual_stream = {
    .name = "dual_stream",
    .family = "task",
    .about = "a decoder looks at sound and video apart and gets both contexts",
    .formula = "out = [softmax(w . tanh(w_q q + w_k x + b)) x, the same of y]",
    .cost = "n^2: time T (S + R) (A + E), memory (T + S + R) A",
    .source = "1611.05358",
    .sizes = "B=1,T=4,S=6,R=5,D=4,E=3,A=4",
    .grows = "TSR",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_BATCH_FREE | ATTN_CAUSAL | ATTN_STEPS | ATTN_STREAMS,
    .build = dual_stream_build,
};
