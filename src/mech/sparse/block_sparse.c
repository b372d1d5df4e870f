/* SPDX-License-Identifier: MIT
 * Block-sparse attention: which blocks of keys each block of queries sees is given.
 *
 *     y(i) = floor(i / ceil(T / M)),  x(j) = floor(j / ceil(S / N))
 *     out_i = sum over j with blocks[h][y(i)][x(j)] of softmax_j(q_i . k_j / sqrt(D)) v_j
 *
 * q B H T D, k B H S D, v B H S E; blocks H M N of flags, one pattern for every sequence. The
 * sizes of the blocks come from the shape of blocks: T and S need not divide, the last blocks
 * are shorter, and rows of blocks beyond the data are not looked at. causal (T = S) drops keys
 * behind the query on top. A query that sees nothing gives 0. mask B S hides keys.
 * The listed keys of a block of queries are gathered and go through the fused engine, so the
 * cost is that of the listed pairs. Every flag true is dense attention. Child et al. 2019
 * (1904.10509) for the kernels; the pattern itself is anybody's. */
#include "mech/mech.h"

enum { Q, K, V, BLOCKS, MASK, OUT };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B H T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B H S D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B H S E", "values"},
    [BLOCKS] = {"blocks", ATTN_IN | ATTN_FLAGS, "H M N",
                "true: this block of queries sees this block of keys"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B H T E", "answers"},
    {0}};

enum { CAUSAL };
static const attn_param params[] = {
    [CAUSAL] = {"causal", 'b', "false", NULL, "no key behind the query either; T = S"}, {0}};

static bool block_sparse_listed(const void *user, int64_t h, int64_t y, int64_t x)
{
    const attn_tensor *blocks = user;
    return attn__get_int(blocks->dtype, blocks->data,
                         h * blocks->stride[0] + y * blocks->stride[1] +
                             x * blocks->stride[2]) != 0;
}

static void block_sparse_build(const attn__build *b)
{
    const int64_t T = attn__build_size(b, 'T'), S = attn__build_size(b, 'S');
    const int64_t M = attn__build_size(b, 'M'), N = attn__build_size(b, 'N');
    const attn_attention_vars vars = {.q = b->in[Q], .k = b->in[K], .v = b->in[V]};
    const attn_tensor listed = attn_tape_value(b->t, b->in[BLOCKS]);
    if (!attn__build_need(b, M > 0 || T == 0, ATTN_E_SHAPE, "blocks",
                          "has no row for the queries", 1, M) ||
        !attn__build_need(b, N > 0 || S == 0, ATTN_E_SHAPE, "blocks",
                          "has no column for the keys", 1, N) ||
        !attn__build_need(b, !b->params[CAUSAL].i || T == S, ATTN_E_CAUSAL, "causal",
                          "needs as many keys as queries", T, S))
        return;
    const attn__blocks blocks = {.T = T,
                                 .S = S,
                                 .H = attn__build_size(b, 'H'),
                                 .size_q = attn__max(attn__ceil_div(T, attn__max(M, 1)), 1),
                                 .size_k = attn__max(attn__ceil_div(S, attn__max(N, 1)), 1),
                                 .listed = block_sparse_listed,
                                 .user = attn__tape_keep(b->t, &listed, sizeof listed),
                                 .causal = b->params[CAUSAL].i};
    b->out[OUT] = attn__attend_blocks(b->t, &vars, b->in[MASK], &blocks);
}

const attn_mech attn__mech_block_sparse = {
    .name = "block_sparse",
    .family = "sparse",
    .about = "blocks of queries see the blocks of keys that are listed for them",
    .formula =
        "out_i = softmax_N(q_i k_j / sqrt(D)) v_j, N: blocks that are listed for that of i",
    .cost = "n k: time (listed pairs) (D + E), memory T (D + E)",
    .source = "1904.10509",
    .sizes = "B=1,H=2,T=8,S=8,D=4,E=4,M=4,N=4",
    .grows = "TS",
    .slots = slots,
    .params = params,
    .traits = ATTN_LINEAR_IN_V | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = block_sparse_build,
};
