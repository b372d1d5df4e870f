/* SPDX-License-Identifier: MIT
 * DiSAN: directional self-attention with a weight for every feature, both ways, fused by gates,
 * and a sentence pooled from it the same way.
 *
 *     h = elu(x w_h^T + b_h)
 *     l_ij = c tanh((w_1 h_j + w_2 h_i + b) / c);  forward sees j < i, backward j > i
 *     s_i = sum_j softmax_j(l_ij) * h_j;  g = sigmoid(w_s s_i + w_f h_i + b_f)
 *     u_i = g * h_i + (1 - g) * s_i;  out_i = [u_i forward; u_i backward]
 *     z_i = w_u elu(w_t out_i + b_t) + b_u;  sentence = sum_i softmax_i(z_i) * out_i
 *
 * x B T M; the parameters of the two directions lie behind each other; mask B T hides tokens.
 * Each feature is a head of width 1 of the engine, so the T T D weights are never all there.
 * The diagonal is excluded: the first token forward and the last one backward see nothing,
 * their s is 0 and the gate decides how much of h passes. Shen et al. 2018 (1709.04696). */
#include "mech/mech.h"

enum { X, W_H, B_H, W_1, W_2, BIAS, W_S, W_F, B_F, W_T, B_T, W_U, B_U, MASK, OUT, SENTENCE };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T M", "a sentence"},
    [W_H] = {"w_h", ATTN_PARAM | ATTN_GRAD, "D M", "to h"},
    [B_H] = {"b_h", ATTN_PARAM | ATTN_GRAD, "D", "its bias"},
    [W_1] = {"w_1", ATTN_PARAM | ATTN_GRAD, "2 D D", "who is looked at"},
    [W_2] = {"w_2", ATTN_PARAM | ATTN_GRAD, "2 D D", "who looks"},
    [BIAS] = {"b", ATTN_PARAM | ATTN_GRAD, "2 D", "added to both"},
    [W_S] = {"w_s", ATTN_PARAM | ATTN_GRAD, "2 D D", "the gate, from s"},
    [W_F] = {"w_f", ATTN_PARAM | ATTN_GRAD, "2 D D", "the gate, from h"},
    [B_F] = {"b_f", ATTN_PARAM | ATTN_GRAD, "2 D", "its bias"},
    [W_T] = {"w_t", ATTN_PARAM | ATTN_GRAD, "2D 2D", "the sentence, first layer"},
    [B_T] = {"b_t", ATTN_PARAM | ATTN_GRAD, "2D", "its bias"},
    [W_U] = {"w_u", ATTN_PARAM | ATTN_GRAD, "2D 2D", "the sentence, second layer"},
    [B_U] = {"b_u", ATTN_PARAM | ATTN_GRAD, "2D", "its bias"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "false hides a token"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T 2D", "every token in its surroundings"},
    [SENTENCE] = {"sentence", ATTN_OUT | ATTN_OPTIONAL | ATTN_GRAD, "B 2D", "all of it"},
    {0}};

enum { BOUND };
static const attn_param params[] = {
    [BOUND] = {"softcap", 'f', "5", NULL, "c: scores stay below it; not 0"}, {0}};

/* Parameter i of a direction. */
static attn_var disan_of(const attn__build *b, int i, int direction)
{
    return attn_tape_squeeze(b->t, attn_tape_slice(b->t, b->in[i], 0, direction, direction + 1),
                             0);
}

/* s: forward a query stands one place before itself and sees what is not behind it, backward
 * one behind itself and sees what is not before it. */
static attn_var disan_look(const attn__build *b, attn_var h, int back)
{
    attn_tape *t = b->t;
    const attn_var none = {0};
    const int64_t D = attn__build_size(b, 'D');
    const double c = b->params[BOUND].f;
    const attn_spec spec =
        ATTN_SPEC(.score = ATTN_SCORE_ADDITIVE, .scale = c, .align = ATTN_ALIGN_OFFSET,
                  .offset = back ? 1 : -1, .causal = !back,
                  .window = {.on = back, .left = 0, .right = -1});
    const attn_var k =
        attn_tape_linear(t, h, disan_of(b, W_1, back), disan_of(b, BIAS, back), ATTN_ACT_NONE);
    const attn_var q = attn_tape_linear(t, h, disan_of(b, W_2, back), none, ATTN_ACT_NONE);
    const attn_attention_vars vars = {
        .q = attn__heads_split(t, attn_tape_mul_scalar(t, q, 1 / c), D),
        .k = attn__heads_split(t, attn_tape_mul_scalar(t, k, 1 / c), D),
        .v = attn__heads_split(t, h, D)};
    return attn__heads_join(t, attn__attend(t, &spec, &vars, b->in[MASK], (attn_tensor){0}));
}

static attn_var disan_direction(const attn__build *b, attn_var h, int back)
{
    attn_tape *t = b->t;
    const attn_var none = {0}, s = disan_look(b, h, back);
    const attn_var by_s = attn_tape_linear(t, s, disan_of(b, W_S, back), none, ATTN_ACT_NONE);
    const attn_var by_h =
        attn_tape_linear(t, h, disan_of(b, W_F, back), disan_of(b, B_F, back), ATTN_ACT_NONE);
    const attn_var gate = attn_tape_sigmoid(t, attn_tape_add(t, by_s, by_h));
    return attn_tape_add(t, s, attn_tape_mul(t, gate, attn_tape_sub(t, h, s)));
}

/* Each feature is pooled by a softmax of its own over the tokens. */
static attn_var disan_sentence(const attn__build *b, attn_var u)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0};
    u = attn__mask_rows(t, u, in[MASK]);
    const attn_var hidden =
        attn_tape_elu(t, attn_tape_linear(t, u, in[W_T], in[B_T], ATTN_ACT_NONE));
    const attn_var z = attn_tape_linear(t, hidden, in[W_U], in[B_U], ATTN_ACT_NONE);
    const attn_var mask = attn__given(in[MASK]) ? attn_tape_unsqueeze(t, in[MASK], 2) : none;
    const attn_var weights = attn_tape_softmax(t, z, mask, 1);
    return attn_tape_sum(t, attn_tape_mul(t, weights, u), ATTN_DIMS(1), false);
}

static void disan_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const int64_t D = attn__build_size(b, 'D');
    if (!attn__build_need(b, b->params[BOUND].f != 0, ATTN_E_PARAM, "softcap", "must not be 0",
                          5, 0) ||
        !attn__build_need(b, D > 0, ATTN_E_SHAPE, "w_h", "needs a feature", 1, D))
        return;
    const attn_var h =
        attn_tape_elu(t, attn_tape_linear(t, b->in[X], b->in[W_H], b->in[B_H], ATTN_ACT_NONE));
    const attn_var both[] = {disan_direction(b, h, 0), disan_direction(b, h, 1)};
    b->out[OUT] = attn_tape_concat(t, 2, both, 2);
    if (b->wanted[SENTENCE]) b->out[SENTENCE] = disan_sentence(b, b->out[OUT]);
}

const attn_mech attn__mech_disan = {
    .name = "disan",
    .family = "dimension",
    .about = "both directions, a weight for every feature, gates, a pooled sentence",
    .formula = "u_i = g h_i + (1 - g) sum_j softmax_j(c tanh((w_1 h_j + w_2 h_i + b) / c)) h_j",
    .cost = "n^2: T^2 D tanh for each direction, memory T D",
    .source = "1709.04696",
    .sizes = "B=1,T=5,M=4,D=3",
    .grows = "T",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_STREAMS,
    .build = disan_build,
};
