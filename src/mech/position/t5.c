/* SPDX-License-Identifier: MIT
 * T5's relative bias: one learned number a head for each bucket of distances, near ones apart,
 * far ones together.
 *
 *     score_ij = scale q_i . k_j + table[h][bucket(j - p_i)]
 *
 * q B H T D, k B G S D, v B G S E, table H N (the transpose of what checkpoints hold). Both
 * sides (causal=false): half of the buckets for keys after the query. Of the n = N / 2 buckets
 * of a side the first n / 2 are single distances; bucket n/2 + x begins at the smallest a with
 * a >= n/2 (max_distance / (n/2))^(x / (n/2)), and the last one holds all beyond. causal: keys
 * after the query are masked, and one side has all N buckets - decoders.
 *
 * Where buckets begin is decided by whole numbers, because logarithms in floats put exact
 * powers on either side: with N = 32 and max_distance 128, 8 12 16 23 32 46 64 91 on each of
 * two sides, and 16 19 21 24 27 31 35 40 46 52 59 67 77 87 99 113 on one. T5 has no 1/sqrt(D)
 * (scale=1); scale=0 asks for it. Raffel et al. 2020 (1910.10683). */
#include "mech/mech.h"

enum { Q, K, V, TABLE, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B H T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B G S D", "keys; G divides H"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B G S E", "values"},
    [TABLE] = {"table", ATTN_PARAM | ATTN_GRAD, "H N", "bias of each bucket; N 32 in T5"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B H T E", "answers"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B H T S", "of every head"},
    {0}};

enum { CAUSAL, OFFSET, MAX_DISTANCE, SCALE };
static const attn_param params[] = {
    [CAUSAL] = {"causal", 'b', "false", NULL, "one-sided buckets, and keys up to the query"},
    [OFFSET] = {"offset", 'i', "0", NULL, "position of query 0 among the keys"},
    [MAX_DISTANCE] = {"max_distance", 'i', "128", NULL, "from here on one bucket"},
    [SCALE] = {"scale", 'f', "1", NULL, "factor of q.k; 0: 1 / sqrt(D)"},
    {0}};

static void t5_build(const attn__build *b)
{
    const attn_var *in = b->in;
    const bool causal = b->params[CAUSAL].i;
    const attn_spec spec = ATTN_SPEC(.causal = causal, .scale = b->params[SCALE].f,
                                     .align = ATTN_ALIGN_OFFSET, .offset = b->params[OFFSET].i,
                                     .rel = {.kind = ATTN_REL_BUCKET,
                                             .causal_buckets = causal,
                                             .max_distance = b->params[MAX_DISTANCE].i});
    const attn_attention_vars vars = {
        .q = in[Q], .k = in[K], .v = in[V], .rel_table = in[TABLE]};
    b->out[OUT] = attn__attend(b->t, &spec, &vars, in[MASK], attn__build_output(b, WEIGHTS));
}

const attn_mech attn__mech_t5 = {
    .name = "t5",
    .family = "position",
    .about = "a learned bias for each bucket of distances",
    .formula = "softmax(q_i . k_j + table[bucket(j - i)]) v_j",
    .cost = "n^2: time T S (D + E), memory T",
    .source = "1910.10683",
    .sizes = "B=1,H=2,G=2,T=6,S=6,D=4,E=4,N=8",
    .grows = "TS",
    .slots = slots,
    .params = params,
    .traits = ATTN_ROWS_SUM_1 | ATTN_LINEAR_IN_V | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO |
              ATTN_STREAMS,
    .build = t5_build,
};
