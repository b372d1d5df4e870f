/* SPDX-License-Identifier: MIT
 * Monotonic chunkwise attention: walk along the keys as in expected_monotonic, and where a
 * query stops, attend softly to the few keys that end there.
 *
 *     a = the alignment of expected_monotonic by energies e
 *     u[i][j] = w_u . tanh(w_uq q_i + w_uk k_j + b_u)
 *     weights[i][j] = sum over k = j .. j+chunk-1 of a[i][k] exp(u[i][j]) / D[i][k],
 *     D[i][k] = sum over l = k-chunk+1 .. k of exp(u[i][l]);   out = weights v
 *
 * q B T D, k B S C, v B S E. chunk = 1 is expected_monotonic; chunk = 0 attends to everything
 * up to the stop, which is MILk, monotonic infinite lookback. hard = true is how it is used:
 * probabilities are 0 or 1, as in hard_monotonic, and where to stop has no gradient. Rows sum
 * as those of a: to 1 at most. Every chunk keeps its own maximum, so no exponential is floored.
 * Chiu and Raffel 2018 (1712.05382), Arivazhagan et al. 2019 (1906.05218). */
#include "mech/mech.h"

enum {
    Q,
    K,
    V,
    W_Q,
    W_K,
    BIAS,
    W,
    G,
    R,
    W_UQ,
    W_UK,
    B_U,
    W_U,
    START,
    MASK,
    OUT,
    WEIGHTS,
    STOPS
};
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B T D", "queries, such as decoder states"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B S C", "keys, in the order they are walked"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B S E", "values"},
    [W_Q] = {"w_q", ATTN_PARAM | ATTN_GRAD, "A D", "queries in the energy"},
    [W_K] = {"w_k", ATTN_PARAM | ATTN_GRAD, "A C", "keys in the energy"},
    [BIAS] = {"b", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "A", "its bias"},
    [W] = {"w", ATTN_PARAM | ATTN_GRAD, "A", "direction of the energy"},
    [G] = {"g", ATTN_PARAM | ATTN_GRAD, "1", "its length"},
    [R] = {"r", ATTN_PARAM | ATTN_GRAD, "1", "its offset"},
    [W_UQ] = {"w_uq", ATTN_PARAM | ATTN_GRAD, "F D", "queries in a chunk"},
    [W_UK] = {"w_uk", ATTN_PARAM | ATTN_GRAD, "F C", "keys in a chunk"},
    [B_U] = {"b_u", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "F", "its bias"},
    [W_U] = {"w_u", ATTN_PARAM | ATTN_GRAD, "F", "scores in a chunk"},
    [START] = {"start", ATTN_IN | ATTN_GRAD | ATTN_OPTIONAL, "B S",
               "stops before the first row; absent: at key 0"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T E", "expected values"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B T S", "within chunks"},
    [STOPS] = {"stops", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B T S", "where chunks end"},
    {0}};

enum { CHUNK, HARD };
static const attn_param params[] = {
    [CHUNK] = {"chunk", 'i', "2", NULL, "keys of a chunk; 0: all up to the stop (MILk)"},
    [HARD] = {"hard", 'b', "false", NULL, "stop at the first energy above 0"},
    {0}};

static void mocha_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in;
    const attn_var k = attn__mask_rows(t, in[K], in[MASK]),
                   v = attn__mask_rows(t, in[V], in[MASK]);
    const attn__energy stop = {in[W_Q], in[W_K], in[BIAS], in[W], in[G], in[R]};
    const attn__energy chunk = {in[W_UQ], in[W_UK], in[B_U], in[W_U], {0}, {0}};
    if (!attn__build_need(b, b->params[CHUNK].i >= 0, ATTN_E_PARAM, "chunk",
                          "must not be negative", 0, b->params[CHUNK].i))
        return;
    const attn_var e = attn__monotonic_energy(t, &stop, in[Q], k);
    const attn_var u = attn__monotonic_energy(t, &chunk, in[Q], k);
    const attn_var p = attn__monotonic_stops(t, e, in[MASK], b->params[HARD].i);
    b->out[STOPS] = attn_tape_monotonic(t, p, in[START]);
    b->out[WEIGHTS] = attn__monotonic_chunks(t, b->out[STOPS], u, in[MASK], b->params[CHUNK].i);
    b->out[OUT] = attn_tape_matmul(t, b->out[WEIGHTS], v);
}

const attn_mech attn__mech_mocha = {
    .name = "mocha",
    .family = "monotonic",
    .about = "walks forward and attends softly to the chunk where it stops; MILk with chunk=0",
    .formula = "weights_ij = sum_{k=j..j+chunk-1} a_ik exp(u_ij) / sum_{l=k-chunk+1..k} "
               "exp(u_il), out = weights v",
    .cost = "n^2: time T S (A + F + chunk + E), memory T (S + A + F)",
    .source = "1712.05382",
    .sizes = "B=1,T=5,S=7,D=4,C=3,A=6,F=5,E=4",
    .grows = "TS",
    .slots = slots,
    .params = params,
    .traits =
        ATTN_LINEAR_IN_V | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_CAUSAL | ATTN_STEPS,
    .build = mocha_build,
};
