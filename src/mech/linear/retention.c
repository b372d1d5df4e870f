/* SPDX-License-Identifier: MIT
 * Retention: linear attention that forgets at a fixed rate, with a parallel and a recurrent
 * form that are the same numbers.
 *
 *     S_t = gamma S_{t-1} + k_t v_t^T,  o_t = scale S_t^T q_t    (recurrent, as it is computed)
 *     o_t = scale sum_{s <= t} gamma^(t-s) (q_t.k_s) v_s         (parallel)
 *
 * q and k B H T D, v B H T E. gamma: a rate for each head, by default 1 - 2^(-5-h) for head h.
 * group_norm takes each head's row to mean 0 and variance 1; gate multiplies by gate
 * sigmoid(gate) (swish), as the layer of the paper does. Its rotation (xPos) is a rotation of q
 * and k before they come here. state and final_state carry a sequence on. Sun et al. 2023
 * (2307.08621). */
#include "mech/mech.h"

enum { Q, K, V, GAMMA, GATE, STATE, OUT, FINAL_STATE };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B H T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B H T D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B H T E", "values"},
    [GAMMA] = {"gamma", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "H", "rates, in (0, 1]"},
    [GATE] = {"gate", ATTN_IN | ATTN_GRAD | ATTN_OPTIONAL, "B H T E", "of the swish"},
    [STATE] = {"state", ATTN_IN | ATTN_GRAD | ATTN_OPTIONAL, "B H D E",
               "before the first token"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B H T E", "what is read at each token"},
    [FINAL_STATE] = {"final_state", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B H D E",
                     "behind the last token"},
    {0}};

enum { SCALE, GROUP_NORM, NORM_EPS };
static const attn_param params[] = {
    [SCALE] = {"scale", 'f', "0", NULL, "factor of q.k; 0: 1 / sqrt(D)"},
    [GROUP_NORM] = {"group_norm", 'b', "false", NULL, "mean 0 and variance 1 for each head"},
    [NORM_EPS] = {"norm_eps", 'f', "1e-5", NULL, "added to that variance"},
    {0}};

/* log(1 - 2^(-5-h)): the powers are exact, as running products of halves. */
static attn_var retention_rates(const attn__build *b)
{
    attn_tape *t = b->t;
    const int64_t H = attn__build_size(b, 'H');
    const attn_var halves = attn_tape_expand(t, attn_tape_scalar(t, 0.5), ATTN_DIMS(H));
    const attn_var loss = attn_tape_mul_scalar(t, attn_tape_cumprod(t, halves, 0), 0.0625);
    return attn_tape_sub(t, attn_tape_scalar(t, 1), loss);
}

static void retention_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0};
    const attn_var gamma = attn__given(in[GAMMA]) ? in[GAMMA] : retention_rates(b);
    const attn_scan_spec spec = ATTN_SCAN_SPEC(.scale = b->params[SCALE].f);
    const attn_scan_vars vars = {.q = in[Q],
                                 .k = in[K],
                                 .v = in[V],
                                 .decay = attn_tape_log(t, gamma),
                                 .state = in[STATE]};
    attn_var o = attn__remember(b, &spec, &vars, FINAL_STATE);
    if (b->params[GROUP_NORM].i)
        o = attn_tape_layernorm(t, o, 1, none, none, b->params[NORM_EPS].f);
    if (attn__given(in[GATE])) o = attn_tape_mul(t, o, attn_tape_silu(t, in[GATE]));
    b->out[OUT] = o;
}

const attn_mech attn__mech_retention = {
    .name = "retention",
    .family = "linear",
    .about = "a state that forgets at a rate of each head",
    .formula = "S_t = gamma S_{t-1} + k_t v_t^T,  out_t = scale S_t^T q_t",
    .cost = "n: time T D E, memory D E",
    .source = "2307.08621",
    .sizes = "B=1,H=2,T=6,D=3,E=4",
    .grows = "T",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_STREAMS | ATTN_CAUSAL | ATTN_STEPS,
    .build = retention_build,
};
