/* SPDX-License-Identifier: MIT
 * Grouped-query attention: H query heads share G key/value heads, neighbours together.
 *
 *     q = x w_q^T in H heads of D;  k = x w_k^T in G heads of D;  v = x w_v^T in G heads of E
 *     out = concat_h( softmax(q_h k_g^T / sqrt(D)) v_g ) w_o^T,   g = h / (H / G) rounded down
 *
 * x B T M, w_q A M with A = H D, w_k K M with K = G D, w_v P M with P = G E, w_o O Z with
 * Z = H E. G = H is multi-head attention, G = 1 multi-query attention; repeating each key and
 * value head H / G times gives the same. A cache of keys and values is G / H of the size. The
 * other order, head h reading h mod G, is head_map=tiled of softmax and not what models use.
 *
 * Ainslie et al. 2023 (2305.13245); G = 1: Shazeer 2019 (1911.02150). */
#include "mech/mech.h"

enum { X, W_Q, W_K, W_V, W_O, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T M", "asks itself"},
    [W_Q] = {"w_q", ATTN_PARAM | ATTN_GRAD, "A M", "queries, H heads"},
    [W_K] = {"w_k", ATTN_PARAM | ATTN_GRAD, "K M", "keys, G heads"},
    [W_V] = {"w_v", ATTN_PARAM | ATTN_GRAD, "P M", "values, G heads"},
    [W_O] = {"w_o", ATTN_PARAM | ATTN_GRAD, "O Z", "heads to output; Z = P heads / kv_heads"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T O", "answers"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B H T T", "of every query head"},
    {0}};

enum { HEADS, KV_HEADS, CAUSAL };
static const attn_param params[] = {
    [HEADS] = {"heads", 'i', "4", NULL, "query heads", 'H'},
    [KV_HEADS] = {"kv_heads", 'i', "2", NULL, "key/value heads; divides heads"},
    [CAUSAL] = {"causal", 'b', "true", NULL, "a position sees itself and what came before"},
    {0}};

/* What the engine would say of tensors that the caller has never seen. */
static bool gqa_fits(const attn__build *b)
{
    const int64_t heads = b->params[HEADS].i, kv_heads = b->params[KV_HEADS].i;
    const int64_t A = attn__build_size(b, 'A'), K = attn__build_size(b, 'K');
    if (!attn__build_need(b, kv_heads > 0 && heads % kv_heads == 0, ATTN_E_HEADS, "kv_heads",
                          "must divide heads", heads, kv_heads))
        return false;
    /* Where one does not divide the split of features says so. */
    return A % heads != 0 || K % kv_heads != 0 ||
           attn__build_need(b, A / heads == K / kv_heads, ATTN_E_SHAPE, "w_k",
                            "its heads must be as wide as those of w_q", A / heads,
                            K / kv_heads);
}

static void gqa_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in;
    const int64_t kv_heads = b->params[KV_HEADS].i;
    if (!gqa_fits(b)) return;
    const attn_spec spec = ATTN_SPEC(.causal = b->params[CAUSAL].i);
    const attn_attention_vars vars = {
        .q = attn__heads_from(t, in[X], in[W_Q], b->params[HEADS].i),
        .k = attn__heads_from(t, in[X], in[W_K], kv_heads),
        .v = attn__heads_from(t, in[X], in[W_V], kv_heads)};
    const attn_var o = attn__attend(t, &spec, &vars, in[MASK], attn__build_output(b, WEIGHTS));
    b->out[OUT] = attn__heads_to(t, o, in[W_O]);
}

const attn_mech attn__mech_gqa = {
    .name = "gqa",
    .family = "query",
    .about = "many query heads share few key/value heads",
    .formula = "out = concat_h(softmax(q_h k_g^T / sqrt(D)) v_g) w_o^T, g = h G / H",
    .cost = "n^2: time T^2 H (D + E), memory T H (D + E)",
    .source = "2305.13245",
    .sizes = "B=1,H=4,T=6,M=4,A=8,K=4,P=6,Z=12,O=4",
    .grows = "T",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS | ATTN_CAUSAL | ATTN_STEPS,
    .build = gqa_build,
};
