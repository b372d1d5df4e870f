/* SPDX-License-Identifier: MIT
 * A pointer network: the weights are the answer. Each query points at one of the inputs.
 *
 *     u[i][j] = w . tanh(w_q q_i + w_k k_j)
 *     out_i = softmax(u_i) over the keys it may point at
 *
 * q B T D (decoder states), k B S C (encoded inputs), out B T S. mask hides padding; allowed,
 * of every query by itself, hides what has been taken (tours, sorting). log_weights are what a
 * cross entropy wants: -inf where a key is hidden. pick is the likeliest key, the lowest of
 * equals. A query that may point nowhere has weights 0 and picks 0.
 * Vinyals et al. 2015 (1506.03134). */
#include "mech/mech.h"

enum { Q, K, W_Q, W_K, W, MASK, ALLOWED, OUT, LOG, PICK };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B T D", "who points"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B S C", "what is pointed at"},
    [W_Q] = {"w_q", ATTN_PARAM | ATTN_GRAD, "A D", "queries in the score"},
    [W_K] = {"w_k", ATTN_PARAM | ATTN_GRAD, "A C", "keys in the score"},
    [W] = {"w", ATTN_PARAM | ATTN_GRAD, "A", "score of their sum"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [ALLOWED] = {"allowed", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "*B T S",
                 "false hides a key from a query"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T S", "probability of every key"},
    [LOG] = {"log_weights", ATTN_OUT | ATTN_OPTIONAL, "B T S", "its logarithm"},
    [PICK] = {"pick", ATTN_OUT | ATTN_OPTIONAL | ATTN_IDS, "B T", "the likeliest key"},
    {0}};

static void pointer_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0};
    const attn_var keys = attn__mask_rows(t, in[K], in[MASK]);
    const attn_var u = attn_tape_additive_scores(
        t, attn_tape_linear(t, in[Q], in[W_Q], none, ATTN_ACT_NONE),
        attn_tape_linear(t, keys, in[W_K], none, ATTN_ACT_NONE), in[W]);
    const attn_var mask = attn__given(in[MASK]) ? attn_tape_unsqueeze(t, in[MASK], 1) : none;
    const attn_var allowed = attn__pair_mask(t, mask, in[ALLOWED]);
    b->out[OUT] = attn_tape_softmax(t, u, allowed, -1);
    if (b->wanted[LOG]) b->out[LOG] = attn_tape_log(t, b->out[OUT]);
    if (b->wanted[PICK]) b->out[PICK] = attn_tape_argmax(t, b->out[OUT], -1, false);
}

const attn_mech attn__mech_pointer = {
    .name = "pointer",
    .family = "task",
    .about = "the weights are the answer: each query points at an input",
    .formula = "out = softmax(w . tanh(w_q q + w_k k))",
    .cost = "n^2: time T S A, memory T (S + A)",
    .source = "1506.03134",
    .sizes = "B=1,T=5,S=6,D=4,C=3,A=4",
    .grows = "TS",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_CAUSAL | ATTN_STEPS,
    .build = pointer_build,
};
