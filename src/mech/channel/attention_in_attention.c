/* SPDX-License-Identifier: MIT
 * Attention in attention: a block that has a branch with attention and one without, and decides
 * for each picture how much either counts.
 *
 *     h   = lrelu(w_in x);   pi = softmax(w_b relu(w_a mean(h)) / T)
 *     att = w_4 * ((w_3 * h) sigmoid(w_2 lrelu(w_1 * h) + b_2));   non = w_non * h
 *     out = w_out lrelu(pi_0 att + pi_1 non) + x
 *
 * x B C Y X, F hidden channels (A2N: C = F = 40); * is a convolution with odd sides that keeps
 * the size (3 x 3; w_non 1 x 1 in A2N-M), the other products are by pixel; lrelu has slope 0.2.
 * The paper calls what makes pi its dropout of attention.
 * Only w_2 has a bias. T = 30 keeps pi near a half while it is learned; a small T makes the
 * choice hard. w_out = 0 is the identity. Chen et al. 2021 (2104.09497). */
#include "mech/mech.h"

enum { X, W_IN, W_A, W_B, W1, W2, B2, W3, W4, W_NON, W_OUT, OUT, PI };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B C Y X", "a picture"},
    [W_IN] = {"w_in", ATTN_PARAM | ATTN_GRAD, "F C", "to hidden channels"},
    [W_A] = {"w_a", ATTN_PARAM | ATTN_GRAD, "R F", "pi: squeezes, R = F / 4"},
    [W_B] = {"w_b", ATTN_PARAM | ATTN_GRAD, "2 R", "pi: decides"},
    [W1] = {"w_1", ATTN_PARAM | ATTN_GRAD, "F F K L", "the gate looks around"},
    [W2] = {"w_2", ATTN_PARAM | ATTN_GRAD, "F F", "the gate"},
    [B2] = {"b_2", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "F", "its bias"},
    [W3] = {"w_3", ATTN_PARAM | ATTN_GRAD, "F F K L", "what is gated"},
    [W4] = {"w_4", ATTN_PARAM | ATTN_GRAD, "F F K L", "behind the gate"},
    [W_NON] = {"w_non", ATTN_PARAM | ATTN_GRAD, "F F I J", "the branch without attention"},
    [W_OUT] = {"w_out", ATTN_PARAM | ATTN_GRAD, "C F", "back to the channels of x"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B C Y X", "x and what the block adds"},
    [PI] = {"pi", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B 2", "with attention, without"},
    {0}};

enum { TEMPERATURE, SLOPE };
static const attn_param params[] = {
    [TEMPERATURE] = {"temperature", 'f', "30", NULL, "T, not 0"},
    [SLOPE] = {"slope", 'f', "0.2", NULL, "of lrelu below 0"},
    {0}};

static attn_var a2b_lrelu(const attn__build *b, attn_var x)
{
    return attn_tape_leaky_relu(b->t, x, b->params[SLOPE].f);
}

static attn_var a2b_conv(const attn__build *b, attn_var x, int w)
{
    return attn__conv_same(b->t, x, b->in[w], (attn_var){0}, 1);
}

/* How much each branch counts, B 2. */
static attn_var a2b_choose(const attn__build *b, attn_var h)
{
    attn_tape *t = b->t;
    const attn__gate_layers layers = {.w1 = b->in[W_A], .w2 = b->in[W_B]};
    const attn_var z = attn__picture_mean(t, h, ATTN_DIMS(2, 3));
    const attn_var scores = attn__gate_hidden(t, z, &layers);
    return attn_tape_softmax(t, attn_tape_mul_scalar(t, scores, 1 / b->params[TEMPERATURE].f),
                             (attn_var){0}, 1);
}

static attn_var a2b_attend(const attn__build *b, attn_var h)
{
    const attn_var around = a2b_lrelu(b, a2b_conv(b, h, W1));
    const attn_var gate =
        attn_tape_sigmoid(b->t, attn__conv_1x1(b->t, around, b->in[W2], b->in[B2]));
    return a2b_conv(b, attn_tape_mul(b->t, a2b_conv(b, h, W3), gate), W4);
}

static void attention_in_attention_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var x = b->in[X], none = {0};
    if (!attn__build_need(b, b->params[TEMPERATURE].f != 0, ATTN_E_PARAM, "temperature",
                          "must not be 0", 30, 0))
        return;
    const attn_var h = a2b_lrelu(b, attn__conv_1x1(t, x, b->in[W_IN], none));
    const attn_var pi = a2b_choose(b, h);
    const attn_var att =
        attn__gate_channels(t, a2b_attend(b, h), attn_tape_slice(t, pi, 1, 0, 1));
    const attn_var non =
        attn__gate_channels(t, a2b_conv(b, h, W_NON), attn_tape_slice(t, pi, 1, 1, 2));
    const attn_var mixed = a2b_lrelu(b, attn_tape_add(t, att, non));
    b->out[PI] = pi;
    b->out[OUT] = attn_tape_add(t, attn__conv_1x1(t, mixed, b->in[W_OUT], none), x);
}

const attn_mech attn__mech_attention_in_attention = {
    .name = "attention_in_attention",
    .family = "channel",
    .about = "weighs a branch with attention against one without",
    .formula = "out = x + w_out lrelu(pi_0 att(h) + pi_1 non(h)), pi = softmax(f(mean h) / T)",
    .cost = "n: time F F K L Y X, memory F Y X",
    .source = "2104.09497",
    .sizes = "B=1,C=3,F=4,R=2,Y=3,X=4,K=3,L=3,I=3,J=3",
    .grows = "YX",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_STREAMS,
    .build = attention_in_attention_build,
};
