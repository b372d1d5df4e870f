/* SPDX-License-Identifier: MIT
 * Dynamic pointing decoder with highway maxout networks: guess where an answer begins and ends,
 * look at the words there, guess again.
 *
 *     h_k     = lstm(h_{k-1}, [x_s; x_e])
 *     start_i = hmn(x_i, h_k, x_s, x_e; start weights),  s = argmax start
 *     end_i   = hmn(x_i, h_k, x_s, x_e; end weights),    e = argmax end      with the new s
 *     hmn:  r = tanh(w_d [h; x_s; x_e]),  m = max_p(w_1 [x_i; r] + b_1),
 *           n = max_p(w_2 m + b_2),       score = max_p(w_3 [m; n] + b_3)
 *
 * x B T 2L is the encoded document, P the pieces of each maxout, L the width of its layers and
 * of the LSTM (gates i f g o, state 0 at first). s and e begin at the first and last word that
 * mask B T allows; hidden words are never chosen, but out has a score of theirs too, so mask it
 * in a loss. out B 2 T are the last round's logits, steps B K 2 T those of every round (K is
 * `iterations`), over which the loss is summed. stop: an entry whose guess has not moved
 * between two rounds keeps its logits from there on. Ties go to the first word. No gradient
 * passes through argmax; it reaches x through the words that were looked at.
 * Xiong et al. 2017 (1611.01604). */
#include "mech/mech.h"

#include <math.h>

/* The weights of one network stand together; END is where those of the second begin. */
enum { HMN_D, HMN_W1, HMN_B1, HMN_W2, HMN_B2, HMN_W3, HMN_B3, HMN_SLOTS };
enum {
    X,
    W_X,
    W_H,
    B,
    START,
    END = START + HMN_SLOTS,
    MASK = END + HMN_SLOTS,
    OUT,
    STEPS,
    SPAN
};

#define DECODER_PARAM (ATTN_PARAM | ATTN_GRAD)
#define DECODER_BIAS  (ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL)
#define DECODER_HMN(at, which)                                                                 \
    [at + HMN_D] = {"w_d_" which, DECODER_PARAM, "L 5L", "hidden layer r, " which},            \
          [at + HMN_W1] = {"w_1_" which, DECODER_PARAM, "P L 3L", "first maxout"},             \
          [at + HMN_B1] = {"b_1_" which, DECODER_BIAS, "P L", "its bias"},                     \
          [at + HMN_W2] = {"w_2_" which, DECODER_PARAM, "P L L", "second maxout"},             \
          [at + HMN_B2] = {"b_2_" which, DECODER_BIAS, "P L", "its bias"},                     \
          [at + HMN_W3] = {"w_3_" which, DECODER_PARAM, "P 2L", "third, to a score"},          \
          [at + HMN_B3] = {"b_3_" which, DECODER_BIAS, "P", "its bias"}

static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T 2L", "the document, encoded"},
    [W_X] = {"w_x", DECODER_PARAM, "4L 4L", "LSTM: of the two words"},
    [W_H] = {"w_h", DECODER_PARAM, "4L L", "LSTM: of its state"},
    [B] = {"b", DECODER_BIAS, "4L", "LSTM: its bias"},
    DECODER_HMN(START, "start"),
    DECODER_HMN(END, "end"),
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "false hides a word"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B 2 T", "logits of the start and of the end"},
    [STEPS] = {"steps", ATTN_OUT | ATTN_OPTIONAL | ATTN_GRAD, "B K 2 T", "of every round"},
    [SPAN] = {"span", ATTN_OUT | ATTN_OPTIONAL | ATTN_IDS, "B 2",
              "first and last word of the answer"},
    {0}};

enum { ITERATIONS, STOP };
static const attn_param params[] = {
    [ITERATIONS] = {"iterations", 'i', "4", NULL, "rounds, 1 to 32", 'K'},
    [STOP] = {"stop", 'b', "true", NULL, "keep what does not move any more"},
    {0}};

