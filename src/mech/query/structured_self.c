/* SPDX-License-Identifier: MIT
 * Structured self-attentive embedding: R learned questions read a sequence, and a penalty keeps
 * them from reading the same words.
 *
 *     A = softmax over S of w_2 tanh(w_1 h^T)        R x S, a row for each question
 *     out = A h                                      R x U, the sentence as a matrix
 *     penalty = || A A^T - I ||_F^2
 *
 * h B S U, w_1 N U, w_2 R N. One question (R = 1) is self-attentive pooling. The penalty
 * belongs to a loss with a factor of about 0.3 to 1; it is 0 exactly when every question reads
 * one word, and no two the same one. It is additive attention with R learned queries and no
 * projection of them, so nothing of size S x S appears. With every key hidden A and out are 0
 * and the penalty is R. Lin et al. 2017 (1703.03130). */
#include "mech/mech.h"

enum { X, W_1, W_2, MASK, OUT, WEIGHTS, PENALTY };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B S U", "the sequence, h above"},
    [W_1] = {"w_1", ATTN_PARAM | ATTN_GRAD, "N U", "features to be asked"},
    [W_2] = {"w_2", ATTN_PARAM | ATTN_GRAD, "R N", "R questions"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a position"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B R U", "what each question read"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B R S", "A"},
    [PENALTY] = {"penalty", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B", "overlap of questions"},
    {0}};

static double structured_self_eye(const void *n, int64_t i)
{
    const int64_t R = *(const int64_t *)n;
    return i / R == i % R;
}

static attn_var structured_self_penalty(const attn__build *b, attn_var weights)
{
    attn_tape *t = b->t;
    const int64_t R = attn__build_size(b, 'R');
    const attn_var eye = attn__table(t, ATTN_DIMS(R, R), structured_self_eye, &R);
    const attn_var gram =
        attn_tape_matmul(t, weights, attn_tape_transpose(t, weights, 1, 2)); /* B R R */
    const attn_var rest = attn_tape_sub(t, gram, eye);
    return attn_tape_sum(t, attn_tape_mul(t, rest, rest), ATTN_DIMS(1, 2), false);
}

static void structured_self_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0}, x = attn__mask_rows(t, in[X], in[MASK]);
    const attn_var h = attn_tape_linear(t, x, in[W_1], none, ATTN_ACT_TANH);
    const attn_var scores = attn_tape_transpose(
        t, attn_tape_linear(t, h, in[W_2], none, ATTN_ACT_NONE), 1, 2); /* B R S */
    attn_var allowed = in[MASK];
    if (attn__given(allowed)) allowed = attn_tape_unsqueeze(t, allowed, 1);
    const attn_var weights = attn_tape_softmax(t, scores, allowed, 2);
    b->out[WEIGHTS] = weights;
    b->out[OUT] = attn_tape_matmul(t, weights, x);
    if (b->wanted[PENALTY]) b->out[PENALTY] = structured_self_penalty(b, weights);
}

const attn_mech attn__mech_structured_self = {
    .name = "structured_self",
    .family = "query",
    .about = "learned questions read a sequence, kept apart by a penalty",
    .formula = "A = softmax(w_2 tanh(w_1 x^T)), out = A x, penalty = ||A A^T - I||_F^2",
    .cost = "n k: time S N (U + R), memory S (N + R)",
    .source = "1703.03130",
    .sizes = "B=1,S=6,U=4,N=5,R=3",
    .grows = "S",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = structured_self_build,
};
