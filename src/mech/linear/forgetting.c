/* SPDX-License-Identifier: MIT
 * Forgetting attention: causal softmax attention whose scores fall by what was forgotten on the
 * way from the key to the query.
 *
 *     out_i = softmax_{j <= i}(scale q_i.k_j + c_i - c_j) v,  c = running sum of log_f
 *
 * q and k B H T D, v B H T E; log_f B H T is the log of the forget gate of each token and head,
 * at most 0. c_i is the same for all keys of a query and leaves the softmax as it is, so a bias
 * of -c_j for each key says it all, and nothing of size T x T is made; it is as exact as c is
 * (f32: c of 1000 is off by 3e-5 - give f64 for very long texts with strong gates). mask B T
 * hides keys, and a hidden token forgets nothing. All gates 1: causal attention. One gate for
 * all tokens: ALiBi. Lin et al. 2025 (2503.02130). */
#include "mech/mech.h"

enum { Q, K, V, LOG_F, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B H T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B H T D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B H T E", "values"},
    [LOG_F] = {"log_f", ATTN_IN | ATTN_GRAD, "B H T", "log of the forget gates"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B H T E", "the weighted means of v"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B H T T", "of every head"},
    {0}};

enum { SCALE };
static const attn_param params[] = {
    [SCALE] = {"scale", 'f', "0", NULL, "factor of q.k; 0: 1 / sqrt(D)"}, {0}};

/* Padding in front may hold anything: what is hidden forgets nothing. */
static attn_var forgetting_gates(const attn__build *b)
{
    const attn_var mask = b->in[MASK];
    if (!attn__given(mask)) return b->in[LOG_F];
    return attn_tape_where(b->t, attn_tape_unsqueeze(b->t, mask, 1), b->in[LOG_F],
                           attn_tape_scalar(b->t, 0));
}

static void forgetting_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in;
    const attn_spec spec = ATTN_SPEC(.causal = true, .scale = b->params[SCALE].f);
    const attn_var c = attn_tape_cumsum(t, forgetting_gates(b), 2);
    const attn_attention_vars vars = {
        .q = in[Q],
        .k = in[K],
        .v = in[V],
        .bias = attn_tape_unsqueeze(t, attn_tape_neg(t, c), 2)}; /* B H 1 T */
    b->out[OUT] = attn__attend(t, &spec, &vars, in[MASK], attn__build_output(b, WEIGHTS));
}

const attn_mech attn__mech_forgetting = {
    .name = "forgetting",
    .family = "linear",
    .about = "softmax attention with forget gates",
    .formula = "out_i = softmax_{j<=i}(scale q_i.k_j + sum_{j<s<=i} log_f_s) v",
    .cost = "n^2: time T^2 (D + E), memory T (D + E)",
    .source = "2503.02130",
    .sizes = "B=1,H=2,T=6,D=3,E=4",
    .grows = "T",
    .slots = slots,
    .params = params,
    .traits = ATTN_ROWS_SUM_1 | ATTN_SHIFT_INVARIANT | ATTN_LINEAR_IN_V | ATTN_BATCH_FREE |
              ATTN_MASKED_ROW_ZERO | ATTN_STREAMS | ATTN_CAUSAL | ATTN_STEPS,
    .build = forgetting_build,
};