enum { DECODER_ROUNDS = 32 };

typedef struct decoder {
    const attn__build *b;
    attn_tape *t;
    attn_var x, h, c;     /* B T 2L; B L */
    attn_var s, e;        /* ids B 1 */
    attn_var start, end;  /* logits B T of the last round */
    attn_var span, still; /* the last guess, ids B 2; B 1: above 0 where it stands still */
} decoder;

/* ---- the words that were chosen ---------------------------------------------------------- */

/* The largest score of each entry, or where mask allows, as ids B 1. */
static attn_var decoder_choose(const decoder *d, attn_var scores)
{
    const attn_var mask = d->b->in[MASK], low = attn_tape_scalar(d->t, -(double)INFINITY);
    if (attn__given(mask)) scores = attn_tape_where(d->t, mask, scores, low);
    return attn_tape_argmax(d->t, scores, 1, true);
}

/* x at ids B 1, as B 2L. */
static attn_var decoder_word(const decoder *d, attn_var ids)
{
    const attn_var row = attn_tape_expand(d->t, attn_tape_unsqueeze(d->t, ids, 2),
                                          ATTN_DIMS(-1, -1, 2 * attn__build_size(d->b, 'L')));
    return attn_tape_squeeze(d->t, attn_tape_gather(d->t, d->x, 1, row), 1);
}

/* The first and the last word: where a count of words first is 1, and first is all. */
static void decoder_open(decoder *d)
{
    const attn__build *b = d->b;
    const int64_t rows = attn__build_size(b, 'B'), words = attn__build_size(b, 'T');
    const attn_var ones =
        attn_tape_expand(d->t, attn_tape_scalar(d->t, 1), ATTN_DIMS(rows, words));
    const attn_var there = attn__given(b->in[MASK]) ? attn_tape_cast(d->t, b->in[MASK]) : ones;
    d->x = attn__mask_rows(d->t, b->in[X], b->in[MASK]);
    d->s = attn_tape_argmax(d->t, there, 1, true);
    d->e = attn_tape_argmax(d->t, attn_tape_cumsum(d->t, there, 1), 1, true);
}

/* ---- one round --------------------------------------------------------------------------- */

/* max over the pieces of w z + bias: w P N K with N and K as they come, z ... K to ... N. */
static attn_var decoder_maxout(const decoder *d, attn_var z, attn_var w, attn_var bias,
                               int64_t n)
{
    attn_tape *t = d->t;
    const int64_t pieces = attn__build_size(d->b, 'P');
    const attn_tensor v = attn_tape_value(t, w);
    if (!attn__present(&v)) return (attn_var){0};
    w = attn_tape_reshape(t, w, ATTN_DIMS(pieces * n, v.shape[v.rank - 1]));
    if (attn__given(bias)) bias = attn_tape_reshape(t, bias, ATTN_DIMS(pieces * n));
    const attn_var all = attn_tape_linear(t, z, w, bias, ATTN_ACT_NONE); /* B T PN */
    const attn_dims split =
        ATTN_DIMS(attn__build_size(d->b, 'B'), attn__build_size(d->b, 'T'), pieces, n);
    return attn_tape_max(t, attn_tape_reshape(t, all, split), ATTN_DIMS(2), false);
}

static attn_var decoder_hmn(const decoder *d, int first, attn_var x_s, attn_var x_e)
{
    attn_tape *t = d->t;
    const attn_var *w = d->b->in + first;
    const int64_t width = attn__build_size(d->b, 'L');
    const attn_var seen = attn_tape_concat(t, 3, (const attn_var[]){d->h, x_s, x_e}, 1);
    const attn_var r = attn_tape_linear(t, seen, w[HMN_D], (attn_var){0}, ATTN_ACT_TANH);
    const attn_var to_all = attn_tape_expand(t, attn_tape_unsqueeze(t, r, 1),
                                             ATTN_DIMS(-1, attn__build_size(d->b, 'T'), -1));
    const attn_var z = attn_tape_concat(t, 2, (const attn_var[]){d->x, to_all}, 2);
    const attn_var m = decoder_maxout(d, z, w[HMN_W1], w[HMN_B1], width);
    const attn_var n = decoder_maxout(d, m, w[HMN_W2], w[HMN_B2], width);
    const attn_var both = attn_tape_concat(t, 2, (const attn_var[]){m, n}, 2);
    return attn_tape_squeeze(t, decoder_maxout(d, both, w[HMN_W3], w[HMN_B3], 1), 2);
}

