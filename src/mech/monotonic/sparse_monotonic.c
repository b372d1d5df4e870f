/* SPDX-License-Identifier: MIT
 * The decoder of adaptive sparse and monotonic attention: monotonic heads within chunks, of
 * which training keeps few.
 *
 *     o_h = head h of monotonic_multihead with chunks of `chunk` keys
 *     out = concat_h(keep_h gate_h o_h) w_o^T
 *     penalty = sum_h |gate_h|,  quantity[b][h] = | sum of stops[b][h] - T |
 *
 * x B T M asks, y B S N is walked. The paper's text could not be read, only its abstract: that
 * monotonic heads are pruned is theirs, the way is our own. A gate multiplies its head, an L1
 * penalty pulls gates to 0, and a head below 0.01 can go; `drop` > 0 leaves heads out in
 * training (HeadDrop) and scales the others by H over their number, by the dice of `seed` for
 * the whole batch; the quantity loss asks every head for as many stops as there are rows. The
 * encoder of that model is adaptive_sparse.
 * Zhao et al. 2022 (2209.15176); Inaguma et al. 2020 (2005.09394) for HeadDrop. */
#include "mech/mech.h"

enum {
    X,
    Y,
    W_Q,
    W_K,
    R,
    W_UQ,
    W_UK,
    W_V,
    W_O,
    GATE,
    MASK,
    OUT,
    WEIGHTS,
    STOPS,
    PENALTY,
    QUANTITY
};
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T M", "who asks"},
    [Y] = {"y", ATTN_IN | ATTN_GRAD, "B S N", "who is asked, in order"},
    [W_Q] = {"w_q", ATTN_PARAM | ATTN_GRAD, "A M", "queries of the walk"},
    [W_K] = {"w_k", ATTN_PARAM | ATTN_GRAD, "A N", "keys of the walk"},
    [R] = {"r", ATTN_PARAM | ATTN_GRAD, "H", "offset of every head"},
    [W_UQ] = {"w_uq", ATTN_PARAM | ATTN_GRAD, "A M", "queries in a chunk"},
    [W_UK] = {"w_uk", ATTN_PARAM | ATTN_GRAD, "A N", "keys in a chunk"},
    [W_V] = {"w_v", ATTN_PARAM | ATTN_GRAD, "P N", "values"},
    [W_O] = {"w_o", ATTN_PARAM | ATTN_GRAD, "O P", "heads to output"},
    [GATE] = {"gate", ATTN_PARAM | ATTN_GRAD, "H", "weight of every head"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T O", "answers"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B H T S",
                 "what every head looks at"},
    [STOPS] = {"stops", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B H T S",
               "where every head stops"},
    [PENALTY] = {"penalty", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "1", "size of the gates"},
    [QUANTITY] = {"quantity", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B H",
                  "stops too many or too few"},
    {0}};

enum { CHUNK, HARD, DROP, SEED };
static const attn_param params[] = {
    [CHUNK] = {"chunk", 'i', "2", NULL, "keys of a chunk; 0: all up to the stop"},
    [HARD] = {"hard", 'b', "false", NULL, "stop at the first energy above 0"},
    [DROP] = {"drop", 'f', "0", NULL, "probability to leave a head out"},
    [SEED] = {"seed", 'i', "0", NULL, "of what is left out"},
    {0}};

/* H: gates, 0 for heads left out, the others scaled by H over their number. */
static attn_var sparse_monotonic_gates(const attn__build *b)
{
    attn_tape *t = b->t;
    const double drop = b->params[DROP].f;
    const int64_t heads = attn__build_size(b, 'H');
    if (drop == 0) return b->in[GATE];
    const attn_var ones = attn_tape_expand(t, attn_tape_scalar(t, 1), ATTN_DIMS(heads));
    const attn_var drawn = attn_tape_dropout(t, ones, drop, (uint64_t)b->params[SEED].i);
    const attn_var keep = attn_tape_cast(t, attn_tape_less(t, attn_tape_scalar(t, 0), drawn));
    const attn_var many =
        attn_tape_maximum(t, attn_tape_sum(t, keep, ATTN_ALL, false), attn_tape_scalar(t, 1));
    return attn_tape_mul(t, b->in[GATE],
                         attn_tape_mul_scalar(t, attn_tape_div(t, keep, many), (double)heads));
}

static attn_var sparse_monotonic_quantity(attn_tape *t, attn_var stops, int64_t rows)
{
    const attn_var sum = attn_tape_sum(t, stops, ATTN_DIMS(2, 3), false);
    return attn_tape_abs(t, attn_tape_add_scalar(t, sum, -(double)rows));
}

static void sparse_monotonic_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0};
    const int64_t heads = attn__build_size(b, 'H');
    const attn__monotonic m = {.x = in[X],
                               .y = in[Y],
                               .w_q = in[W_Q],
                               .w_k = in[W_K],
                               .w_uq = in[W_UQ],
                               .w_uk = in[W_UK],
                               .w_v = in[W_V],
                               .r = in[R],
                               .mask = in[MASK],
                               .heads = heads,
                               .chunk = b->params[CHUNK].i,
                               .hard = b->params[HARD].i};
    if (!attn__monotonic_sound(b, &m)) return;
    const attn_var o = attn__monotonic_heads(t, &m, &b->out[STOPS], &b->out[WEIGHTS]);
    const attn_var gates =
        attn_tape_reshape(t, sparse_monotonic_gates(b), ATTN_DIMS(heads, 1, 1));
    b->out[OUT] = attn_tape_linear(t, attn__heads_join(t, attn_tape_mul(t, o, gates)), in[W_O],
                                   none, ATTN_ACT_NONE);
    b->out[PENALTY] = attn_tape_sum(t, attn_tape_abs(t, in[GATE]), ATTN_ALL, false);
    b->out[QUANTITY] = sparse_monotonic_quantity(t, b->out[STOPS], attn__build_size(b, 'T'));
}

const attn_mech attn__mech_sparse_monotonic = {
    .name = "sparse_monotonic",
    .family = "monotonic",
    .about = "monotonic heads with gates, of which training keeps few",
    .formula = "out = concat_h(keep_h gate_h o_h) w_o^T, o_h a chunkwise monotonic head, "
               "penalty = sum |gate|, quantity = |sum stops - T|",
    .cost = "n^2: time T S (A + H chunk + P), memory H T S",
    .source = "2209.15176",
    .sizes = "B=1,H=2,T=5,S=7,M=4,N=6,A=4,P=8,O=4",
    .grows = "TS",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_CAUSAL | ATTN_STEPS,
    .build = sparse_monotonic_build,
};
