/* SPDX-License-Identifier: MIT
 * Multi-head attention on features that are already queries, keys and values.
 *
 *     out = concat_h( g_h softmax(q_h k_h^T / sqrt(A/H)) v_h ) w_o^T
 *
 * q B T A, k B S A, v B S P: head h is features h A/H .. of q and k, and h P/H .. of v. With
 * one head and w_o = I it is scaled dot-product attention; reordering the heads together with
 * the columns of w_o changes nothing. gate B H weighs the heads: a learned gate, or zeros and
 * ones that choose them. With rescale the gates are divided by their mean, so that choosing
 * some heads keeps the scale - HeadDrop: each head kept counts H / kept, and none kept gives 0.
 *
 * Vaswani et al. 2017 (1706.03762); HeadDrop: Zhou et al. 2020 (2004.13342). */
#include "mech/mech.h"

enum { Q, K, V, W_O, GATE, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B T A", "queries of all heads"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B S A", "keys of all heads"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B S P", "values of all heads"},
    [W_O] = {"w_o", ATTN_PARAM | ATTN_GRAD, "O P", "heads to output"},
    [GATE] = {"gate", ATTN_IN | ATTN_GRAD | ATTN_OPTIONAL, "*B H", "weighs each head"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T O", "answers"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B H T S", "of every head, ungated"},
    {0}};

enum { HEADS, CAUSAL, OFFSET, RESCALE };
static const attn_param params[] = {
    [HEADS] = {"heads", 'i', "2", NULL, "they share the features of q, k and v evenly", 'H'},
    [CAUSAL] = {"causal", 'b', "false", NULL, "keys up to the query's position"},
    [OFFSET] = {"offset", 'i', "0", NULL, "position of query 0 among the keys"},
    [RESCALE] = {"rescale", 'b', "false", NULL, "divide the gates by their mean (HeadDrop)"},
    {0}};

/* o B H T E times its gates B H. */
static attn_var multi_head_gated(const attn__build *b, attn_var o)
{
    attn_tape *t = b->t;
    attn_var gate = b->in[GATE];
    if (b->params[RESCALE].i) {
        const attn_var zero = attn_tape_scalar(t, 0), one = attn_tape_scalar(t, 1);
        const attn_var mean = attn_tape_mean(t, gate, ATTN_DIMS(-1), true);
        gate = attn_tape_div(t, gate,
                             attn_tape_where(t, attn_tape_equal(t, mean, zero), one, mean));
    }
    gate = attn_tape_unsqueeze(t, attn_tape_unsqueeze(t, gate, 2), 3);
    return attn_tape_mul(t, o, gate);
}

static void multi_head_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in;
    const int64_t heads = b->params[HEADS].i;
    const attn_spec spec = ATTN_SPEC(.causal = b->params[CAUSAL].i, .align = ATTN_ALIGN_OFFSET,
                                     .offset = b->params[OFFSET].i);
    const attn_attention_vars vars = {.q = attn__heads_split(t, in[Q], heads),
                                      .k = attn__heads_split(t, in[K], heads),
                                      .v = attn__heads_split(t, in[V], heads)};
    attn_var o = attn__attend(t, &spec, &vars, in[MASK], attn__build_output(b, WEIGHTS));
    if (attn__given(in[GATE])) o = multi_head_gated(b, o);
    b->out[OUT] = attn__heads_to(t, o, in[W_O]);
}

const attn_mech attn__mech_multi_head = {
    .name = "multi_head",
    .family = "query",
    .about = "several heads on given features, each with a gate if wanted",
    .formula = "out = concat_h(gate_h softmax(q_h k_h^T / sqrt(A/H)) v_h) w_o^T",
    .cost = "n^2: time T S (A + P), memory T (A + P)",
    .source = "1706.03762",
    .sizes = "B=1,H=2,T=5,S=6,A=4,P=6,O=4",
    .grows = "TS",
    .slots = slots,
    .params = params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_LINEAR_IN_V | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO |
              ATTN_STREAMS,
    .build = multi_head_build,
};
