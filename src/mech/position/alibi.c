/* SPDX-License-Identifier: MIT
 * Attention with linear biases: far keys lose, in every head at another rate, and nothing is
 * learned.
 *
 *     score_ij = q_i . k_j / sqrt(D) - m_h |p_i - j|
 *     m_h = 2^(-8 (h + 1) / H)        for H a power of two
 *
 * For other H: the slopes of the largest power of two c <= H, then every other slope of 2c, so
 * 6 heads have 1/4 1/16 1/64 1/256 1/2 1/8. q B H T D, k B G S D, v B G S E; slopes H takes the
 * place of m_h and may be learned. The paper is causal; without causal the bias is symmetric.
 * Linear attention's cousin is retention with decay exp(-m_h). Press, Smith, Lewis 2022
 * (2108.12409). */
#include "mech/mech.h"

#include <math.h>

enum { Q, K, V, SLOPES, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B H T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B G S D", "keys; G divides H"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B G S E", "values"},
    [SLOPES] = {"slopes", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "H", "else those above"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B H T E", "answers"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B H T S", "of every head"},
    {0}};

enum { CAUSAL, OFFSET };
static const attn_param params[] = {
    [CAUSAL] = {"causal", 'b', "true", NULL, "keys up to the query's position"},
    [OFFSET] = {"offset", 'i', "0", NULL, "position of query 0 among the keys"},
    {0}};

/* 2^(-8 k / c), c a power of two: roots are taken exactly rounded, so the bits are the same
 * everywhere. */
static double alibi_power(int64_t k, int64_t c)
{
    double root = 0x1p-8, y = 1;
    for (; c > 1; c /= 2) root = sqrt(root);
    for (int64_t i = 0; i < k; i++) y *= root;
    return y;
}

static double alibi_slope(const void *heads, int64_t h)
{
    const int64_t H = *(const int64_t *)heads;
    int64_t c = 1;
    while (2 * c <= H) c *= 2;
    return h < c ? alibi_power(h + 1, c) : alibi_power(2 * (h - c) + 1, 2 * c);
}

static void alibi_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in;
    const int64_t H = attn__build_size(b, 'H');
    const attn_spec spec = ATTN_SPEC(.causal = b->params[CAUSAL].i, .align = ATTN_ALIGN_OFFSET,
                                     .offset = b->params[OFFSET].i);
    const attn_var slopes =
        attn__given(in[SLOPES]) ? in[SLOPES] : attn__table(t, ATTN_DIMS(H), alibi_slope, &H);
    const attn_attention_vars vars = {
        .q = in[Q], .k = in[K], .v = in[V], .alibi = attn_tape_unsqueeze(t, slopes, 0)};
    b->out[OUT] = attn__attend(t, &spec, &vars, in[MASK], attn__build_output(b, WEIGHTS));
}

const attn_mech attn__mech_alibi = {
    .name = "alibi",
    .family = "position",
    .about = "scores fall linearly with distance, in every head at another rate",
    .formula = "softmax(q_i . k_j / sqrt(D) - m_h |i - j|) v_j, m_h = 2^(-8 (h + 1) / H)",
    .cost = "n^2: time T S (D + E), memory T",
    .source = "2108.12409",
    .sizes = "B=1,H=2,G=2,T=6,S=6,D=4,E=4",
    .grows = "TS",
    .slots = slots,
    .params = params,
    .traits = ATTN_ROWS_SUM_1 | ATTN_LINEAR_IN_V | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO |
              ATTN_STREAMS,
    .build = alibi_build,
};
