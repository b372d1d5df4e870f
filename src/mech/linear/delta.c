/* SPDX-License-Identifier: MIT
 * The delta rule: a state that first looks up what it already holds for a key, and writes only
 * the difference.
 *
 *     u_t = beta_t (v_t - S_{t-1}^T k_t),  S_t = S_{t-1} + k_t u_t^T,  out_t = scale S_t^T q_t
 *
 * q and k B H T D, v B H T E, beta B H T, usually sigmoid: 0 writes nothing; 1 with keys of
 * length 1 replaces what was there. unit_keys takes keys to length 1 (a key of zeros stays and
 * writes nothing). state and final_state carry a sequence on. Yang et al. 2024 (2406.06484),
 * after Schlag et al. 2021 (2102.11174). */
#include "mech/mech.h"

enum { Q, K, V, BETA, STATE, OUT, FINAL_STATE };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B H T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B H T D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B H T E", "values"},
    [BETA] = {"beta", ATTN_IN | ATTN_GRAD | ATTN_OPTIONAL, "B H T", "how much is written; 1"},
    [STATE] = {"state", ATTN_IN | ATTN_GRAD | ATTN_OPTIONAL, "B H D E",
               "before the first token"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B H T E", "what is read at each token"},
    [FINAL_STATE] = {"final_state", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B H D E",
                     "behind the last token"},
    {0}};

enum { SCALE, UNIT_KEYS };
static const attn_param params[] = {
    [SCALE] = {"scale", 'f', "0", NULL, "factor of q.k; 0: 1 / sqrt(D)"},
    [UNIT_KEYS] = {"unit_keys", 'b', "true", NULL, "keys are taken to length 1"},
    {0}};

static void delta_build(const attn__build *b)
{
    const attn_var *in = b->in;
    const attn_scan_spec spec =
        ATTN_SCAN_SPEC(.update = ATTN_SCAN_DELTA, .scale = b->params[SCALE].f);
    const attn_scan_vars vars = {.q = in[Q],
                                 .k = b->params[UNIT_KEYS].i ? attn__unit(b->t, in[K], -1)
                                                             : in[K],
                                 .v = in[V],
                                 .beta = in[BETA],
                                 .state = in[STATE]};
    b->out[OUT] = attn__remember(b, &spec, &vars, FINAL_STATE);
}

const attn_mech attn__mech_delta = {
    .name = "delta",
    .family = "linear",
    .about = "a state that writes the difference to what it holds",
    .formula = "S_t = S_{t-1} + beta_t k_t (v_t - S_{t-1}^T k_t)^T,  out_t = scale S_t^T q_t",
    .cost = "n: time T D E, memory D E",
    .source = "2406.06484",
    .sizes = "B=1,H=2,T=6,D=3,E=4",
    .grows = "T",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_STREAMS | ATTN_CAUSAL | ATTN_STEPS,
    .build = delta_build,
};
