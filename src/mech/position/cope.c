/* SPDX-License-Identifier: MIT
 * Contextual position encoding: how far a key is depends on what lies between, because gates
 * decide which tokens count.
 *
 *     l_ij = scale q_i . k_j;   g_ij = sigmoid(l_ij)
 *     p_ij = min(sum_{k >= j} g_ik, N - 1)             counted from the query backwards
 *     score_ij = l_ij + (1 - f) q_i . table[p] + f q_i . table[p + 1],  f = p_ij - p
 *
 * with p the floor of p_ij. q B H T D, k B H S D, v B H S E, table L N D: of each head (L = H)
 * or of all (L = 1). Gates of keys that are masked (after the query, or padding) count nothing.
 * Positions are reals between entries of the table, so gradients reach the gates: the slope
 * between two entries, 0 where the sum has passed N - 1. The sums need the row of gates before
 * the row of scores, so the scores are composed as matrices: memory T S. With gates of 1 (q . k
 * large) positions are i - j + 1, and all of N or more are one. Golovneva et al. 2024
 * (2405.18719), whose code gives the table's part no 1/sqrt(D); scale=0 is 1 / sqrt(D) for
 * content and gates. */
#include "mech/mech.h"

#include <math.h>

enum { Q, K, V, TABLE, MASK, OUT, WEIGHTS, POSITIONS };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B H T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B H S D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B H S E", "values"},
    [TABLE] = {"table", ATTN_PARAM | ATTN_GRAD, "L N D", "a vector for each whole position"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B H T E", "answers"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B H T S", "of every head"},
    [POSITIONS] = {"positions", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B H T S", "p_ij"},
    {0}};

enum { CAUSAL, OFFSET, SCALE };
static const attn_param params[] = {
    [CAUSAL] = {"causal", 'b', "true", NULL, "keys up to the query's position"},
    [OFFSET] = {"offset", 'i', "0", NULL, "position of query 0 among the keys"},
    [SCALE] = {"scale", 'f', "0", NULL, "factor of q.k; 0: 1 / sqrt(D)"},
    {0}};

static attn_var cope_positions(const attn__build *b, attn_var logits, attn_var allowed)
{
    attn_tape *t = b->t;
    attn_var gates = attn_tape_sigmoid(t, logits);
    if (attn__given(allowed))
        gates = attn_tape_where(t, allowed, gates, attn_tape_scalar(t, 0));
    const attn_var sums =
        attn_tape_flip(t, attn_tape_cumsum(t, attn_tape_flip(t, gates, 3), 3), 3);
    return attn_tape_clamp(t, sums, 0, (double)(attn__build_size(b, 'N') - 1));
}

/* Row i of z between its entries: a picture of one line, sampled at p. */
static attn_var cope_between(const attn__build *b, attn_var z, attn_var p)
{
    attn_tape *t = b->t;
    const int64_t B = attn__build_size(b, 'B'), H = attn__build_size(b, 'H'),
                  T = attn__build_size(b, 'T'), S = attn__build_size(b, 'S'),
                  N = attn__build_size(b, 'N');
    const double step = 2.0 / (double)attn__max(N - 1, 1);
    const attn_var x =
        attn_tape_reshape(t, attn_tape_add_scalar(t, attn_tape_mul_scalar(t, p, step), -1),
                          ATTN_DIMS(B * H * T, 1, S, 1));
    const attn_var grid = attn_tape_pad(t, x, 3, 0, 1, 0); /* (x, 0) */
    const attn_var line = attn_tape_reshape(t, z, ATTN_DIMS(B * H * T, 1, 1, N));
    return attn_tape_reshape(t, attn_tape_grid_sample(t, line, grid, true),
                             ATTN_DIMS(B, H, T, S));
}

static void cope_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in;
    double scale = b->params[SCALE].f;
    if (scale == 0) scale = 1 / sqrt((double)attn__max(attn__build_size(b, 'D'), 1));
    if (!attn__build_need(b, attn__build_size(b, 'N') > 0, ATTN_E_SHAPE, "table",
                          "must have a position", 1, 0))
        return;
    const attn_var table = attn__heads_tables(b, in[TABLE], "table");
    const attn_var q = attn_tape_mul_scalar(t, in[Q], scale);
    const attn_var k = attn__mask_rows(t, in[K], in[MASK]);
    const attn_var v = attn__mask_rows(t, in[V], in[MASK]);
    const attn_var logits = attn_tape_matmul(t, q, attn_tape_transpose(t, k, 2, 3));
    const attn_var allowed =
        attn__table_allowed(t, in[MASK], b->params[CAUSAL].i, b->params[OFFSET].i,
                            attn__build_size(b, 'T'), attn__build_size(b, 'S'));
    b->out[POSITIONS] = cope_positions(b, logits, allowed);
    const attn_var z = attn_tape_matmul(t, in[Q], attn_tape_transpose(t, table, 1, 2));
    const attn_var scores = attn_tape_add(t, logits, cope_between(b, z, b->out[POSITIONS]));
    b->out[WEIGHTS] = attn_tape_softmax(t, scores, allowed, 3);
    b->out[OUT] = attn_tape_matmul(t, b->out[WEIGHTS], v);
}

const attn_mech attn__mech_cope = {
    .name = "cope",
    .family = "position",
    .about = "positions that count what the context says counts",
    .formula = "p_ij = sum_{k >= j} sigmoid(q_i . k_k), softmax(q_i . (k_j + table[p_ij])) v_j",
    .cost = "n^2: time T S (D + E) + T N D, memory T S",
    .source = "2405.18719",
    .sizes = "B=1,H=2,T=6,S=6,D=4,E=4,L=2,N=5",
    .grows = "TS",
    .slots = slots,
    .params = params,
    .traits = ATTN_ROWS_SUM_1 | ATTN_LINEAR_IN_V | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO,
    .build = cope_build,
};
