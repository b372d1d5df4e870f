/* SPDX-License-Identifier: MIT
 * Tri-Attention, additive: a small network looks at a query, a key and a context together.
 *
 *     s_ijc = p.tanh(w_q q_i + w_k k_j + w_c c_c)
 *     out_i = sum_jc a_ijc (v_j + u_c),   a_i = softmax over all pairs (j, c) of s_ijc
 *
 * q B T D, k B S D, v B S E, and c B J D the context of the conversation; u B J E is its value,
 * c itself when not given (then E = D). A pair is allowed where mask allows its key and c_mask
 * its context. With w_c = 0 this is additive attention plus the mean of u. Heads share A and E,
 * each with its part of p. Published code puts a dense layer over all pairs behind tanh, for
 * fixed lengths and without a mask; this is the equation instead. Each pair is one key of the
 * fused engine, w_k k_j + w_c c_c: memory grows with S J and with T, never with T S J.
 * Yu et al. 2022 (2211.02899). */
#include "mech/mech.h"

enum { Q, K, V, C, U, W_Q, W_K, W_C, P, MASK, C_MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B S D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B S E", "values"},
    [C] = {"c", ATTN_IN | ATTN_GRAD, "B J D", "contexts"},
    [U] = {"u", ATTN_IN | ATTN_GRAD | ATTN_OPTIONAL, "B J E", "values of contexts; none: c"},
    [W_Q] = {"w_q", ATTN_PARAM | ATTN_GRAD, "A D", "hidden layer: of the query"},
    [W_K] = {"w_k", ATTN_PARAM | ATTN_GRAD, "A D", "hidden layer: of the key"},
    [W_C] = {"w_c", ATTN_PARAM | ATTN_GRAD, "A D", "hidden layer: of the context"},
    [P] = {"p", ATTN_PARAM | ATTN_GRAD, "A", "to a score"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [C_MASK] = {"c_mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B J", "and a context"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T E", "sums over pairs"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B H T S J", "of every pair and head"},
    {0}};

enum { HEADS };
static const attn_param params[] = {
    [HEADS] = {"heads", 'i', "1", NULL, "they share A and E evenly", 'H'}, {0}};

static attn_var additive_project(const attn__build *b, attn_var x, int w)
{
    return attn_tape_linear(b->t, x, b->in[w], (attn_var){0}, ATTN_ACT_NONE);
}

static void tri_additive_build(const attn__build *b)
{
    const attn_var k = attn__mask_rows(b->t, b->in[K], b->in[MASK]);
    const attn_var c = attn__mask_rows(b->t, b->in[C], b->in[C_MASK]);
    const attn_var u = attn__tri_values(b, b->in[U], b->in[C]);
    const attn_var keys =
        attn__tri_sums(b->t, additive_project(b, k, W_K), additive_project(b, c, W_C));
    const attn__tri tri = {.q = additive_project(b, b->in[Q], W_Q),
                           .keys = keys,
                           .values = attn__tri_sums(b->t, b->in[V], u),
                           .mask = attn__tri_mask(b, b->in[MASK], b->in[C_MASK]),
                           .score = ATTN_SCORE_ADDITIVE,
                           .score_w = b->in[P],
                           .heads = b->params[HEADS].i};
    b->out[OUT] = attn__tri_attend(b, &tri, WEIGHTS);
}

const attn_mech attn__mech_tri_additive = {
    .name = "tri_additive",
    .family = "context",
    .about = "a small network scores query, key and context together",
    .formula = "out = sum_jc softmax_jc(p.tanh(w_q q + w_k k_j + w_c c_c)) (v_j + u_c)",
    .cost = "n^2: time T S J (A + E), memory T E + S J (A + E)",
    .source = "2211.02899",
    .sizes = "B=1,H=1,T=4,S=3,J=2,D=4,E=4,A=3",
    .grows = "TS",
    .slots = slots,
    .params = params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_SHIFT_INVARIANT | ATTN_BATCH_FREE |
              ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = tri_additive_build,
};
