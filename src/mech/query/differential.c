/* SPDX-License-Identifier: MIT
 * Differential attention: each head subtracts a second softmax from a first, so that what both
 * give to irrelevant keys cancels.
 *
 *     lambda = exp(lq1 . lk1) - exp(lq2 . lk2) + lambda_init
 *     o_h = softmax(q1 k1^T / sqrt(L)) v - lambda softmax(q2 k2^T / sqrt(L)) v
 *     out = concat_h( (1 - lambda_init) rmsnorm(o_h) ) w_o^T
 *
 * x B T M. Head h has features 2 h L .. of w_q and w_k: L of q1 and then L of q2; so A = 2 H L,
 * and P = H E values. Two streams of the engine, no matrix. The paper sets lambda_init to
 * 0.8 - 0.6 exp(-0.3 l) in layer l = 0, 1, ... The norm acts on each head alone, with one
 * weight g shared by all; without it (norm=false) out is the bare difference, whose weights sum
 * to 1 - lambda. Ye et al. 2024 (2410.05258). */
#include "mech/mech.h"

enum { X, W_Q, W_K, W_V, W_O, LQ1, LK1, LQ2, LK2, G, MASK, OUT, WEIGHTS_1, WEIGHTS_2 };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T M", "asks itself"},
    [W_Q] = {"w_q", ATTN_PARAM | ATTN_GRAD, "A M", "queries, two a head"},
    [W_K] = {"w_k", ATTN_PARAM | ATTN_GRAD, "A M", "keys, two a head"},
    [W_V] = {"w_v", ATTN_PARAM | ATTN_GRAD, "P M", "values"},
    [W_O] = {"w_o", ATTN_PARAM | ATTN_GRAD, "O P", "heads to output"},
    [LQ1] = {"lambda_q1", ATTN_PARAM | ATTN_GRAD, "L", "of the first softmax"},
    [LK1] = {"lambda_k1", ATTN_PARAM | ATTN_GRAD, "L", "of the first softmax"},
    [LQ2] = {"lambda_q2", ATTN_PARAM | ATTN_GRAD, "L", "of the second"},
    [LK2] = {"lambda_k2", ATTN_PARAM | ATTN_GRAD, "L", "of the second"},
    [G] = {"g", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "E", "of the norm of a head"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T O", "answers"},
    [WEIGHTS_1] = {"weights_1", ATTN_OUT | ATTN_OPTIONAL, "B H T T", "the first softmax"},
    [WEIGHTS_2] = {"weights_2", ATTN_OUT | ATTN_OPTIONAL, "B H T T", "the second"},
    {0}};

enum { HEADS, CAUSAL, LAMBDA_INIT, NORM, EPS };
static const attn_param params[] = {
    [HEADS] = {"heads", 'i', "2", NULL, "of two queries and two keys each", 'H'},
    [CAUSAL] = {"causal", 'b', "true", NULL, "a position sees itself and what came before"},
    [LAMBDA_INIT] = {"lambda_init", 'f', "0.8", NULL, "grows with the layer, see the paper"},
    [NORM] = {"norm", 'b', "true", NULL, "normalise each head, times 1 - lambda_init"},
    [EPS] = {"eps", 'f', "1e-5", NULL, "of the norm"},
    {0}};

static attn_var differential_lambda(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in;
    const attn_var one = attn_tape_exp(t, attn_tape_matmul(t, in[LQ1], in[LK1]));
    const attn_var two = attn_tape_exp(t, attn_tape_matmul(t, in[LQ2], in[LK2]));
    return attn_tape_add_scalar(t, attn_tape_sub(t, one, two), b->params[LAMBDA_INIT].f);
}

/* Every second of 2H heads, as a view. */
static attn_var differential_half(attn_tape *t, attn_var x, int64_t heads, int64_t width,
                                  int half)
{
    const attn_tensor v = attn_tape_value(t, x);
    if (!v.rank) return x;
    const attn_var pairs =
        attn_tape_reshape(t, x, ATTN_DIMS(v.shape[0], v.shape[1], heads, 2, width));
    const attn_var one = attn_tape_slice(t, pairs, 3, half, half + 1);
    return attn_tape_transpose(t, attn_tape_squeeze(t, one, 3), 1, 2);
}

static attn_var differential_attend(const attn__build *b, attn_var q, attn_var k, attn_var v,
                                    int half)
{
    attn_tape *t = b->t;
    const int64_t heads = b->params[HEADS].i, width = attn__build_size(b, 'L');
    const attn_spec spec = ATTN_SPEC(.causal = b->params[CAUSAL].i);
    const attn_attention_vars vars = {.q = differential_half(t, q, heads, width, half),
                                      .k = differential_half(t, k, heads, width, half),
                                      .v = v};
    return attn__attend(t, &spec, &vars, b->in[MASK],
                        attn__build_output(b, half ? WEIGHTS_2 : WEIGHTS_1));
}

static void differential_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0};
    const int64_t heads = b->params[HEADS].i, A = attn__build_size(b, 'A'),
                  L = attn__build_size(b, 'L');
    if (!attn__build_need(b,
                          heads > 0 && A / 2 / attn__max(L, 1) == heads && A == 2 * heads * L,
                          ATTN_E_HEADS, "w_q", "must have 2 heads L rows", A, L))
        return;
    const attn_var q = attn_tape_linear(t, in[X], in[W_Q], none, ATTN_ACT_NONE),
                   k = attn_tape_linear(t, in[X], in[W_K], none, ATTN_ACT_NONE),
                   v = attn__heads_from(t, in[X], in[W_V], heads);
    const attn_var one = differential_attend(b, q, k, v, 0),
                   two = differential_attend(b, q, k, v, 1);
    attn_var o = attn_tape_sub(t, one, attn_tape_mul(t, two, differential_lambda(b)));
    if (b->params[NORM].i)
        o = attn_tape_mul_scalar(t, attn_tape_rmsnorm(t, o, in[G], b->params[EPS].f),
                                 1 - b->params[LAMBDA_INIT].f);
    b->out[OUT] = attn__heads_to(t, o, in[W_O]);
}

const attn_mech attn__mech_differential = {
    .name = "differential",
    .family = "query",
    .about = "each head is the difference of two softmaxes",
    .formula = "o_h = softmax(q1 k1^T / sqrt(L)) v - lambda softmax(q2 k2^T / sqrt(L)) v",
    .cost = "n^2: time 2 T^2 H (L + E), memory T H (L + E)",
    .source = "2410.05258",
    .sizes = "B=1,H=2,T=6,M=4,A=12,L=3,P=8,E=4,O=4",
    .grows = "T",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS | ATTN_CAUSAL | ATTN_STEPS,
    .build = differential_build,
};
