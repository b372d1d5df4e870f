/* SPDX-License-Identifier: MIT
 * Reinforced self-attention: tokens are drawn hard, and attend softly among the drawn.
 *
 *     f = elu(x w_f^T + b_f);  chances sigmoid(f w_z^T + b_z) of being a head, a dependent
 *     z ~ Bernoulli(chances)
 *     p_i = softmax over j of q_i.k_j / sqrt(A) where z_i = z_j = 1, j != i
 *     s = p v,  g = sigmoid(s w_s^T + x w_x^T + b_g),  out = g x + (1 - g) s
 *
 * q k v are x by w_q w_k w_v; w_z has two rows, for heads and for dependents. A token that is
 * no head, or sees no dependent, has s = 0, and the gate decides. log_prob is that of the whole
 * draw of a sequence, share how many of its 2 T places were drawn: learn the chances by
 * minimising -(log p(y | x) - lambda share - baseline) log_prob, the bracket a number, and all
 * else by the loss itself. To begin with draw everything (all), as the paper does. The draws
 * follow from seed and place in the batch. mask B T hides tokens. Shen et al. 2018
 * (1801.10296); scores are scaled dots where the paper has additive ones over features (see its
 * gate and DiSAN). */
#include "mech/mech.h"

#include <math.h>

enum { X, W_F, B_F, W_Z, B_Z, W_Q, W_K, W_V, W_S, W_X, B_G, MASK, OUT, LOG_PROB, SHARE };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T M", "tokens"},
    [W_F] = {"w_f", ATTN_PARAM | ATTN_GRAD, "R M", "what the chances look at"},
    [B_F] = {"b_f", ATTN_PARAM | ATTN_GRAD, "R", "its bias"},
    [W_Z] = {"w_z", ATTN_PARAM | ATTN_GRAD, "Z R", "two rows: heads, dependents"},
    [B_Z] = {"b_z", ATTN_PARAM | ATTN_GRAD, "Z", "their biases"},
    [W_Q] = {"w_q", ATTN_PARAM | ATTN_GRAD, "A M", "queries"},
    [W_K] = {"w_k", ATTN_PARAM | ATTN_GRAD, "A M", "keys"},
    [W_V] = {"w_v", ATTN_PARAM | ATTN_GRAD, "M M", "values"},
    [W_S] = {"w_s", ATTN_PARAM | ATTN_GRAD, "M M", "of the gate, from the attention"},
    [W_X] = {"w_x", ATTN_PARAM | ATTN_GRAD, "M M", "of the gate, from the token"},
    [B_G] = {"b_g", ATTN_PARAM | ATTN_GRAD, "M", "its bias"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "false hides a token"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T M", "tokens with what they attend to"},
    [LOG_PROB] = {"log_prob", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B", "of the draw"},
    [SHARE] = {"share", ATTN_OUT | ATTN_OPTIONAL, "B", "of the places drawn"},
    {0}};

enum { SEED, ALL };
static const attn_param params[] = {
    [SEED] = {"seed", 'i', "0", NULL, "another one draws again"},
    [ALL] = {"all", 'b', "false", NULL, "every token is drawn"},
    {0}};

/* Nobody attends to himself. */
static void reinforced_tile(void *user, const attn_tile *tile)
{
    (void)user;
    for (int64_t x = 0; x < tile->n_i; x++) {
        const int64_t y = tile->i0 + x - tile->j0;
        const int64_t at = x * tile->i_stride + y * tile->j_stride;
        if (y < 0 || y >= tile->n_j) continue;
        if (tile->dtype == ATTN_DTYPE_F64)
            ((double *)tile->s)[at] = -(double)INFINITY;
        else
            ((float *)tile->s)[at] = -(float)INFINITY;
    }
}

/* What was drawn, B T 2 of 0 and 1, and its log-probability; hidden tokens are not drawn. */
static attn_var reinforced_draw(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in;
    const int64_t B = attn__build_size(b, 'B'), T = attn__build_size(b, 'T');
    const attn_var f =
        attn_tape_elu(t, attn_tape_linear(t, in[X], in[W_F], in[B_F], ATTN_ACT_NONE));
    const attn_var yes = attn_tape_linear(t, f, in[W_Z], in[B_Z], ATTN_ACT_NONE);
    const attn_var zero = attn_tape_scalar(t, 0), one = attn_tape_scalar(t, 1);
    const attn_var pair[] = {attn_tape_mul(t, yes, zero), yes};
    const attn_var logits = attn_tape_stack(t, 2, pair, 3); /* B T 2 2: no, yes */
    const attn_var ids = attn_tape_categorical(t, logits, (uint64_t)b->params[SEED].i);
    attn_var z = attn_tape_cast(t, ids), log_prob = attn_tape_log_prob(t, logits, ids);
    if (b->params[ALL].i) z = attn_tape_expand(t, one, ATTN_DIMS(B, T, 2));
    if (b->params[ALL].i) log_prob = attn_tape_mul(t, log_prob, zero); /* no chance in it */
    z = attn__mask_rows(t, z, in[MASK]);
    log_prob = attn__mask_rows(t, log_prob, in[MASK]);
    b->out[LOG_PROB] = attn_tape_sum(t, log_prob, ATTN_DIMS(1, 2), false);
    b->out[SHARE] = attn_tape_mul_scalar(t, attn_tape_sum(t, z, ATTN_DIMS(1, 2), false),
                                         T > 0 ? 0.5 / (double)T : 0);
    return z;
}

/* s: B T M, 0 where a token attends to nobody. */
static attn_var reinforced_attend(const attn__build *b, attn_var z)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in;
    const attn_var head = attn_tape_slice(t, z, 2, 0, 1);
    const attn_var dependent = attn_tape_squeeze(t, attn_tape_slice(t, z, 2, 1, 2), 2);
    const attn_attention_vars vars = {.q = attn__heads_from(t, in[X], in[W_Q], 1),
                                      .k = attn__heads_from(t, in[X], in[W_K], 1),
                                      .v = attn__heads_from(t, in[X], in[W_V], 1)};
    const attn_spec spec = ATTN_SPEC(.tile = reinforced_tile, .tile_slope = attn_tile_adds);
    const attn_var drawn = attn_tape_less(t, attn_tape_scalar(t, 0), dependent);
    const attn_var s = attn__attend(t, &spec, &vars, drawn, (attn_tensor){0});
    return attn_tape_mul(t, attn__heads_join(t, s), head);
}

