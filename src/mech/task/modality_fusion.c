/* SPDX-License-Identifier: MIT
 * Late fusion: modalities are weighed against each other, or gated, and summed; one may be
 * missing.
 *
 *     h_n = tanh(w_h[n] x_n + b_h[n]),  s_n = w . h_n
 *     weights = softmax over n of s      (weigh = softmax: they share 1)
 *             = sigmoid(s_n)             (weigh = sigmoid: each decides for itself)
 *     out = sum_n weights_n h_n
 *
 * x B N D holds N modalities, projected to one width before; out B P. mask B N is false where
 * one is missing: the others share its weight (softmax) or go on as they are (sigmoid). With
 * none left out is 0. The softmax form is attention over modalities as in Hori et al. 2017
 * (1701.03126), the gates are those of gated multimodal units, here one number a modality and
 * without looking at the other modalities: Arevalo et al. 2017 (1702.01992). */
#include "mech/mech.h"

enum { X, W_H, B_H, W, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B N D", "modalities"},
    [W_H] = {"w_h", ATTN_PARAM | ATTN_GRAD, "N P D", "each to the common space"},
    [B_H] = {"b_h", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "N P", "its bias"},
    [W] = {"w", ATTN_PARAM | ATTN_GRAD, "P", "score of what is there"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B N", "false: it is missing"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B P", "the sum"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B N", "of the modalities"},
    {0}};

enum { WEIGH };
static const attn_param params[] = {
    [WEIGH] = {"weigh", 'e', "softmax", "softmax|sigmoid", "against each other, or each alone"},
    {0}};

static attn_var fusion_weights(const attn__build *b, attn_var s)
{
    attn_tape *t = b->t;
    if (b->params[WEIGH].i == 0) return attn__pool_weights(t, s, b->in[MASK]);
    const attn_var gates = attn_tape_sigmoid(t, s);
    if (!attn__given(b->in[MASK])) return gates;
    return attn_tape_where(t, b->in[MASK], gates, attn_tape_scalar(t, 0));
}

static void modality_fusion_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0};
    const attn_var x = attn__mask_rows(t, in[X], in[MASK]);
    const attn_var rows = attn_tape_unsqueeze(t, x, 2); /* B N 1 D */
    attn_var h = attn_tape_squeeze(
        t, attn_tape_matmul(t, rows, attn_tape_transpose(t, in[W_H], 1, 2)), 2);
    if (attn__given(in[B_H])) h = attn_tape_add(t, h, in[B_H]);
    h = attn_tape_tanh(t, h);
    const attn_var s =
        attn_tape_linear(t, h, attn_tape_unsqueeze(t, in[W], 0), none, ATTN_ACT_NONE);
    b->out[WEIGHTS] = fusion_weights(b, attn_tape_squeeze(t, s, -1));
    b->out[OUT] = attn__pool(t, b->out[WEIGHTS], h);
}

const attn_mech attn__mech_modality_fusion = {
    .name = "modality_fusion",
    .family = "task",
    .about = "modalities weighed against each other or gated, one may be missing",
    .formula = "h_n = tanh(w_h[n] x_n + b_h[n]), out = sum_n weights_n h_n, weights = softmax "
               "or sigmoid of w . h",
    .cost = "n: time N D P, memory N P",
    .source = "1701.03126",
    .sizes = "B=1,N=3,D=4,P=5",
    .grows = "N",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = modality_fusion_build,
};
