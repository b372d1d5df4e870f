/* SPDX-License-Identifier: MIT
 * Location-aware attention: a score knows what the query before looked at, so that reading a
 * long sequence neither stands still nor jumps.
 *
 *     f_i = w_f * a_{i-1}                          R features a key, K taps, the same length
 *     s[i][j] = w . tanh(w_q q_i + w_k k_j + w_u f[i][j] + b)
 *     a_i = softmax(sharpen s_i);  out_i = sum_j a[i][j] v_j
 *
 * q B T D, k B S C, v B S E; K is odd. Before the first row all stands at key 0, or where
 * `start` says. smoothing takes sigmoid(s) over its sum in place of softmax (sharpen then has
 * no part). window > 0 lets row i see only keys at most that far from the median of a_{i-1},
 * the first key where half of it is reached; through the median no gradient passes. The paper
 * also knows keeping the best few scores, which is a normaliser of its own. Rows depend on rows
 * before, so they are computed one after the other, and every row is kept for the gradient.
 * Chorowski et al. 2015 (1506.07503). */
#include "mech/mech.h"

enum { Q, K, V, W_Q, W_K, W_F, W_U, BIAS, W, START, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B T D", "queries, such as decoder states"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B S C", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B S E", "values"},
    [W_Q] = {"w_q", ATTN_PARAM | ATTN_GRAD, "A D", "queries in the score"},
    [W_K] = {"w_k", ATTN_PARAM | ATTN_GRAD, "A C", "keys in the score"},
    [W_F] = {"w_f", ATTN_PARAM | ATTN_GRAD, "R K", "filters over the alignment before"},
    [W_U] = {"w_u", ATTN_PARAM | ATTN_GRAD, "A R", "their features in the score"},
    [BIAS] = {"b", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "A", "bias of the score"},
    [W] = {"w", ATTN_PARAM | ATTN_GRAD, "A", "score of what is left"},
    [START] = {"start", ATTN_IN | ATTN_GRAD | ATTN_OPTIONAL, "B S",
               "alignment before the first row; absent: at key 0"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T E", "what every query reads"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B T S", "alignments"},
    {0}};

enum { SHARPEN, SMOOTHING, WINDOW };
static const attn_param params[] = {
    [SHARPEN] = {"sharpen", 'f', "1", NULL, "factor of the scores in the softmax"},
    [SMOOTHING] = {"smoothing", 'b', "false", NULL, "sigmoids over their sum"},
    [WINDOW] = {"window", 'i', "0", NULL, "keys seen on each side of the median; 0: all"},
    {0}};

/* w_u f: prev B S -> B S A. */
static attn_var location_features(const attn__build *b, attn_var prev)
{
    attn_tape *t = b->t;
    const attn_var none = {0};
    const int64_t taps = attn__build_size(b, 'K');
    const attn_conv same = {.padding = {taps / 2}};
    const attn_var f = attn_tape_conv1d(t, attn_tape_unsqueeze(t, prev, 1),
                                        attn_tape_unsqueeze(t, b->in[W_F], 1), none, &same);
    return attn_tape_linear(t, attn_tape_transpose(t, f, 1, 2), b->in[W_U], none,
                            ATTN_ACT_NONE);
}

/* The keys near the median of prev, which mask allows. */
static attn_var location_window(const attn__build *b, attn_var prev)
{
    attn_tape *t = b->t;
    const double width = (double)b->params[WINDOW].i;
    if (b->params[WINDOW].i <= 0) return b->in[MASK];
    const attn_var before = attn_tape_less(t, attn_tape_cumsum(t, attn_tape_stop(t, prev), 1),
                                           attn_tape_scalar(t, 0.5));
    const attn_var median = attn_tape_sum(t, attn_tape_cast(t, before), ATTN_DIMS(1), true);
    const attn_var far = attn_tape_abs(
        t, attn_tape_sub(t, attn__positions(t, attn__build_size(b, 'S')), median));
    return attn__pair_mask(t, attn_tape_less_equal(t, far, attn_tape_scalar(t, width)),
                           b->in[MASK]);
}

