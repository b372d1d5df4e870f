/* SPDX-License-Identifier: MIT
 * Fast weight programmers: the delta rule on features that are mostly orthogonal, so that the
 * state keeps more associations apart.
 *
 *     r = relu([x, -x])
 *     dpfp(x) = [r * r rolled by 1, ..., r * r rolled by nu],  2 D nu features
 *     q' = dpfp(q) / sum dpfp(q),  k' likewise (0 where the sum is)
 *     S_t = S_{t-1} + beta_t k'_t (v_t - S_{t-1}^T k'_t)^T,  out_t = S_t^T q'_t
 *
 * q and k B H T D, v B H T E, beta B H T (usually sigmoid). Features and their sum make it
 * another thing than delta, which has rows of length 1. Schlag et al. 2021 (2102.11174). */
#include "mech/mech.h"

enum { Q, K, V, BETA, OUT };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B H T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B H T D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B H T E", "values"},
    [BETA] = {"beta", ATTN_IN | ATTN_GRAD | ATTN_OPTIONAL, "B H T", "how much is written; 1"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B H T E", "what is read at each token"},
    {0}};

enum { NU, FAST_MOST = 16 };
static const attn_param params[] = {
    [NU] = {"nu", 'i', "1", NULL, "rolls, 1 to 16: 2 D nu features"}, {0}};

static attn_var fast_weights_features(const attn__build *b, attn_var x)
{
    attn_tape *t = b->t;
    attn_var parts[FAST_MOST];
    const int n = (int)b->params[NU].i;
    const attn_var signs[] = {x, attn_tape_neg(t, x)};
    const attn_var r = attn_tape_relu(t, attn_tape_concat(t, 2, signs, -1));
    for (int i = 0; i < n; i++) parts[i] = attn_tape_mul(t, r, attn_tape_roll(t, r, -1, i + 1));
    const attn_var y = attn_tape_concat(t, n, parts, -1);
    const attn_var sum = attn_tape_sum(t, y, ATTN_DIMS(-1), true);
    const attn_var some = attn_tape_less(t, attn_tape_scalar(t, 0), sum);
    return attn_tape_div(t, y, attn_tape_where(t, some, sum, attn_tape_scalar(t, 1)));
}

static void fast_weights_build(const attn__build *b)
{
    const int64_t nu = b->params[NU].i;
    if (!attn__build_need(b, nu >= 1 && nu <= FAST_MOST, ATTN_E_PARAM, "nu", "must be 1 to 16",
                          FAST_MOST, nu))
        return;
    const attn_scan_spec spec = ATTN_SCAN_SPEC(.update = ATTN_SCAN_DELTA, .scale = 1);
    const attn_scan_vars vars = {.q = fast_weights_features(b, b->in[Q]),
                                 .k = fast_weights_features(b, b->in[K]),
                                 .v = b->in[V],
                                 .beta = b->in[BETA]};
    b->out[OUT] = attn__remember(b, &spec, &vars, -1);
}

const attn_mech attn__mech_fast_weights = {
    .name = "fast_weights",
    .family = "linear",
    .about = "the delta rule on sparse features",
    .formula =
        "S_t = S_{t-1} + beta_t k'_t (v_t - S_{t-1}^T k'_t)^T,  k' = dpfp(k) / sum dpfp(k)",
    .cost = "n: time T D nu E, memory D nu E",
    .source = "2102.11174",
    .sizes = "B=1,H=2,T=6,D=3,E=4",
    .grows = "T",
    .slots = slots,
    .params = params,
    .traits = ATTN_LINEAR_IN_V | ATTN_BATCH_FREE | ATTN_STREAMS | ATTN_CAUSAL | ATTN_STEPS,
    .build = fast_weights_build,
};
