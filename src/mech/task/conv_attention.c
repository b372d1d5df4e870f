/* SPDX-License-Identifier: MIT
 * A block that mixes attention, which sees far, with convolution, which sees near: a gate
 * decides for every feature of every step.
 *
 *     far  = concat_h( softmax(q_h k_h^T / sqrt(A/H)) v_h ) w_o^T,  q k v by w_q w_k w_v
 *     near = w_n silu(w_d * glu(w_p x)),  w_d one filter of K taps a feature
 *     gate = sigmoid(w_g x + b_g);  out = x + gate far + (1 - gate) near
 *
 * x B T D. glu is the first half times the sigmoid of the second. The convolution is that of
 * the Conformer without its normalisation; branches side by side with a learned mixture are
 * those of the Branchformer, the gate is our own choice. Layer normalisation before and the
 * feed-forward layer after are the caller's. causal: attention looks back only and the filter
 * is moved so that it ends at its step; otherwise it is centred (an even filter reaches one
 * step further back). mask hides padding: nobody sees it, and it is 0 in both branches and in
 * the gate. Gulati et al. 2020 (2005.08100), Peng et al. 2022
 * (2207.02971). */
#include "mech/mech.h"

enum { X, W_Q, W_K, W_V, W_O, W_P, W_D, W_N, W_G, B_G, MASK, OUT, WEIGHTS, GATE };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T D", "a sequence"},
    [W_Q] = {"w_q", ATTN_PARAM | ATTN_GRAD, "A D", "queries"},
    [W_K] = {"w_k", ATTN_PARAM | ATTN_GRAD, "A D", "keys"},
    [W_V] = {"w_v", ATTN_PARAM | ATTN_GRAD, "P D", "values"},
    [W_O] = {"w_o", ATTN_PARAM | ATTN_GRAD, "D P", "heads to features"},
    [W_P] = {"w_p", ATTN_PARAM | ATTN_GRAD, "2D D", "before the filters, value and gate"},
    [W_D] = {"w_d", ATTN_PARAM | ATTN_GRAD, "D K", "a filter for each feature"},
    [W_N] = {"w_n", ATTN_PARAM | ATTN_GRAD, "D D", "after the filters"},
    [W_G] = {"w_g", ATTN_PARAM | ATTN_GRAD, "D D", "gate between far and near"},
    [B_G] = {"b_g", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "D", "its bias"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "false hides a step"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T D", "the sequence, having seen far and near"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B H T T", "attention"},
    [GATE] = {"gate", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B T D", "1 is far, 0 near"},
    {0}};

enum { HEADS, CAUSAL };
static const attn_param params[] = {
    [HEADS] = {"heads", 'i', "2", NULL, "they share the features of the weights evenly", 'H'},
    [CAUSAL] = {"causal", 'b', "false", NULL, "see nothing that comes later"},
    {0}};

static attn_var conv_attention_far(const attn__build *b, attn_var x)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0};
    const int64_t heads = b->params[HEADS].i;
    const attn_attention_vars vars = {
        .q = attn__heads_split(t, attn_tape_linear(t, x, in[W_Q], none, ATTN_ACT_NONE), heads),
        .k = attn__heads_split(t, attn_tape_linear(t, x, in[W_K], none, ATTN_ACT_NONE), heads),
        .v = attn__heads_split(t, attn_tape_linear(t, x, in[W_V], none, ATTN_ACT_NONE), heads)};
    const attn_var o = attn__attend(t, &ATTN_SPEC(.causal = b->params[CAUSAL].i), &vars,
                                    in[MASK], attn__build_output(b, WEIGHTS));
    return attn_tape_linear(t, attn__heads_join(t, o), in[W_O], none, ATTN_ACT_NONE);
}

static attn_var conv_attention_near(const attn__build *b, attn_var x)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0};
    const int64_t taps = attn__build_size(b, 'K'),
                  before = b->params[CAUSAL].i ? taps - 1 : taps / 2;
    const attn_conv each = {.groups = attn__build_size(b, 'D')};
    attn_var half[2];
    if (!attn_tape_split(t, attn_tape_linear(t, x, in[W_P], none, ATTN_ACT_NONE), 2, 2, half))
        return none;
    attn_var u = attn_tape_mul(t, half[0], attn_tape_sigmoid(t, half[1]));
    u = attn_tape_pad(t, attn_tape_transpose(t, u, 1, 2), 2, before, taps - 1 - before, 0);
    u = attn_tape_conv1d(t, u, attn_tape_unsqueeze(t, in[W_D], 1), none, &each);
    return attn_tape_linear(t, attn_tape_silu(t, attn_tape_transpose(t, u, 1, 2)), in[W_N],
                            none, ATTN_ACT_NONE);
}

static void conv_attention_build(const attn__build *b)
{
    attn_tape *t = b->t;
    if (!attn__build_need(b, attn__build_size(b, 'K') > 0, ATTN_E_SHAPE, "w_d",
                          "a filter must have a tap", 1, attn__build_size(b, 'K')))
        return;
    const attn_var x = attn__mask_rows(t, b->in[X], b->in[MASK]);
    const attn_var far = conv_attention_far(b, x), near = conv_attention_near(b, x);
    const attn_var gate = attn_tape_linear(t, x, b->in[W_G], b->in[B_G], ATTN_ACT_SIGMOID);
    const attn_var mixed =
        attn_tape_add(t, near, attn_tape_mul(t, gate, attn_tape_sub(t, far, near)));
    b->out[GATE] = gate;
    b->out[OUT] = attn_tape_add(t, b->in[X], mixed);
}

const attn_mech attn__mech_conv_attention = {
    .name = "conv_attention",
    .family = "task",
    .about = "attention sees far, convolution near, a gate mixes them",
    .formula = "out = x + gate attention(x) + (1 - gate) w_n silu(w_d * glu(w_p x)), gate = "
               "sigmoid(w_g x + b_g)",
    .cost = "n^2: time T T (A + P) + T D (D + K), memory T (A + P + D)",
    .source = "2005.08100",
    .sizes = "B=1,H=2,T=6,D=4,A=4,P=8,K=3",
    .grows = "T",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_CAUSAL | ATTN_STREAMS,
    .build = conv_attention_build,
};
