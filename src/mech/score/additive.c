/* SPDX-License-Identifier: MIT
 * Additive attention, Bahdanau's: query and key are projected into one space and added, a tanh
 * bends each feature, a vector weighs them.
 *
 *     s_ij = w . tanh(w_q q_i + w_k k_j + b),   out_i = sum_j softmax_j(s_ij) v_j
 *
 * q B T D, k B S C, w_q A D, w_k A C, b A, w A, v B S E; mask B S hides keys. With the scalar g
 * the vector counts by its direction alone, g w / |w| (Raffel et al. 2017). T S A tanh are the
 * cost, in a kernel of its own, nothing of size T S A is kept; docs/numerics.md says how fast.
 * Luong's "concat", w . tanh(W [q; k]), is this with W = [w_q | w_k]. Bahdanau et al. 2015
 * (1409.0473). */
#include "mech/mech.h"

enum { Q, K, V, W_Q, W_K, BIAS, W, G, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B S C", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B S E", "values"},
    [W_Q] = {"w_q", ATTN_PARAM | ATTN_GRAD, "A D", "projects the queries"},
    [W_K] = {"w_k", ATTN_PARAM | ATTN_GRAD, "A C", "projects the keys"},
    [BIAS] = {"b", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "A", "added to both"},
    [W] = {"w", ATTN_PARAM | ATTN_GRAD, "A", "weighs the features"},
    [G] = {"g", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "1", "length of w in place of its own"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T E", "weighted sums of v"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B T S", "of every key"},
    {0}};

static void additive_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0};
    const attn_spec spec = ATTN_SPEC(.score = ATTN_SCORE_ADDITIVE);
    const attn_var w =
        attn__given(in[G]) ? attn_tape_mul(t, attn__unit(t, in[W], -1), in[G]) : in[W];
    const attn_attention_vars vars = {
        .q = attn_tape_linear(t, in[Q], in[W_Q], none, ATTN_ACT_NONE),
        .k = attn_tape_linear(t, attn__mask_rows(t, in[K], in[MASK]), in[W_K], in[BIAS],
                              ATTN_ACT_NONE),
        .v = in[V],
        .score_w = w};
    b->out[OUT] = attn__attend(t, &spec, &vars, in[MASK], attn__build_output(b, WEIGHTS));
}

const attn_mech attn__mech_additive = {
    .name = "additive",
    .family = "score",
    .about = "a weighted sum of tanh of the projected query and key",
    .formula = "out_i = sum_j softmax_j(w.tanh(w_q q_i + w_k k_j + b)) v_j",
    .cost = "n^2: T S A tanh, memory (T + S) A",
    .source = "1409.0473 (g: 1704.00784; concat: 1508.04025)",
    .sizes = "B=1,T=5,S=6,D=4,C=4,A=4,E=4",
    .grows = "TS",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN__SOFT_TRAITS,
    .build = additive_build,
};
