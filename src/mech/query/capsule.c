/* SPDX-License-Identifier: MIT
 * Capsule attention: one capsule for each class reads the sequence for evidence of its own.
 *
 *     e_ti = x_t . w_i;  a_i = softmax over t;  v_i = sum_t a_ti x_t
 *     p_i = sigmoid(w_p,i . v_i + b_i);  out_i = p_i v_i
 *     loss = max(0, 1 + sum_i y_i p_i) + max(0, 1 + sum_i y_i s . out_i)
 *
 * x B S D, w and w_p C D, b C. p is the probability of each class, out_i the reconstruction r_i
 * that a capsule offers; s is the mean of x over what is not hidden, y_i = -1 for the true
 * class (ids target B) and +1 for the others: the true capsule's reconstruction is to lie near
 * the sequence, the others' away from it. Capsules do not look at each other. The hinges have
 * slope 0 where they are inactive. Predict the largest p. With everything hidden v is 0, so p_i
 * = sigmoid(b_i) and out = 0. Wang et al. 2018 (RNN-Capsule), as in the survey 2203.14263. */
#include "mech/mech.h"

enum { X, W, W_P, B_P, TARGET, MASK, OUT, PROBABILITY, WEIGHTS, LOSS };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B S D", "the sequence"},
    [W] = {"w", ATTN_PARAM | ATTN_GRAD, "C D", "what each capsule looks for"},
    [W_P] = {"w_p", ATTN_PARAM | ATTN_GRAD, "C D", "what speaks for its class"},
    [B_P] = {"b_p", ATTN_PARAM | ATTN_GRAD, "C", "its bias"},
    [TARGET] = {"target", ATTN_IN | ATTN_OPTIONAL | ATTN_IDS, "B", "true class, for the loss",
                "C"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a position"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B C D", "reconstructions"},
    [PROBABILITY] = {"probability", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B C",
                     "of each class, they need not sum to 1"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B C S", "of each capsule"},
    [LOSS] = {"loss", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B",
              "the two hinges; needs target"},
    {0}};

/* max(0, 1 + sum over classes of sign x), x B C. */
static attn_var capsule_hinge(attn_tape *t, attn_var sign, attn_var x)
{
    const attn_var sum = attn_tape_sum(t, attn_tape_mul(t, sign, x), ATTN_DIMS(1), false);
    return attn_tape_relu(t, attn_tape_add_scalar(t, sum, 1));
}

static attn_var capsule_loss(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in;
    if (!attn__build_need(b, attn__given(in[TARGET]), ATTN_E_NULL, "target",
                          "the loss needs the true class", 0, 0))
        return (attn_var){0};
    const attn_var truth = attn_tape_one_hot(t, in[TARGET], attn__build_size(b, 'C'));
    const attn_var sign =
        attn_tape_add_scalar(t, attn_tape_mul_scalar(t, truth, -2), 1); /* B C */
    const attn_var x = attn__mask_rows(t, in[X], in[MASK]);
    const attn_var mean = attn__pool_mean(t, x, in[MASK]); /* B D */
    const attn_var near = attn_tape_squeeze(
        t, attn_tape_matmul(t, b->out[OUT], attn_tape_unsqueeze(t, mean, 2)), 2);
    return attn_tape_add(t, capsule_hinge(t, sign, b->out[PROBABILITY]),
                         capsule_hinge(t, sign, near));
}

static void capsule_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0}, x = attn__mask_rows(t, in[X], in[MASK]);
    const attn_var scores = attn_tape_transpose(
        t, attn_tape_linear(t, x, in[W], none, ATTN_ACT_NONE), 1, 2); /* B C S */
    attn_var allowed = in[MASK];
    if (attn__given(allowed)) allowed = attn_tape_unsqueeze(t, allowed, 1);
    const attn_var weights = attn_tape_softmax(t, scores, allowed, 2);
    const attn_var v = attn_tape_matmul(t, weights, x); /* B C D */
    const attn_var evidence =
        attn_tape_sum(t, attn_tape_mul(t, v, in[W_P]), ATTN_DIMS(2), false);
    const attn_var p = attn_tape_sigmoid(t, attn_tape_add(t, evidence, in[B_P]));
    b->out[WEIGHTS] = weights;
    b->out[PROBABILITY] = p;
    b->out[OUT] = attn_tape_mul(t, v, attn_tape_unsqueeze(t, p, 2));
    if (b->wanted[LOSS]) b->out[LOSS] = capsule_loss(b);
}

const attn_mech attn__mech_capsule = {
    .name = "capsule",
    .family = "query",
    .about = "a capsule for each class reads the sequence for itself",
    .formula = "v_i = sum_t softmax_t(x_t . w_i) x_t, p_i = sigmoid(w_p,i . v_i + b_i), "
               "out_i = p_i v_i",
    .cost = "n k: time S C D, memory S C",
    .source = "Wang, Sun, Han, Liu, Zhu 2018, Sentiment Analysis by Capsules",
    .sizes = "B=1,S=6,D=4,C=3",
    .grows = "S",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = capsule_build,
};
