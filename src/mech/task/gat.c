/* SPDX-License-Identifier: MIT
 * Graph attention: a node sums its neighbours, weighed by what both of them are.
 *
 *     h = x w^T in heads of F features
 *     e[i][j] = leaky_relu(w_to . h_i + w_from . h_j)
 *     out_i = concat_h sum_j softmax_j(e[i][j]) h_j     over the neighbours j of i
 *     mean_i = the mean over heads in place of concat, for a last layer
 *
 * x B T D are the nodes, edges B T T says whether j gives to i. self_loops adds i to its own
 * neighbours, as the paper does; without them a node without neighbours gets 0. w_to and w_from
 * are the halves of the paper's vector. As leaky_relu comes last, all nodes rank their
 * neighbours alike: see gatv2. The score is dense here, whatever the edges: n^2 in time and
 * memory. Velickovic et al. 2018 (1710.10903). */
#include "mech/mech.h"

enum { X, EDGES, W, W_TO, W_FROM, OUT, MEAN, WEIGHTS };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T D", "nodes"},
    [EDGES] = {"edges", ATTN_IN | ATTN_FLAGS, "B T T", "row i: whom node i listens to"},
    [W] = {"w", ATTN_PARAM | ATTN_GRAD, "A D", "features; A is H times F"},
    [W_TO] = {"w_to", ATTN_PARAM | ATTN_GRAD, "H F", "score of who listens"},
    [W_FROM] = {"w_from", ATTN_PARAM | ATTN_GRAD, "H F", "score of who is heard"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T A", "heads side by side"},
    [MEAN] = {"mean", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B T F", "the mean of the heads"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B H T T", "of neighbours"},
    {0}};

enum { SLOPE, SELF_LOOPS };
static const attn_param params[] = {
    [SLOPE] = {"slope", 'f', "0.2", NULL, "of leaky_relu below 0"},
    [SELF_LOOPS] = {"self_loops", 'b', "true", NULL, "every node listens to itself"},
    {0}};

static void gat_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0};
    const int64_t H = attn__build_size(b, 'H'), F = attn__build_size(b, 'F');
    if (!attn__graph_sound(b, H, F, attn__build_size(b, 'A'))) return;
    const attn_var h =
        attn__heads_split(t, attn_tape_linear(t, in[X], in[W], none, ATTN_ACT_NONE), H);
    const attn_var to = attn_tape_matmul(t, h, attn_tape_unsqueeze(t, in[W_TO], 2));
    const attn_var from = attn_tape_matmul(t, h, attn_tape_unsqueeze(t, in[W_FROM], 2));
    const attn_var e = attn_tape_leaky_relu(
        t, attn_tape_add(t, to, attn_tape_transpose(t, from, 2, 3)), b->params[SLOPE].f);
    const attn_var allowed = attn__graph_edges(t, in[EDGES], b->params[SELF_LOOPS].i);
    b->out[WEIGHTS] = attn_tape_softmax(t, e, allowed, -1);
    const attn_var o = attn_tape_matmul(t, b->out[WEIGHTS], h);
    b->out[OUT] = attn__heads_join(t, o);
    b->out[MEAN] = attn_tape_mean(t, o, ATTN_DIMS(1), false);
}

const attn_mech attn__mech_gat = {
    .name = "gat",
    .family = "task",
    .about = "graph attention: a node sums its neighbours by what both are",
    .formula = "h = x w^T, out_i = sum over neighbours j of softmax_j(leaky_relu(w_to . h_i + "
               "w_from . h_j)) h_j",
    .cost = "n^2: time T T A, memory H T T",
    .source = "1710.10903",
    .sizes = "B=1,T=6,D=4,H=2,F=3,A=6",
    .grows = "T",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE,
    .build = gat_build,
};
