/* SPDX-License-Identifier: MIT
 * Multi-dimensional attention: additive scores with a vector of weights for every feature of
 * the values.
 *
 *     e_ij = w_d tanh(w_q q_i + w_k k_j + b) in R^E
 *     out_i[f] = sum_j softmax_j(e_ij[f]) v_j[f]
 *
 * q B T D, k B S C, v B S E, w_q A D, w_k A C, b A, w_d E A; mask B S hides keys. Each feature
 * of v is a head of its own over the same projected queries and keys, so nothing of size T S E
 * is kept; the price is a tanh for each head, T S A E of them. With equal rows of w_d every
 * feature has the same weights: additive. Shen et al. 2018 (1709.04696), in the form of the
 * survey 2203.14263. */
#include "mech/mech.h"

enum { Q, K, V, W_Q, W_K, BIAS, W_D, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B S C", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B S E", "values"},
    [W_Q] = {"w_q", ATTN_PARAM | ATTN_GRAD, "A D", "projects the queries"},
    [W_K] = {"w_k", ATTN_PARAM | ATTN_GRAD, "A C", "projects the keys"},
    [BIAS] = {"b", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "A", "added to both"},
    [W_D] = {"w_d", ATTN_PARAM | ATTN_GRAD, "E A", "a row for every feature of v"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T E", "weighted sums of v"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B E T S", "of every feature"},
    {0}};

/* The same rows for every feature: B E n A, a view. */
static attn_var multi_dimensional_share(attn_tape *t, attn_var x, int64_t E)
{
    const attn_var one = attn_tape_unsqueeze(t, x, 1);
    return attn_tape_expand(t, one, ATTN_DIMS(-1, E, -1, -1));
}

static void multi_dimensional_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0};
    const int64_t E = attn__build_size(b, 'E');
    const attn_spec spec = ATTN_SPEC(.score = ATTN_SCORE_ADDITIVE);
    if (!attn__build_need(b, E > 0, ATTN_E_SHAPE, "v", "needs a feature", 1, E)) return;
    const attn_var q = attn_tape_linear(t, in[Q], in[W_Q], none, ATTN_ACT_NONE);
    const attn_var keys = attn__mask_rows(t, in[K], in[MASK]);
    const attn_var k = attn_tape_linear(t, keys, in[W_K], in[BIAS], ATTN_ACT_NONE);
    const attn_attention_vars vars = {.q = multi_dimensional_share(t, q, E),
                                      .k = multi_dimensional_share(t, k, E),
                                      .v = attn__heads_split(t, in[V], E),
                                      .score_w = in[W_D]};
    const attn_var o = attn__attend(t, &spec, &vars, in[MASK], attn__build_output(b, WEIGHTS));
    b->out[OUT] = attn__heads_join(t, o);
}

const attn_mech attn__mech_multi_dimensional = {
    .name = "multi_dimensional",
    .family = "dimension",
    .about = "additive scores for every feature of the values",
    .formula = "out_i[f] = sum_j softmax_j((w_d tanh(w_q q_i + w_k k_j + b))[f]) v_j[f]",
    .cost = "n^2: T S A E tanh, memory (T + S) (A + E)",
    .source = "1709.04696, 2203.14263",
    .sizes = "B=1,T=5,S=6,D=4,C=4,A=4,E=4",
    .grows = "TS",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN__SOFT_TRAITS,
    .build = multi_dimensional_build,
};
