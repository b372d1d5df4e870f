/* SPDX-License-Identifier: MIT
 * Similarity attention: only directions count.
 *
 *     s_ij = tau cos(q_i, k_j),   out_i = sum_j softmax_j(s_ij) v_j
 *
 * q B T D, k B S D, v B S E; mask B S hides keys. tau is the parameter, or learned:
 * tau = min(exp(log_tau), 100). It multiplies; some divide by a temperature instead. A vector
 * shorter than 1e-12 has no direction: its cosines are 0, and so is its gradient. Graves et al.
 * 2014 (1410.5401); the cap: 2103.00020. */
#include "mech/mech.h"

enum { Q, K, V, LOG_TAU, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B S D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B S E", "values"},
    [LOG_TAU] = {"log_tau", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "1",
                 "log of tau, in place of the parameter"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T E", "weighted sums of v"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B T S", "of every key"},
    {0}};

enum { TAU };
static const attn_param params[] = {
    [TAU] = {"tau", 'f', "1", NULL, "factor of the cosine; not 0"}, {0}};

enum { COSINE_MOST = 100 }; /* a learned tau that runs away */

static void cosine_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in;
    const bool learned = attn__given(in[LOG_TAU]);
    const attn_spec spec = ATTN_SPEC(.scale = learned ? 1 : b->params[TAU].f);
    attn_var q = attn__unit(t, in[Q], -1);
    if (!attn__build_need(b, b->params[TAU].f != 0, ATTN_E_PARAM, "tau", "must not be 0", 1, 0))
        return;
    if (learned)
        q = attn_tape_mul(t, q,
                          attn_tape_minimum(t, attn_tape_exp(t, in[LOG_TAU]),
                                            attn_tape_scalar(t, COSINE_MOST)));
    const attn_attention_vars vars = {.q = q, .k = attn__unit(t, in[K], -1), .v = in[V]};
    b->out[OUT] = attn__attend(t, &spec, &vars, in[MASK], attn__build_output(b, WEIGHTS));
}

const attn_mech attn__mech_cosine = {
    .name = "cosine",
    .family = "score",
    .about = "scores are cosines, sharpened by tau",
    .formula = "out_i = sum_j softmax_j(tau cos(q_i, k_j)) v_j",
    .cost = "n^2: time T S (D + E), memory T (D + E) + S D",
    .source = "1410.5401",
    .sizes = "B=1,T=5,S=6,D=4,E=4",
    .grows = "TS",
    .slots = slots,
    .params = params,
    .traits = ATTN__SOFT_TRAITS,
    .build = cosine_build,
};
