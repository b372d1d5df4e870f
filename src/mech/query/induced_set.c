/* SPDX-License-Identifier: MIT
 * Induced set attention: a few learned points read the whole set, and the set then reads the
 * points.
 *
 *     h   = concat_h( softmax(p w_q1^T (x w_k1^T)^T / sqrt(A/H)) x w_v1^T ) w_o1^T     N rows
 *     out = concat_h( softmax(x w_q2^T (h w_k2^T)^T / sqrt(A/H)) h w_v2^T ) w_o2^T     S rows
 *
 * x B S M, points N M, h B N M. Both are fused calls with N rows or N keys, so time and memory
 * grow with S N: what self-attention is to pairs, with the points as a bottleneck. Reordering
 * the set reorders out in the same way. mask B S hides members from the points; hidden members
 * still receive an answer. With everything hidden h and out are 0. The Set Transformer's block
 * adds residuals, norms and a feed-forward layer around each of the two; with one point and the
 * first half alone this is its pooling. Lee et al. 2019 (1810.00825). */
#include "mech/mech.h"

enum {
    X,
    POINTS,
    W_Q1,
    W_K1,
    W_V1,
    W_O1,
    W_Q2,
    W_K2,
    W_V2,
    W_O2,
    MASK,
    OUT,
    H_OUT,
    READ,
    WRITE
};
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B S M", "the set"},
    [POINTS] = {"points", ATTN_PARAM | ATTN_GRAD, "N M", "learned; p above"},
    [W_Q1] = {"w_q1", ATTN_PARAM | ATTN_GRAD, "A M", "points ask"},
    [W_K1] = {"w_k1", ATTN_PARAM | ATTN_GRAD, "A M", "keys of the set"},
    [W_V1] = {"w_v1", ATTN_PARAM | ATTN_GRAD, "P M", "values of the set"},
    [W_O1] = {"w_o1", ATTN_PARAM | ATTN_GRAD, "M P", "heads to points"},
    [W_Q2] = {"w_q2", ATTN_PARAM | ATTN_GRAD, "A M", "the set asks"},
    [W_K2] = {"w_k2", ATTN_PARAM | ATTN_GRAD, "A M", "keys of the points"},
    [W_V2] = {"w_v2", ATTN_PARAM | ATTN_GRAD, "P M", "values of the points"},
    [W_O2] = {"w_o2", ATTN_PARAM | ATTN_GRAD, "O P", "heads to output"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a member"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B S O", "answers"},
    [H_OUT] = {"h", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B N M", "what the points read"},
    [READ] = {"read_weights", ATTN_OUT | ATTN_OPTIONAL, "B H N S", "of the points"},
    [WRITE] = {"write_weights", ATTN_OUT | ATTN_OPTIONAL, "B H S N", "of the set"},
    {0}};

enum { HEADS };
static const attn_param params[] = {
    [HEADS] = {"heads", 'i', "2", NULL, "they share the features evenly", 'H'}, {0}};

static void induced_set_build(const attn__build *b)
{
    const attn_var points = attn_tape_expand(b->t, attn_tape_unsqueeze(b->t, b->in[POINTS], 0),
                                             ATTN_DIMS(attn__build_size(b, 'B'), -1, -1));
    const attn_var x = b->in[X], none = {0};
    b->out[H_OUT] = attn__attend_projected(
        b, NULL, &(attn__asking){points, x, b->in[MASK], .w_q = W_Q1, .weights = READ});
    b->out[OUT] = attn__attend_projected(
        b, NULL, &(attn__asking){x, b->out[H_OUT], none, .w_q = W_Q2, .weights = WRITE});
}

const attn_mech attn__mech_induced_set = {
    .name = "induced_set",
    .family = "query",
    .about = "learned points read a set, and the set reads the points",
    .formula = "h = attend(points, x), out = attend(x, h), each with its own projections",
    .cost = "n k: time S N (A + P), memory S (A + P)",
    .source = "1810.00825",
    .sizes = "B=1,H=2,S=6,N=3,M=4,A=4,P=6,O=4",
    .grows = "S",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = induced_set_build,
};
