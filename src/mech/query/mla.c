/* SPDX-License-Identifier: MIT
 * Multi-head latent attention: keys and values of all heads grow out of one narrow latent per
 * token, beside one small key that carries the position.
 *
 *     [q_nope | q_pe] = rmsnorm(x w_qa^T) w_qb^T            for each head, N + L wide
 *     [c | k_pe] = x w_kva^T;  c = rmsnorm(c)               R + L wide, once for all heads
 *     [k_nope | v] = c w_kvb^T                              for each head, N + E wide
 *     score = (q_nope . k_nope + rope(q_pe) . rope(k_pe)) / sqrt(N + L)
 *     out = concat_h( softmax(score) v ) w_o^T
 *
 * x B T M; A = H (N + L), C = R + L, K = H (N + E), P = H E, where L is rope_dims. absorbed:
 * the same numbers by another road. w_kvb of a head is [w_k; w_v], so
 *     q_nope . (w_k c) = (w_k^T q_nope) . c   and   sum_j a_j (w_v c_j) = w_v (sum_j a_j c_j)
 * and every head reads the latents themselves: one key head [rope(k_pe) | c], one value head c,
 * a cache of R + L numbers a token. Shorter for decoding, longer for training; bits differ.
 *
 * The norms' weights g_q and g_kv may be left out. A model that projects q directly has w_qa =
 * I and q_norm=false. The rotation turns pairs (2t, 2t + 1), layout=half pairs (t, t + L/2).
 * DeepSeek-V2 2024 (2405.04434); conventions of the DeepSeek-V3 inference code, without the
 * YaRN factor. */
#include "mech/mech.h"

#include <math.h>

enum { X, W_QA, G_Q, W_QB, W_KVA, G_KV, W_KVB, W_O, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T M", "asks itself"},
    [W_QA] = {"w_qa", ATTN_PARAM | ATTN_GRAD, "Q M", "queries, narrow"},
    [G_Q] = {"g_q", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "Q", "of their norm"},
    [W_QB] = {"w_qb", ATTN_PARAM | ATTN_GRAD, "A Q", "queries of the heads"},
    [W_KVA] = {"w_kva", ATTN_PARAM | ATTN_GRAD, "C M", "latent and rotary key; C = R + L"},
    [G_KV] = {"g_kv", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "R", "of the latent's norm"},
    [W_KVB] = {"w_kvb", ATTN_PARAM | ATTN_GRAD, "K R", "keys and values of the heads"},
    [W_O] = {"w_o", ATTN_PARAM | ATTN_GRAD, "O P", "heads to output"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T O", "answers"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B H T T", "of every head"},
    {0}};

enum { HEADS, ROPE_DIMS, ROPE_BASE, LAYOUT, CAUSAL, ABSORBED, Q_NORM, EPS };
static const attn_param params[] = {
    [HEADS] = {"heads", 'i', "2", NULL, "they share the features evenly", 'H'},
    [ROPE_DIMS] = {"rope_dims", 'i', "2", NULL, "L: width of the rotary part; even"},
    [ROPE_BASE] = {"rope_base", 'f', "10000", NULL, "of the angles"},
    [LAYOUT] = {"layout", 'e', "interleaved", "half|interleaved", "which pairs are turned"},
    [CAUSAL] = {"causal", 'b', "true", NULL, "a position sees itself and what came before"},
    [ABSORBED] = {"absorbed", 'b', "false", NULL, "attend to the latents themselves"},
    [Q_NORM] = {"q_norm", 'b', "true", NULL, "normalise the narrow queries"},
    [EPS] = {"eps", 'f', "1e-6", NULL, "of the norms"},
    {0}};

typedef struct mla_parts {
    int64_t heads, nope, rope, rank, value; /* H N L R E */
    attn_var q_nope, q_pe;                  /* B H T N, B H T L */
    attn_var c, k_pe;                       /* B T R, B 1 T L */
} mla_parts;

static bool mla_sizes(const attn__build *b, mla_parts *p)
{
    const int64_t A = attn__build_size(b, 'A'), K = attn__build_size(b, 'K'),
                  C = attn__build_size(b, 'C');
    p->heads = b->params[HEADS].i, p->rope = b->params[ROPE_DIMS].i;
    p->rank = attn__build_size(b, 'R');
    const bool heads = p->heads > 0 && A % p->heads == 0 && K % p->heads == 0;
    if (!attn__build_need(b, heads, ATTN_E_HEADS, "heads",
                          "must divide the rows of w_qb and of w_kvb", p->heads, A))
        return false;
    const int64_t q_wide = A / p->heads, kv_wide = K / p->heads;
    if (!attn__build_need(b, p->rope >= 0 && p->rope <= q_wide, ATTN_E_PARAM, "rope_dims",
                          "must be in 0 .. the width of a query head", q_wide, p->rope))
        return false;
    p->nope = q_wide - p->rope, p->value = kv_wide - p->nope;
    return attn__build_need(b, C == p->rank + p->rope, ATTN_E_SHAPE, "w_kva",
                            "must have a row for each of the latent and of rope_dims",
                            p->rank + p->rope, C) &&
           attn__build_need(b, p->value >= 0, ATTN_E_SHAPE, "w_kvb",
                            "a head must hold the key's part that is not rotary", p->nope,
                            kv_wide);
}

