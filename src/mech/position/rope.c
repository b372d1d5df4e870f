/* SPDX-License-Identifier: MIT
 * Rotary positions: queries and keys are turned by their positions, so that their products see
 * distances alone.
 *
 *     (a, b) -> (a cos - b sin, b cos + a sin),  angle p base^(-2t/R) for pair t of R / 2
 *     score_ij = rot(q_i, p_i) . rot(k_j, j) / sqrt(D)
 *
 * q B H T D, k B G S D, v B G S E; values are not turned. Two layouts that checkpoints do not
 * share: half turns the pairs (t, t + R/2), interleaved (2t, 2t + 1). dims = R turns the
 * leading R elements only, 0 all of them. Lengths are kept and position 0 is the identity.
 * q_pos and k_pos give the positions of the rotation in place of i + offset and j; causal goes
 * by the latter. Angles are doubles: exact for positions of millions. Su et al. 2021
 * (2104.09864). */
#include "mech/mech.h"

enum { Q, K, V, Q_POS, K_POS, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B H T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B G S D", "keys; G divides H"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B G S E", "values"},
    [Q_POS] = {"q_pos", ATTN_IN | ATTN_OPTIONAL | ATTN_IDS, "B T", "else i + offset"},
    [K_POS] = {"k_pos", ATTN_IN | ATTN_OPTIONAL | ATTN_IDS, "B S", "else j"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B H T E", "answers"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B H T S", "of every head"},
    {0}};

enum { CAUSAL, OFFSET, LAYOUT, BASE, DIMS };
static const attn_param params[] = {
    [CAUSAL] = {"causal", 'b', "false", NULL, "keys up to the query's position"},
    [OFFSET] = {"offset", 'i', "0", NULL, "position of query 0 among the keys"},
    [LAYOUT] = {"layout", 'e', "half", "half|interleaved", "which pairs are turned"},
    [BASE] = {"base", 'f', "10000", NULL, "of the angles"},
    [DIMS] = {"dims", 'i', "0", NULL, "leading elements turned; 0: all D; even"},
    {0}};

static void rope_build(const attn__build *b)
{
    static const attn_rope_kind layouts[] = {ATTN_ROPE_HALF, ATTN_ROPE_INTERLEAVED};
    attn_tape *t = b->t;
    const attn_var *in = b->in;
    const attn_spec spec = ATTN_SPEC(.causal = b->params[CAUSAL].i, .align = ATTN_ALIGN_OFFSET,
                                     .offset = b->params[OFFSET].i,
                                     .rope = {.kind = layouts[b->params[LAYOUT].i],
                                              .dims = b->params[DIMS].i,
                                              .base = b->params[BASE].f});
    const attn_args args = ATTN_ARGS(.q_pos = attn_tape_value(t, in[Q_POS]),
                                     .k_pos = attn_tape_value(t, in[K_POS]));
    const attn_attention_vars vars = {.q = in[Q], .k = in[K], .v = in[V]};
    b->out[OUT] =
        attn__attend_with(t, &spec, &vars, &args, in[MASK], attn__build_output(b, WEIGHTS));
}

const attn_mech attn__mech_rope = {
    .name = "rope",
    .family = "position",
    .about = "queries and keys are turned by their positions",
    .formula = "softmax(rot(q_i, i) . rot(k_j, j) / sqrt(D)) v_j",
    .cost = "n^2: time T S (D + E), memory (T + S) D",
    .source = "2104.09864",
    .sizes = "B=1,H=2,G=2,T=6,S=6,D=4,E=4",
    .grows = "TS",
    .slots = slots,
    .params = params,
    .traits = ATTN_ROWS_SUM_1 | ATTN_LINEAR_IN_V | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO |
              ATTN_STREAMS,
    .build = rope_build,
};