static void reinforced_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0};
    const int64_t Z = attn__build_size(b, 'Z');
    if (!attn__build_need(b, Z == 2, ATTN_E_SHAPE, "w_z", "needs two rows: heads, dependents",
                          2, Z))
        return;
    const attn_var s = reinforced_attend(b, reinforced_draw(b));
    const attn_var gate = attn_tape_sigmoid(
        t, attn_tape_add(t, attn_tape_linear(t, s, in[W_S], none, ATTN_ACT_NONE),
                         attn_tape_linear(t, in[X], in[W_X], in[B_G], ATTN_ACT_NONE)));
    const attn_var rest = attn_tape_sub(t, in[X], s);
    b->out[OUT] = attn_tape_add(t, s, attn_tape_mul(t, gate, rest));
}

const attn_mech attn__mech_reinforced = {
    .name = "reinforced",
    .family = "alignment",
    .about = "tokens drawn by chance attend softly to each other",
    .formula = "p_ij softmax where z_i = z_j = 1, i != j; out = g x + (1 - g) p v",
    .cost = "n^2: time T T (A + M), memory T (A + M)",
    .source = "1801.10296",
    .sizes = "B=1,T=5,M=4,R=3,Z=2,A=4",
    .grows = "T",
    .slots = slots,
    .params = params,
    .traits = ATTN_STREAMS,
    .build = reinforced_build,
};