/* now, or what it was where the guess has stopped moving. */
static attn_var decoder_keep(const decoder *d, attn_var was, attn_var now)
{
    if (!attn__given(d->still)) return now;
    return attn_tape_where(d->t, attn_tape_less(d->t, attn_tape_scalar(d->t, 0), d->still), was,
                           now);
}

/* Whether this round's guess is the last one's. */
static void decoder_compare(decoder *d)
{
    attn_tape *t = d->t;
    const attn_var before = d->span;
    d->span = attn_tape_concat(t, 2, (const attn_var[]){d->s, d->e}, 1);
    if (!attn__given(before) || !d->b->params[STOP].i) return;
    const attn_var same = attn_tape_cast(
        t, attn_tape_equal(t, attn_tape_cast(t, d->span), attn_tape_cast(t, before)));
    d->still = attn_tape_add_scalar(t, attn_tape_sum(t, same, ATTN_DIMS(1), true), -1);
}

static void decoder_round(decoder *d)
{
    attn_tape *t = d->t;
    const attn__build *b = d->b;
    const attn_cell cell = {.w_x = b->in[W_X], .w_h = b->in[W_H], .b_x = b->in[B]};
    attn_var x_s = decoder_word(d, d->s);
    const attn_var x_e = decoder_word(d, d->e);
    const attn_var words = attn_tape_concat(t, 2, (const attn_var[]){x_s, x_e}, 1);
    (void)attn_tape_lstm(t, attn_tape_unsqueeze(t, words, 1), d->h, d->c, (attn_var){0}, 1,
                         &cell, &d->h, &d->c);
    d->start = decoder_keep(d, d->start, decoder_hmn(d, START, x_s, x_e));
    d->s = decoder_choose(d, d->start);
    x_s = decoder_word(d, d->s);
    d->end = decoder_keep(d, d->end, decoder_hmn(d, END, x_s, x_e));
    d->e = decoder_choose(d, d->end);
    decoder_compare(d);
}

static void dcn_decoder_build(const attn__build *b)
{
    attn_tape *t = b->t;
    decoder d = {.b = b, .t = t};
    attn_var steps[DECODER_ROUNDS];
    const int64_t rounds = b->params[ITERATIONS].i;
    if (!attn__build_need(b, rounds >= 1 && rounds <= DECODER_ROUNDS, ATTN_E_PARAM,
                          "iterations", "must be 1 to 32", DECODER_ROUNDS, rounds))
        return;
    decoder_open(&d);
    for (int64_t i = 0; i < rounds; i++) {
        decoder_round(&d);
        steps[i] = attn_tape_stack(t, 2, (const attn_var[]){d.start, d.end}, 1);
    }
    b->out[OUT] = steps[rounds - 1];
    b->out[SPAN] = d.span;
    if (b->wanted[STEPS]) b->out[STEPS] = attn_tape_stack(t, (int)rounds, steps, 1);
}

const attn_mech attn__mech_dcn_decoder = {
    .name = "dcn_decoder",
    .family = "feature",
    .about = "points at the start and end of an answer, round after round",
    .formula = "start = hmn(x, h, x_s, x_e), s = argmax start; end likewise; "
               "h = lstm(h, [x_s; x_e])",
    .cost = "n: time iterations T P L^2, memory T P L",
    .source = "1611.01604",
    .sizes = "B=1,T=6,L=3,P=2,K=4",
    .grows = "T",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_STREAMS,
    .build = dcn_decoder_build,
};