static attn_var mla_linear(const attn__build *b, attn_var x, int w)
{
    return attn_tape_linear(b->t, x, b->in[w], (attn_var){0}, ATTN_ACT_NONE);
}

static void mla_project(const attn__build *b, mla_parts *p)
{
    attn_tape *t = b->t;
    const double eps = b->params[EPS].f;
    attn_var narrow = mla_linear(b, b->in[X], W_QA);
    if (b->params[Q_NORM].i) narrow = attn_tape_rmsnorm(t, narrow, b->in[G_Q], eps);
    const attn_var q = attn__heads_split(t, mla_linear(b, narrow, W_QB), p->heads);
    p->q_nope = attn_tape_slice(t, q, 3, 0, p->nope);
    p->q_pe = attn_tape_slice(t, q, 3, p->nope, p->nope + p->rope);
    const attn_var kv = mla_linear(b, b->in[X], W_KVA);
    const attn_var c = attn_tape_slice(t, kv, 2, 0, p->rank);
    p->c = attn_tape_rmsnorm(t, c, b->in[G_KV], eps);
    p->k_pe = attn_tape_unsqueeze(t, attn_tape_slice(t, kv, 2, p->rank, p->rank + p->rope), 1);
}

static attn_var mla_beside(attn_tape *t, attn_var pe, attn_var rest)
{
    return attn_tape_concat(t, 2, (const attn_var[]){pe, rest}, 3);
}

/* The rotary part leads, where the engine turns it. */
static attn_var mla_plain(const attn__build *b, const mla_parts *p, const attn_spec *spec)
{
    attn_tape *t = b->t;
    const attn_var kv = attn__heads_split(t, mla_linear(b, p->c, W_KVB), p->heads);
    const attn_var pe = attn_tape_expand(t, p->k_pe, ATTN_DIMS(-1, p->heads, -1, -1));
    const attn_attention_vars vars = {
        .q = mla_beside(t, p->q_pe, p->q_nope),
        .k = mla_beside(t, pe, attn_tape_slice(t, kv, 3, 0, p->nope)),
        .v = attn_tape_slice(t, kv, 3, p->nope, p->nope + p->value)};
    return attn__attend(t, spec, &vars, b->in[MASK], attn__build_output(b, WEIGHTS));
}

static attn_var mla_absorbed(const attn__build *b, const mla_parts *p, const attn_spec *spec)
{
    attn_tape *t = b->t;
    const attn_var w =
        attn_tape_reshape(t, b->in[W_KVB], ATTN_DIMS(p->heads, p->nope + p->value, p->rank));
    const attn_var w_k = attn_tape_slice(t, w, 1, 0, p->nope),
                   w_v = attn_tape_slice(t, w, 1, p->nope, p->nope + p->value);
    const attn_var c = attn_tape_unsqueeze(t, p->c, 1); /* B 1 T R */
    const attn_attention_vars vars = {
        .q = mla_beside(t, p->q_pe, attn_tape_matmul(t, p->q_nope, w_k)),
        .k = mla_beside(t, p->k_pe, c),
        .v = c};
    const attn_var o =
        attn__attend(t, spec, &vars, b->in[MASK], attn__build_output(b, WEIGHTS));
    return attn_tape_matmul(t, o, attn_tape_transpose(t, w_v, 1, 2));
}

static void mla_build(const attn__build *b)
{
    static const attn_rope_kind layouts[] = {ATTN_ROPE_HALF, ATTN_ROPE_INTERLEAVED};
    mla_parts p;
    if (!mla_sizes(b, &p)) return;
    mla_project(b, &p);
    attn_spec spec = ATTN_SPEC(.causal = b->params[CAUSAL].i);
    spec.scale = 1 / sqrt((double)attn__max(p.nope + p.rope, 1));
    if (p.rope > 0)
        spec.rope = (attn_rope_spec){.kind = layouts[b->params[LAYOUT].i],
                                     .dims = p.rope,
                                     .base = b->params[ROPE_BASE].f};
    const attn_var o =
        b->params[ABSORBED].i ? mla_absorbed(b, &p, &spec) : mla_plain(b, &p, &spec);
    b->out[OUT] = attn__heads_to(b->t, o, b->in[W_O]);
}

const attn_mech attn__mech_mla = {
    .name = "mla",
    .family = "query",
    .about = "multi-head latent attention: keys and values grow from one latent a token",
    .formula = "score = (q_nope . k_nope + rope(q_pe) . rope(k_pe)) / sqrt(N + L), "
               "[k_nope | v] = rmsnorm(c) w_kvb^T",
    .cost = "n^2: time T^2 H (N + L + E), memory T H (N + L + E)",
    .source = "2405.04434",
    .sizes = "B=1,H=2,T=6,M=4,Q=3,A=10,C=6,R=4,K=10,P=4,O=4",
    .grows = "T",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS | ATTN_CAUSAL | ATTN_STEPS,
    .build = mla_build,
};
