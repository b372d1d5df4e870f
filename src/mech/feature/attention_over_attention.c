/* SPDX-License-Identifier: MIT
 * Attention over attention: where in the document each word of the question looks, averaged by
 * how much the document cares for that word.
 *
 *     m_ij = x_i.y_j
 *     alpha_ij = softmax over i of m_ij          one distribution over the document per word
 *     beta_j   = mean over i of softmax over j of m_ij
 *     out_i    = sum_j alpha_ij beta_j           sums to 1 over the document
 *
 * x B T D is the document, y B S D the question. The mean is over the rows that x_mask allows,
 * not over the padded length. Two more outputs are what the weights are used for: pooled B D is
 * sum_i out_i x_i (sentiment classifiers), and answer B C sums out over the places where
 * `words` names each of the `candidates` (the pointer sum of cloze readers; both ids must be
 * given for it). What the rows of one softmax give to its columns is all that either side
 * needs, and that is summed by tiles, so the matrix is not stored unless weights are asked for.
 * Cui et al. 2017 (1607.04423). */
#include "mech/mech.h"

enum { X, Y, MASK, X_MASK, WORDS, CANDIDATES, OUT, WEIGHTS, Y_WEIGHTS, POOLED, ANSWER };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T D", "the document"},
    [Y] = {"y", ATTN_IN | ATTN_GRAD, "B S D", "the question"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a row of y"},
    [X_MASK] = {"x_mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "and one of x"},
    [WORDS] = {"words", ATTN_IN | ATTN_OPTIONAL | ATTN_IDS, "B T", "which word stands at i"},
    [CANDIDATES] = {"candidates", ATTN_IN | ATTN_OPTIONAL | ATTN_IDS, "B C",
                    "words that may be the answer"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T", "a distribution over the document"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL | ATTN_GRAD, "B T S",
                 "alpha: columns sum to 1"},
    [Y_WEIGHTS] = {"y_weights", ATTN_OUT | ATTN_OPTIONAL | ATTN_GRAD, "B S",
                   "beta: what the question's words count"},
    [POOLED] = {"pooled", ATTN_OUT | ATTN_OPTIONAL | ATTN_GRAD, "B D", "x weighed by out"},
    [ANSWER] = {"answer", ATTN_OUT | ATTN_OPTIONAL | ATTN_GRAD, "B C",
                "probability of each candidate"},
    {0}};

/* alpha: softmax over i, nothing for words of the question that are hidden. */
static attn_var aoa_weights(const attn__build *b, attn__sequence x, attn__sequence y)
{
    attn_tape *t = b->t;
    attn_var mask = x.mask;
    if (attn__given(mask)) mask = attn_tape_unsqueeze(t, mask, 1);
    const attn_var m =
        attn_tape_matmul(t, y.rows, attn_tape_transpose(t, x.rows, 1, 2)); /* B S T */
    const attn_var alpha = attn__mask_rows(t, attn_tape_softmax(t, m, mask, 2), y.mask);
    return attn_tape_transpose(t, alpha, 1, 2);
}

static attn_var aoa_answer(const attn__build *b)
{
    attn_tape *t = b->t;
    const bool both = attn__given(b->in[WORDS]) && attn__given(b->in[CANDIDATES]);
    if (!attn__build_need(b, both, ATTN_E_NULL, "answer",
                          "needs the ids of words and of candidates", 2,
                          attn__given(b->in[WORDS]) + attn__given(b->in[CANDIDATES])))
        return (attn_var){0};
    const attn_var words = attn_tape_unsqueeze(t, attn_tape_cast(t, b->in[WORDS]), 1);
    const attn_var wanted = attn_tape_unsqueeze(t, attn_tape_cast(t, b->in[CANDIDATES]), 2);
    const attn_var same = attn_tape_cast(t, attn_tape_equal(t, wanted, words)); /* B C T */
    return attn_tape_squeeze(
        t, attn_tape_matmul(t, same, attn_tape_unsqueeze(t, b->out[OUT], 2)), 2);
}

static void attention_over_attention_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn__sequence x = attn__sequence_of(b, X, X_MASK), y = attn__sequence_of(b, Y, MASK);
    const attn_var even = attn__pool_even(t, x.rows, x.mask);
    const attn_var beta = attn__score_mass(t, even, x.rows, y.rows, y.mask);
    b->out[Y_WEIGHTS] = beta;
    b->out[OUT] = attn__score_mass(t, beta, y.rows, x.rows, x.mask);
    if (b->wanted[WEIGHTS]) b->out[WEIGHTS] = aoa_weights(b, x, y);
    if (b->wanted[POOLED]) b->out[POOLED] = attn__pool(t, b->out[OUT], x.rows);
    if (b->wanted[ANSWER]) b->out[ANSWER] = aoa_answer(b);
}

const attn_mech attn__mech_attention_over_attention = {
    .name = "attention_over_attention",
    .family = "feature",
    .about = "attention of each question word, weighed by attention to the question",
    .formula = "out = softmax_i(x y^T) mean_i(softmax_j(x y^T))",
    .cost = "n^2: time T S D, memory (T + S) D",
    .source = "1607.04423",
    .sizes = "B=1,T=6,S=4,D=3,C=3",
    .grows = "TS",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = attention_over_attention_build,
};
