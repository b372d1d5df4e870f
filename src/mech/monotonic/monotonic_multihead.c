/* SPDX-License-Identifier: MIT
 * Monotonic multihead attention: every head walks along the keys by itself.
 *
 *     e = (x w_q^T)_h . (y w_k^T)_h / sqrt(A/H) + r_h
 *     p = sigmoid(e), 0 where mask hides a key
 *     a_h = expected monotonic alignment of p_h (see expected_monotonic)
 *     weights_h = a_h shared out among chunks by u = (x w_uq^T)_h . (y w_uk^T)_h / sqrt(A/H)
 *     out = concat_h(weights_h (y w_v^T)_h) w_o^T
 *
 * x B T M asks, y B S N is walked; r has one offset a head, near -1, and its size is their
 * number. chunk = 1 is the form that stops at one key (MMA-H); chunk = 0 attends to all up to
 * the stop (MMA-IL) and needs w_uq and w_uk, as does any other. A model emits a token when the
 * last head has stopped. hard = true is how it is used: it stops where e > 0, without a
 * gradient. Rows of a head sum to 1 at most. Ma et al. 2020 (1909.12406). */
#include "mech/mech.h"

enum { X, Y, W_Q, W_K, R, W_V, W_O, W_UQ, W_UK, MASK, OUT, WEIGHTS, STOPS };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T M", "who asks"},
    [Y] = {"y", ATTN_IN | ATTN_GRAD, "B S N", "who is asked, in order"},
    [W_Q] = {"w_q", ATTN_PARAM | ATTN_GRAD, "A M", "queries of the walk"},
    [W_K] = {"w_k", ATTN_PARAM | ATTN_GRAD, "A N", "keys of the walk"},
    [R] = {"r", ATTN_PARAM | ATTN_GRAD, "H", "offset of every head"},
    [W_V] = {"w_v", ATTN_PARAM | ATTN_GRAD, "P N", "values"},
    [W_O] = {"w_o", ATTN_PARAM | ATTN_GRAD, "O P", "heads to output"},
    [W_UQ] = {"w_uq", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "A M", "queries in a chunk"},
    [W_UK] = {"w_uk", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "A N", "keys in a chunk"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T O", "answers"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B H T S",
                 "what every head looks at"},
    [STOPS] = {"stops", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B H T S",
               "where every head stops"},
    {0}};

enum { CHUNK, HARD };
static const attn_param params[] = {
    [CHUNK] = {"chunk", 'i', "1", NULL, "keys of a chunk; 0: all up to the stop"},
    [HARD] = {"hard", 'b', "false", NULL, "stop at the first energy above 0"},
    {0}};

static void monotonic_multihead_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0};
    const attn__monotonic m = {.x = in[X],
                               .y = in[Y],
                               .w_q = in[W_Q],
                               .w_k = in[W_K],
                               .w_uq = in[W_UQ],
                               .w_uk = in[W_UK],
                               .w_v = in[W_V],
                               .r = in[R],
                               .mask = in[MASK],
                               .heads = attn__build_size(b, 'H'),
                               .chunk = b->params[CHUNK].i,
                               .hard = b->params[HARD].i};
    if (!attn__monotonic_sound(b, &m)) return;
    const attn_var o = attn__monotonic_heads(t, &m, &b->out[STOPS], &b->out[WEIGHTS]);
    b->out[OUT] = attn_tape_linear(t, attn__heads_join(t, o), in[W_O], none, ATTN_ACT_NONE);
}

const attn_mech attn__mech_monotonic_multihead = {
    .name = "monotonic_multihead",
    .family = "monotonic",
    .about = "heads that each walk forward along the keys",
    .formula = "p_h = sigmoid(q_h . k_h / sqrt(A/H) + r_h), a_h = monotonic(p_h), "
               "out = concat_h(a_h v_h) w_o^T",
    .cost = "n^2: time T S (A + H chunk + P), memory H T S",
    .source = "1909.12406",
    .sizes = "B=1,H=2,T=5,S=7,M=4,N=6,A=4,P=8,O=4",
    .grows = "TS",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_CAUSAL | ATTN_STEPS,
    .build = monotonic_multihead_build,
};
