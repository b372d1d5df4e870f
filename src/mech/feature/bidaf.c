/* SPDX-License-Identifier: MIT
 * Bidirectional attention flow: every word of a context looks at the question, and the question
 * says once which words of the context matter.
 *
 *     s_ij = w.[x_i; y_j; x_i y_j]
 *     context to question:  u_i = sum_j softmax_j(s_ij) y_j
 *     question to context:  h = sum_i b_i x_i,  b = softmax_i(max_j s_ij)
 *     out_i = [x_i; u_i; x_i u_i; x_i h]
 *
 * x B T D is the context and y B S D the question, both after their encoders; w is 3D. h is one
 * vector for all rows. The term w_1.x_i is invisible to the softmax over j but not to the
 * maximum. Ties of the maximum go to the lowest j, gradients too. Rows that a mask hides count
 * as zeros and have no weight. c2q=false is the paper's ablation: u_i is the mean of y. The
 * scores are never stored: rows of u come out of the fused engine, maxima out of tiles.
 * Seo et al. 2017 (1611.01603); the layers before and after this one (highway, LSTM, the
 * pointers to the answer) are layers of a model. */
#include "mech/mech.h"

enum { X, Y, W, MASK, X_MASK, OUT, WEIGHTS, X_WEIGHTS };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T D", "the context"},
    [Y] = {"y", ATTN_IN | ATTN_GRAD, "B S D", "the question"},
    [W] = {"w", ATTN_PARAM | ATTN_GRAD, "3D", "of x, of y and of their product"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a row of y"},
    [X_MASK] = {"x_mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "and one of x"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T 4D", "x; u; x u; x h"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL | ATTN_GRAD, "B T S",
                 "context to question, over j"},
    [X_WEIGHTS] = {"x_weights", ATTN_OUT | ATTN_OPTIONAL | ATTN_GRAD, "B T",
                   "question to context: b"},
    {0}};

enum { C2Q };
static const attn_param params[] = {
    [C2Q] = {"c2q", 'b', "true", NULL, "false: u is the mean of y for every row"}, {0}};

static attn_var bidaf_to_question(const attn__build *b, attn_var y, attn_var row)
{
    if (b->params[C2Q].i) return attn__attend_plain(b->t, row, y, y, b->in[MASK]);
    const attn_var mean = attn__pool_mean(b->t, y, b->in[MASK]);
    const attn_dims like_x = ATTN_DIMS(-1, attn__build_size(b, 'T'), -1);
    return attn_tape_expand(b->t, attn_tape_unsqueeze(b->t, mean, 1), like_x);
}

static void bidaf_weights(const attn__build *b, attn_var y, attn_var row)
{
    attn_tape *t = b->t;
    attn_var mask = b->in[MASK];
    if (attn__given(mask)) mask = attn_tape_unsqueeze(t, mask, 1);
    attn_var s = attn_tape_matmul(t, row, attn_tape_transpose(t, y, 1, 2));
    if (!b->params[C2Q].i) s = attn_tape_mul_scalar(t, s, 0);
    b->out[WEIGHTS] = attn_tape_softmax(t, s, mask, -1);
}

static void bidaf_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn__sequence x = attn__sequence_of(b, X, X_MASK), y = attn__sequence_of(b, Y, MASK);
    const attn__trilinear s = attn__trilinear_of(t, x.rows, b->in[W], false);
    const attn_var u = bidaf_to_question(b, y.rows, s.row);
    const attn_var h = attn__flow_back(t, x, y, s, &b->out[X_WEIGHTS]);
    const attn_var part[] = {x.rows, u, attn_tape_mul(t, x.rows, u),
                             attn_tape_mul(t, x.rows, h)};
    b->out[OUT] = attn_tape_concat(t, 4, part, 2);
    if (b->wanted[WEIGHTS]) bidaf_weights(b, y.rows, s.row);
}

const attn_mech attn__mech_bidaf = {
    .name = "bidaf",
    .family = "feature",
    .about = "attention flow: context to question and question to context",
    .formula = "out = [x; u; x u; x h],  u = softmax_j(s) y,  h = softmax_i(max_j s) x,  "
               "s = w.[x; y; x y]",
    .cost = "n^2: time T S D, memory (T + S) D",
    .source = "1611.01603",
    .sizes = "B=1,T=6,S=4,D=3",
    .grows = "TS",
    .slots = slots,
    .params = params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_BATCH_FREE | ATTN_STREAMS,
    .build = bidaf_build,
};
