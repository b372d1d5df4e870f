/* SPDX-License-Identifier: MIT
 * Talking-heads attention: heads exchange their scores before the softmax and their weights
 * after it.
 *
 *     J_h = q_h k_h^T / sqrt(D)                      H heads of scores
 *     L_k = sum_h w_logits[k][h] J_h                 K heads of logits
 *     A_k = softmax(L_k)
 *     U_v = sum_k w_weights[v][k] A_k                V heads of weights, any sign
 *     out_v = U_v v_v
 *
 * q B H T D, k B H S D, v B V S E give B V T E. Identities for both mixtures give ordinary
 * heads. Every score of every head is needed for each, so the scores are composed as matrices:
 * memory T S. masks act on the logits; rows of U sum to the row sums of w_weights. The paper
 * leaves 1/sqrt(D) to the initialisation of w_q; scale=1 is that form.
 * Shazeer et al. 2020 (2003.02436). */
#include "mech/mech.h"

#include <math.h>

enum { Q, K, V, W_LOGITS, W_WEIGHTS, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B H T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B H S D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B V S E", "values"},
    [W_LOGITS] = {"w_logits", ATTN_PARAM | ATTN_GRAD, "K H", "mixes scores before the softmax"},
    [W_WEIGHTS] = {"w_weights", ATTN_PARAM | ATTN_GRAD, "V K", "mixes weights after it"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B V T E", "answers"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B V T S", "mixed weights"},
    {0}};

enum { SCALE, CAUSAL, OFFSET };
static const attn_param params[] = {
    [SCALE] = {"scale", 'f', "0", NULL, "factor of q.k; 0: 1 / sqrt(D)"},
    [CAUSAL] = {"causal", 'b', "false", NULL, "keys up to the query's position"},
    [OFFSET] = {"offset", 'i', "0", NULL, "position of query 0 among the keys"},
    {0}};

/* y B N T S = sum over heads of w N H times x B H T S. */
static attn_var talking_heads_mix(const attn__build *b, attn_var w, attn_var x, char from,
                                  char to)
{
    attn_tape *t = b->t;
    const int64_t B = attn__build_size(b, 'B'), T = attn__build_size(b, 'T'),
                  S = attn__build_size(b, 'S');
    const attn_var rows =
        attn_tape_reshape(t, x, ATTN_DIMS(B, attn__build_size(b, from), T * S));
    return attn_tape_reshape(t, attn_tape_matmul(t, w, rows),
                             ATTN_DIMS(B, attn__build_size(b, to), T, S));
}

static void talking_heads_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in;
    double scale = b->params[SCALE].f;
    if (scale == 0) scale = 1 / sqrt((double)attn__max(attn__build_size(b, 'D'), 1));
    const attn_var q = attn_tape_mul_scalar(t, in[Q], scale);
    const attn_var k = attn__mask_rows(t, in[K], in[MASK]);
    const attn_var v = attn__mask_rows(t, in[V], in[MASK]);
    const attn_var scores = attn_tape_matmul(t, q, attn_tape_transpose(t, k, 2, 3));
    const attn_var logits = talking_heads_mix(b, in[W_LOGITS], scores, 'H', 'K');
    const attn_var allowed =
        attn__table_allowed(t, in[MASK], b->params[CAUSAL].i, b->params[OFFSET].i,
                            attn__build_size(b, 'T'), attn__build_size(b, 'S'));
    const attn_var weights = attn_tape_softmax(t, logits, allowed, 3);
    b->out[WEIGHTS] = talking_heads_mix(b, in[W_WEIGHTS], weights, 'K', 'V');
    b->out[OUT] = attn_tape_matmul(t, b->out[WEIGHTS], v);
}

const attn_mech attn__mech_talking_heads = {
    .name = "talking_heads",
    .family = "query",
    .about = "heads mix their scores before the softmax and their weights after it",
    .formula = "out = (w_weights softmax(w_logits (q k^T / sqrt(D)))) v, mixing over heads",
    .cost = "n^2: time T S (H D + H K + K V + V E), memory T S (H + K + V)",
    .source = "2003.02436",
    .sizes = "B=1,H=2,K=3,V=2,T=5,S=6,D=4,E=4",
    .grows = "TS",
    .slots = slots,
    .params = params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_LINEAR_IN_V | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO,
    .build = talking_heads_build,
};
