/* SPDX-License-Identifier: MIT
 * Self-attention with a Lipschitz constant: distances in place of products, queries and keys
 * tied, and, as proposed, values tied to them too.
 *
 *     p = x w^T;  s^h_ij = -|p^h_i - p^h_j|^2 / sqrt(d),  d = A / H
 *     tied:  f^h = softmax(s^h) x w^hT w^h / sqrt(d),  out = concat_h(f^h w_v^hT) w_o^T
 *     free:  out = concat_h(softmax(s^h) x w_v^hT) w_o^T, as most public versions have it
 *
 * x B T M, w A M, w_v P M, w_o O P in H heads; mask B T hides tokens as keys. A token is
 * nearest to itself: the diagonal is the largest weight of its row. Dot products have no such
 * constant: scale x by 1000 and their slope grows without end, while this one stays. Kim,
 * Papamakarios, Mnih 2021 (2006.04710). */
#include "mech/mech.h"

#include <math.h>

enum { X, W, W_V, W_O, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T M", "a sequence"},
    [W] = {"w", ATTN_PARAM | ATTN_GRAD, "A M", "queries and keys"},
    [W_V] = {"w_v", ATTN_PARAM | ATTN_GRAD, "P M", "values"},
    [W_O] = {"w_o", ATTN_PARAM | ATTN_GRAD, "O P", "heads to output"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "false hides a token"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T O", "the sequence after a look around"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B H T T", "of every head"},
    {0}};

enum { HEADS, TIED };
static const attn_param params[] = {
    [HEADS] = {"heads", 'i', "2", NULL, "they share the features of w and w_v evenly", 'H'},
    [TIED] = {"tied", 'b', "true", NULL, "values go through w and back first"},
    {0}};

/* Rows of a weight as one matrix a head: H n M. */
static attn_var lipschitz_rows(attn_tape *t, attn_var w, int64_t heads)
{
    const attn_tensor v = attn_tape_value(t, w);
    return attn_tape_reshape(t, w, ATTN_DIMS(heads, v.shape[0] / heads, v.shape[1]));
}

/* p^h w^h w_v^hT / sqrt(d), B H T P/H. */
static attn_var lipschitz_values(const attn__build *b, attn_var p, int64_t heads)
{
    attn_tape *t = b->t;
    const int64_t A = attn__build_size(b, 'A'), P = attn__build_size(b, 'P');
    if (!attn__build_need(b, A % heads == 0, ATTN_E_HEADS, "w",
                          "features must divide among the heads", heads, A) ||
        !attn__build_need(b, P % heads == 0, ATTN_E_HEADS, "w_v",
                          "features must divide among the heads", heads, P))
        return (attn_var){0};
    const attn_var back = attn_tape_matmul(t, p, lipschitz_rows(t, b->in[W], heads));
    const attn_var w_v = attn_tape_transpose(t, lipschitz_rows(t, b->in[W_V], heads), 1, 2);
    const double d = (double)(A / heads);
    return attn_tape_mul_scalar(t, attn_tape_matmul(t, back, w_v), d > 0 ? 1 / sqrt(d) : 1);
}

static void lipschitz_l2_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in;
    const int64_t heads = b->params[HEADS].i;
    const attn_spec spec = ATTN_SPEC(.score = ATTN_SCORE_L2);
    const attn_var p = attn__heads_from(t, in[X], in[W], heads);
    const attn_var v = b->params[TIED].i ? lipschitz_values(b, p, heads)
                                         : attn__heads_from(t, in[X], in[W_V], heads);
    const attn_attention_vars vars = {.q = p, .k = p, .v = v};
    const attn_var o = attn__attend(t, &spec, &vars, in[MASK], attn__build_output(b, WEIGHTS));
    b->out[OUT] = attn__heads_to(t, o, in[W_O]);
}

const attn_mech attn__mech_lipschitz_l2 = {
    .name = "lipschitz_l2",
    .family = "score",
    .about = "self-attention by distances, with a Lipschitz constant",
    .formula = "f^h = softmax(-|p_i - p_j|^2 / sqrt(d)) x w^T w / sqrt(d)",
    .cost = "n^2: time T^2 (A + P), memory T (A + P)",
    .source = "2006.04710",
    .sizes = "B=1,H=2,T=6,M=4,A=4,P=4,O=4",
    .grows = "T",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = lipschitz_l2_build,
};
