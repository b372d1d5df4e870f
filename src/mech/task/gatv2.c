/* SPDX-License-Identifier: MIT
 * Graph attention that ranks neighbours by who asks: the vector comes after the nonlinearity.
 *
 *     q = x w_to^T, k = x w_from^T   in heads of F features
 *     e[i][j] = w . leaky_relu(q_i + k_j)
 *     out_i = concat_h sum_j softmax_j(e[i][j]) k_j     over the neighbours j of i
 *     mean_i = the mean over heads in place of concat, for a last layer
 *
 * x B T D are the nodes, edges B T T says whether j gives to i. In gat the nonlinearity is
 * last, so that the ranking of neighbours is the same for every node; here it is not.
 * self_loops adds i to its own neighbours; without them a node without neighbours gets 0. With
 * w_to = w_from weights are shared, as an option of the authors' code has it. The score is
 * dense, whatever the edges: n^2 in time, and the sums T T A before it in memory. Brody, Alon
 * and Yahav 2022 (2105.14491). */
#include "mech/mech.h"

enum { X, EDGES, W_TO, W_FROM, W, OUT, MEAN, WEIGHTS };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T D", "nodes"},
    [EDGES] = {"edges", ATTN_IN | ATTN_FLAGS, "B T T", "row i: whom node i listens to"},
    [W_TO] = {"w_to", ATTN_PARAM | ATTN_GRAD, "A D", "features of who listens; A is H times F"},
    [W_FROM] = {"w_from", ATTN_PARAM | ATTN_GRAD, "A D", "features of who is heard"},
    [W] = {"w", ATTN_PARAM | ATTN_GRAD, "H F", "score of their sum"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T A", "heads side by side"},
    [MEAN] = {"mean", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B T F", "the mean of the heads"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B H T T", "of neighbours"},
    {0}};

enum { SLOPE, SELF_LOOPS };
static const attn_param params[] = {
    [SLOPE] = {"slope", 'f', "0.2", NULL, "of leaky_relu below 0"},
    [SELF_LOOPS] = {"self_loops", 'b', "true", NULL, "every node listens to itself"},
    {0}};

/* q, k B H T F -> B H T T. */
static attn_var gatv2_scores(const attn__build *b, attn_var q, attn_var k)
{
    attn_tape *t = b->t;
    const int64_t H = attn__build_size(b, 'H'), F = attn__build_size(b, 'F');
    const attn_var sum =
        attn_tape_add(t, attn_tape_unsqueeze(t, q, 3), attn_tape_unsqueeze(t, k, 2));
    const attn_var bent = attn_tape_leaky_relu(t, sum, b->params[SLOPE].f);
    const attn_var w = attn_tape_reshape(t, b->in[W], ATTN_DIMS(H, 1, F, 1));
    attn_tape_drop(t, sum);
    return attn_tape_squeeze(t, attn_tape_matmul(t, bent, w), -1);
}

static void gatv2_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0};
    const int64_t H = attn__build_size(b, 'H');
    if (!attn__graph_sound(b, H, attn__build_size(b, 'F'), attn__build_size(b, 'A'))) return;
    const attn_var q =
        attn__heads_split(t, attn_tape_linear(t, in[X], in[W_TO], none, ATTN_ACT_NONE), H);
    const attn_var k =
        attn__heads_split(t, attn_tape_linear(t, in[X], in[W_FROM], none, ATTN_ACT_NONE), H);
    const attn_var allowed = attn__graph_edges(t, in[EDGES], b->params[SELF_LOOPS].i);
    b->out[WEIGHTS] = attn_tape_softmax(t, gatv2_scores(b, q, k), allowed, -1);
    const attn_var o = attn_tape_matmul(t, b->out[WEIGHTS], k);
    b->out[OUT] = attn__heads_join(t, o);
    b->out[MEAN] = attn_tape_mean(t, o, ATTN_DIMS(1), false);
}

const attn_mech attn__mech_gatv2 = {
    .name = "gatv2",
    .family = "task",
    .about = "graph attention in which every node ranks its neighbours by itself",
    .formula = "out_i = sum over neighbours j of softmax_j(w . leaky_relu(w_to x_i + w_from "
               "x_j)) w_from x_j",
    .cost = "n^2: time T T A, memory T T A",
    .source = "2105.14491",
    .sizes = "B=1,T=6,D=4,H=2,F=3,A=6",
    .grows = "T",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE,
    .build = gatv2_build,
};
