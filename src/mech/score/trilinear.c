/* SPDX-License-Identifier: MIT
 * Trilinear attention, the score of BiDAF and QANet: a weight for every feature of the query,
 * of the key and of their product.
 *
 *     s_ij = w . [q_i; k_j; q_i * k_j] = w_q.q_i + w_k.k_j + (w_m * q_i).k_j
 *     out_i = sum_j softmax_j(s_ij) v_j
 *
 * q B T D, k B S D, w 3D, v B S E; mask B S hides keys. Nothing of size T S 3D is made: the
 * product weighs the queries, the keys have a bias. w_q.q_i is the same along a row, so a
 * softmax over keys does not see it and its gradient is 0 - not so over queries, see bidaf. Seo
 * et al. 2017 (1611.01603). */
#include "mech/mech.h"

enum { Q, K, V, W, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B S D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B S E", "values"},
    [W] = {"w", ATTN_PARAM | ATTN_GRAD, "3D", "of query, key and product"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T E", "weighted sums of v"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B T S", "of every key"},
    {0}};

static void trilinear_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in;
    const int64_t D = attn__build_size(b, 'D');
    const attn_spec spec = ATTN_SPEC(.scale = 1);
    const attn_var w_k = attn_tape_slice(t, in[W], 0, D, 2 * D);
    const attn_var w_m = attn_tape_slice(t, in[W], 0, 2 * D, 3 * D);
    const attn_var by_key =
        attn_tape_matmul(t, attn__mask_rows(t, in[K], in[MASK]), w_k); /* B S, as B 1 1 S */
    const attn_attention_vars vars = {
        .q = attn_tape_mul(t, in[Q], w_m),
        .k = in[K],
        .v = in[V],
        .bias = attn_tape_unsqueeze(t, attn_tape_unsqueeze(t, by_key, 1), 1)};
    b->out[OUT] = attn__attend(t, &spec, &vars, in[MASK], attn__build_output(b, WEIGHTS));
}

const attn_mech attn__mech_trilinear = {
    .name = "trilinear",
    .family = "score",
    .about = "weighs the features of query, key and their product",
    .formula = "out_i = sum_j softmax_j(w.[q_i; k_j; q_i * k_j]) v_j",
    .cost = "n^2: time T S (D + E), memory T (D + E)",
    .source = "1611.01603",
    .sizes = "B=1,T=5,S=6,D=4,E=4",
    .grows = "TS",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN__SOFT_TRAITS,
    .build = trilinear_build,
};