static attn_var location_weights(const attn__build *b, attn_var s, attn_var allowed)
{
    attn_tape *t = b->t;
    if (!b->params[SMOOTHING].i)
        return attn_tape_softmax(t, attn_tape_mul_scalar(t, s, b->params[SHARPEN].f), allowed,
                                 -1);
    const attn_var zero = attn_tape_scalar(t, 0), least = attn_tape_scalar(t, 1e-30);
    attn_var sigma = attn_tape_sigmoid(t, s);
    if (attn__given(allowed)) sigma = attn_tape_where(t, allowed, sigma, zero);
    return attn_tape_div(
        t, sigma, attn_tape_maximum(t, attn_tape_sum(t, sigma, ATTN_DIMS(-1), true), least));
}

/* Keys B S A, query B A, alignment before B S -> alignment B S. */
static attn_var location_row(const attn__build *b, attn_var keys, attn_var query, attn_var prev)
{
    attn_tape *t = b->t;
    const attn_var features = location_features(b, prev);
    const attn_var placed = attn_tape_add(t, keys, features);
    const attn_var s = attn_tape_additive_scores(t, query, placed, b->in[W]);
    attn_tape_drop(t, features);
    attn_tape_drop(t, placed);
    return location_weights(b, attn_tape_squeeze(t, s, 1), location_window(b, prev));
}

/* B S: all at key 0. */
static attn_var location_first(attn_tape *t, int64_t batch, int64_t keys)
{
    const attn_var here = attn_tape_equal(t, attn__positions(t, keys), attn_tape_scalar(t, 0));
    return attn_tape_expand(t, attn_tape_cast(t, here), ATTN_DIMS(batch, keys));
}

static void location_aware_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0};
    const attn_var k = attn__mask_rows(t, in[K], in[MASK]),
                   v = attn__mask_rows(t, in[V], in[MASK]);
    if (!attn__build_need(b, attn__build_size(b, 'K') % 2 == 1, ATTN_E_SHAPE, "w_f",
                          "filters must have an odd number of taps", 1,
                          attn__build_size(b, 'K')))
        return;
    const attn_var q = attn_tape_linear(t, in[Q], in[W_Q], none, ATTN_ACT_NONE);
    const attn_var keys = attn_tape_linear(t, k, in[W_K], in[BIAS], ATTN_ACT_NONE);
    const int64_t B = attn__build_size(b, 'B'), T = attn__build_size(b, 'T'),
                  S = attn__build_size(b, 'S');
    attn__series rows = {.t = t, .dim = 1};
    attn_var prev = attn__given(in[START]) ? in[START] : location_first(t, B, S);
    for (int64_t i = 0; i < T && attn__given(prev); i++) {
        prev = location_row(b, keys, attn_tape_slice(t, q, 1, i, i + 1), prev);
        attn__series_add(&rows, attn_tape_unsqueeze(t, prev, 1));
    }
    b->out[WEIGHTS] = attn__series_end(&rows, ATTN_DIMS(B, 0, S));
    b->out[OUT] = attn_tape_matmul(t, b->out[WEIGHTS], v);
}

const attn_mech attn__mech_location_aware = {
    .name = "location_aware",
    .family = "monotonic",
    .about = "scores know the alignment of the query before, through a convolution",
    .formula = "a_i = softmax(w . tanh(w_q q_i + w_k k_j + w_u (w_f * a_i-1)_j + b)), "
               "out = a v",
    .cost = "n^2: time T S (A R + R K + E), memory T S (A + R)",
    .source = "1506.07503",
    .sizes = "B=1,T=4,S=7,D=4,C=3,A=6,R=3,K=5,E=4",
    .grows = "TS",
    .slots = slots,
    .params = params,
    .traits = ATTN_ROWS_SUM_1 | ATTN_LINEAR_IN_V | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO |
              ATTN_CAUSAL | ATTN_STEPS,
    .build = location_aware_build,
};
