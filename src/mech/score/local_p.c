/* SPDX-License-Identifier: MIT
 * Predictive local attention, Luong's local-p: each query says where it looks, and sees a
 * window around that place through a gaussian.
 *
 *     p_i = n sigmoid(v_p . tanh(w_p q_i)),  n: keys of the sequence that are not hidden
 *     a_ij = softmax over j in [p_i - window, p_i + window] of q_i . k_j
 *     out_i = sum_j a_ij exp(-(j - p_i)^2 / (2 sigma^2)) v_j
 *
 * q B T D, k B S D, v B S E, w_p A D, v_p A; mask B S hides keys behind the n-th. The weights
 * are not renormalised, so they sum to less than 1; renormalise puts the gaussian under the
 * softmax instead. Two calls of the engine: one with the gaussian, one that only says what the
 * sum is without it. The window's ends are limits, p learns through the gaussian alone. Luong
 * et al. 2015 (1508.04025). */
#include "mech/mech.h"

enum { Q, K, V, W_P, V_P, MASK, OUT, WEIGHTS, CENTER };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B S D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B S E", "values"},
    [W_P] = {"w_p", ATTN_PARAM | ATTN_GRAD, "A D", "features of the place"},
    [V_P] = {"v_p", ATTN_PARAM | ATTN_GRAD, "A", "weighs them"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T E", "weighted sums of v"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B T S", "of every key"},
    [CENTER] = {"center", ATTN_OUT | ATTN_OPTIONAL | ATTN_GRAD, "B T",
                "where each query looks"},
    {0}};

enum { WINDOW, SIGMA, SCALE, RENORMALISE };
static const attn_param params[] = {
    [WINDOW] = {"window", 'f', "10", NULL, "keys seen on each side of the place"},
    [SIGMA] = {"sigma", 'f', "0", NULL, "of the gaussian; 0: half the window"},
    [SCALE] = {"scale", 'f', "1", NULL, "of the products; 0: 1 / sqrt(D)"},
    [RENORMALISE] = {"renormalise", 'b', "false", NULL, "weights sum to 1"},
    {0}};

/* n, of rank 2. */
static attn_var local_p_keys(const attn__build *b)
{
    const int64_t S = attn__build_size(b, 'S');
    if (!attn__given(b->in[MASK]))
        return attn_tape_reshape(b->t, attn_tape_scalar(b->t, (double)S), ATTN_DIMS(1, 1));
    return attn_tape_sum(b->t, attn_tape_cast(b->t, b->in[MASK]), ATTN_DIMS(1), true);
}

/* What the gaussian left of each row's sum, B T 1; 0 where a row sees nothing. */
static attn_var local_p_share(attn_tape *t, attn_var with, attn_var without)
{
    const attn_var least = attn_tape_scalar(t, -1e30), none = attn_tape_scalar(t, 0);
    const attn_var empty = attn_tape_less(t, with, least);
    const attn_var share =
        attn_tape_exp(t, attn_tape_sub(t, attn_tape_where(t, empty, none, with),
                                       attn_tape_where(t, empty, none, without)));
    return attn_tape_unsqueeze(t, share, 2);
}

static void local_p_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, nothing = {0};
    const double window = b->params[WINDOW].f, sigma = b->params[SIGMA].f;
    const attn_var h = attn_tape_linear(t, in[Q], in[W_P], nothing, ATTN_ACT_TANH);
    const attn_var place = attn_tape_sigmoid(t, attn_tape_matmul(t, h, in[V_P]));
    attn_spec spec = ATTN_SPEC(.scale = b->params[SCALE].f, .center_width = window,
                               .center_sigma = sigma != 0 ? sigma : window / 2);
    attn_var lse[2];
    if (!attn__build_need(b, window > 0, ATTN_E_PARAM, "window", "must be positive", 1, 0))
        return;
    if (!attn__build_need(b, sigma >= 0, ATTN_E_PARAM, "sigma", "must not be negative", 0, -1))
        return;
    b->out[CENTER] = attn_tape_mul(t, place, local_p_keys(b));
    attn_attention_vars vars = {.q = in[Q],
                                .k = in[K],
                                .v = in[V],
                                .center = attn_tape_unsqueeze(t, b->out[CENTER], 1)};
    attn_var out =
        attn__attend_lse(t, &spec, &vars, in[MASK], attn__build_output(b, WEIGHTS), &lse[0]);
    b->out[OUT] = out;
    if (b->params[RENORMALISE].i) return;
    spec.center_sigma = 0;
    vars.v = attn_tape_slice(t, in[V], 2, 0, 0); /* the sum alone */
    (void)attn__attend_lse(t, &spec, &vars, in[MASK], (attn_tensor){0}, &lse[1]);
    const attn_var share = local_p_share(t, lse[0], lse[1]);
    b->out[OUT] = attn_tape_mul(t, out, share);
    if (b->wanted[WEIGHTS]) b->out[WEIGHTS] = attn_tape_mul(t, b->out[WEIGHTS], share);
}

const attn_mech attn__mech_local_p = {
    .name = "local_p",
    .family = "score",
    .about = "each query predicts where it looks: a gaussian in a window",
    .formula = "out_i = sum_j softmax_j(q_i.k_j) exp(-(j - p_i)^2 / (2 sigma^2)) v_j",
    .cost = "n^2: time T window (D + E) where windows are narrow, memory T E",
    .source = "1508.04025",
    .sizes = "B=1,T=5,S=6,D=4,E=4,A=4",
    .grows = "TS",
    .slots = slots,
    .params = params,
    .traits = ATTN_LINEAR_IN_V | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = local_p_build,
};
