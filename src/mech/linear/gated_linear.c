/* SPDX-License-Identifier: MIT
 * Gated linear attention: a state whose every row forgets at a rate that the token chooses.
 *
 *     S_t = diag(a_t) S_{t-1} + k_t v_t^T,  a_t = exp(decay_t),  out_t = scale S_t^T q_t
 *
 * q and k B H T D, v B H T E; decay is the log of the gate, at most 0 (in the paper
 * log(sigmoid(w x)) / 16), for every key dimension, or broadcast: B H T 1 is one gate a token
 * (as in Mamba-2), H 1 1 one a head (retention). A decay of -inf empties the row. state and
 * final_state carry a sequence on. Yang et al. 2023 (2312.06635). */
#include "mech/mech.h"

enum { Q, K, V, DECAY, STATE, OUT, FINAL_STATE };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B H T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B H T D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B H T E", "values"},
    [DECAY] = {"decay", ATTN_IN | ATTN_GRAD, "*B H T D", "log of the gates"},
    [STATE] = {"state", ATTN_IN | ATTN_GRAD | ATTN_OPTIONAL, "B H D E",
               "before the first token"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B H T E", "what is read at each token"},
    [FINAL_STATE] = {"final_state", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B H D E",
                     "behind the last token"},
    {0}};

enum { SCALE };
static const attn_param params[] = {
    [SCALE] = {"scale", 'f', "0", NULL, "factor of q.k; 0: 1 / sqrt(D)"}, {0}};

static void gated_linear_build(const attn__build *b)
{
    const attn_scan_spec spec = ATTN_SCAN_SPEC(.scale = b->params[SCALE].f);
    const attn_scan_vars vars = {.q = b->in[Q],
                                 .k = b->in[K],
                                 .v = b->in[V],
                                 .decay = attn__decay(b, b->in[DECAY]),
                                 .state = b->in[STATE]};
    b->out[OUT] = attn__remember(b, &spec, &vars, FINAL_STATE);
}

const attn_mech attn__mech_gated_linear = {
    .name = "gated_linear",
    .family = "linear",
    .about = "a state that forgets by key, as each token says",
    .formula = "S_t = diag(exp(decay_t)) S_{t-1} + k_t v_t^T,  out_t = scale S_t^T q_t",
    .cost = "n: time T D E, memory D E",
    .source = "2312.06635",
    .sizes = "B=1,H=2,T=6,D=3,E=4",
    .grows = "T",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_STREAMS | ATTN_CAUSAL | ATTN_STEPS,
    .build = gated_linear_build,
};
