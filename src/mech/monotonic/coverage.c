/* SPDX-License-Identifier: MIT
 * Attention with coverage: a score knows how much a key has been looked at so far, and a loss
 * counts looking again.
 *
 *     covered_i = start + a_0 + ... + a_{i-1}
 *     s[i][j] = w . tanh(w_q q_i + w_k k_j + w_c covered[i][j] + b)
 *     a_i = softmax(s_i);  out_i = sum_j a[i][j] v_j
 *     loss_i = sum_j min(a[i][j], covered[i][j])
 *
 * q B T D, k B S C, v B S E. loss is given for every row, so that the caller can weigh and mask
 * it (1 times its mean in the paper); where both are equal its gradient goes to a. `coverage`
 * is what `start` of a next call is to be. Without start nothing is covered before the first
 * row. Rows are computed one after the other and are all kept for the gradient. See et al. 2017
 * (1704.04368), after Tu et al. 2016 (1601.04811). */
#include "mech/mech.h"

enum { Q, K, V, W_Q, W_K, W_C, BIAS, W, START, MASK, OUT, WEIGHTS, COVERAGE, LOSS };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B T D", "queries, such as decoder states"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B S C", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B S E", "values"},
    [W_Q] = {"w_q", ATTN_PARAM | ATTN_GRAD, "A D", "queries in the score"},
    [W_K] = {"w_k", ATTN_PARAM | ATTN_GRAD, "A C", "keys in the score"},
    [W_C] = {"w_c", ATTN_PARAM | ATTN_GRAD, "A", "coverage in the score"},
    [BIAS] = {"b", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "A", "bias of the score"},
    [W] = {"w", ATTN_PARAM | ATTN_GRAD, "A", "score of what is left"},
    [START] = {"start", ATTN_IN | ATTN_GRAD | ATTN_OPTIONAL, "B S",
               "coverage before the first row; absent: 0"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T E", "what every query reads"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B T S", "attention"},
    [COVERAGE] = {"coverage", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B S",
                  "sum of all rows, and start"},
    [LOSS] = {"loss", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B T",
              "attention to what is covered"},
    {0}};

static void coverage_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0};
    const attn_var k = attn__mask_rows(t, in[K], in[MASK]),
                   v = attn__mask_rows(t, in[V], in[MASK]);
    const attn__coverage step = {.keys =
                                     attn_tape_linear(t, k, in[W_K], in[BIAS], ATTN_ACT_NONE),
                                 .w_c = in[W_C],
                                 .w = in[W],
                                 .mask = in[MASK]};
    const attn_var q = attn_tape_linear(t, in[Q], in[W_Q], none, ATTN_ACT_NONE);
    b->out[COVERAGE] = in[START];
    b->out[WEIGHTS] = attn__coverage_rows(t, &step, q, &b->out[COVERAGE],
                                          b->wanted[LOSS] ? &b->out[LOSS] : NULL);
    b->out[OUT] = attn_tape_matmul(t, b->out[WEIGHTS], v);
}

const attn_mech attn__mech_coverage = {
    .name = "coverage",
    .family = "monotonic",
    .about = "scores know what has been looked at, and a loss counts looking again",
    .formula = "a_i = softmax(w . tanh(w_q q_i + w_k k_j + w_c covered_ij + b)), covered_i = "
               "sum of a before i, loss_i = sum_j min(a_ij, covered_ij)",
    .cost = "n^2: time T S (A + E), memory T S A",
    .source = "1704.04368",
    .sizes = "B=1,T=4,S=7,D=4,C=3,A=6,E=4",
    .grows = "TS",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN_ROWS_SUM_1 | ATTN_KEY_PERMUTABLE | ATTN_LINEAR_IN_V | ATTN_BATCH_FREE |
              ATTN_MASKED_ROW_ZERO | ATTN_CAUSAL | ATTN_STEPS,
    .build = coverage_build,
};
