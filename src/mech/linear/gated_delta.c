/* SPDX-License-Identifier: MIT
 * The gated delta rule: the state forgets, then looks up what it still holds, then writes the
 * difference.
 *
 *     S' = diag(exp(decay_t)) S_{t-1},  u_t = beta_t (v_t - S'^T k_t),  S_t = S' + k_t u_t^T,
 *     out_t = scale S_t^T q_t
 *
 * q and k B H T D, v B H T E, beta B H T; decay, the log of the gate, B H T D or broadcast: the
 * paper has one for each token (B H T 1). unit_keys takes keys to length 1. state and
 * final_state carry a sequence on. Without decays it is delta. Yang et al. 2024
 * (2412.06464). */
#include "mech/mech.h"

enum { Q, K, V, DECAY, BETA, STATE, OUT, FINAL_STATE };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B H T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B H T D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B H T E", "values"},
    [DECAY] = {"decay", ATTN_IN | ATTN_GRAD, "*B H T D", "log of the gates"},
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

static void gated_delta_build(const attn__build *b)
{
    const attn_var *in = b->in;
    const attn_scan_spec spec =
        ATTN_SCAN_SPEC(.update = ATTN_SCAN_DELTA, .scale = b->params[SCALE].f);
    const attn_scan_vars vars = {.q = in[Q],
                                 .k = b->params[UNIT_KEYS].i ? attn__unit(b->t, in[K], -1)
                                                             : in[K],
                                 .v = in[V],
                                 .decay = attn__decay(b, in[DECAY]),
                                 .beta = in[BETA],
                                 .state = in[STATE]};
    b->out[OUT] = attn__remember(b, &spec, &vars, FINAL_STATE);
}

const attn_mech attn__mech_gated_delta = {
    .name = "gated_delta",
    .family = "linear",
    .about = "the delta rule on a state that forgets",
    .formula = "S_t = S' + beta_t k_t (v_t - S'^T k_t)^T,  S' = diag(exp(decay_t)) S_{t-1}",
    .cost = "n: time T D E, memory D E",
    .source = "2412.06464",
    .sizes = "B=1,H=2,T=6,D=3,E=4",
    .grows = "T",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_STREAMS | ATTN_CAUSAL | ATTN_STEPS,
    .build = gated_delta_build,
};
