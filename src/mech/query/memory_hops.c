/* SPDX-License-Identifier: MIT
 * End-to-end memory network: a question reads a memory of sentences several times, and what it
 * read becomes part of the question.
 *
 *     m_i = sum_j l_j * A[x_ij] + time_A[i];   c_i = sum_j l_j * C[x_ij] + time_C[i]
 *     u = sum_j l_j * B[q_j]                             l_j of the question's own length
 *     each hop:  p = softmax(u . m_i);  o = sum_i p_i c_i;  u = u + o   (or w_h u + o)
 *     out = u after the last hop;  answer = softmax(w_answer out)
 *
 * story B S J and question B K are word numbers below V, tables N V D. tying=adjacent: hops + 1
 * tables, hop k has A = table k and C = table k + 1, B = table 0 (and w_answer the last one, if
 * the caller likes). tying=layer_wise: two tables, A = B = table 0 and C = table 1 in every
 * hop, with w_h between hops. time N S D follows the tables: row i is added to memory i.
 *
 * Position encoding l_kj = (1 - j/J) - (k/D)(1 - 2j/J), j = 1 .. J words, k = 1 .. D features,
 * else l = 1, a bag of words. J is the padded length. padding: the number of the word that
 * counts nothing. mask B S hides memories. linear drops the softmax of the hops, the paper's
 * start of training. Sukhbaatar et al. 2015 (1503.08895). */
#include "mech/mech.h"

enum { STORY, QUESTION, TABLES, TIME, W_H, W_ANSWER, MASK, OUT, ANSWER, WEIGHTS };
static const attn_slot slots[] = {
    [STORY] = {"story", ATTN_IN | ATTN_IDS, "B S J", "S sentences of J words", "V"},
    [QUESTION] = {"question", ATTN_IN | ATTN_IDS, "B K", "K words", "V"},
    [TABLES] = {"tables", ATTN_PARAM | ATTN_GRAD, "N V D", "embeddings, see tying"},
    [TIME] = {"time", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "N S D", "when each was said"},
    [W_H] = {"w_h", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "D D", "u between hops"},
    [W_ANSWER] = {"w_answer", ATTN_PARAM | ATTN_GRAD, "O D", "answers"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a memory"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B D", "the question after the last hop"},
    [ANSWER] = {"answer", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B O", "probabilities"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B H S", "of H = hops hops"},
    {0}};

enum { HOPS, TYING, POSITION, LINEAR, PADDING };
static const attn_param params[] = {
    [HOPS] = {"hops", 'i', "3", NULL, "how often the memory is read; at most 32", 'H'},
    [TYING] = {"tying", 'e', "adjacent", "adjacent|layer_wise", "which tables a hop uses"},
    [POSITION] = {"position_encoding", 'b', "true", NULL, "words count by their place"},
    [LINEAR] = {"linear", 'b', "false", NULL, "no softmax in the hops"},
    [PADDING] = {"padding", 'i', "-1", NULL, "word that counts nothing; -1: none"},
    {0}};

enum { MEMORY_HOPS_MOST = 32, MEMORY_ADJACENT = 0 };

typedef struct memory_place {
    int64_t words, width;
} memory_place;

static double memory_place_weight(const void *arg, int64_t i)
{
    const memory_place *p = arg;
    const double j = (double)(i / p->width + 1) / (double)p->words,
                 k = (double)(i % p->width + 1) / (double)p->width;
    return (1 - j) - k * (1 - 2 * j);
}

/* Sentences of words ids ... J as sums of rows of table n: ... D. */
static attn_var memory_embed(const attn__build *b, attn_var ids, char words, int64_t n)
{
    attn_tape *t = b->t;
    const memory_place place = {attn__build_size(b, words), attn__build_size(b, 'D')};
    const attn_var table =
        attn_tape_squeeze(t, attn_tape_slice(t, b->in[TABLES], 0, n, n + 1), 0);
    attn_var x = attn_tape_embedding(t, table, ids, b->params[PADDING].i);
    if (b->params[POSITION].i)
        x = attn_tape_mul(
            t, x,
            attn__table(t, ATTN_DIMS(place.words, place.width), memory_place_weight, &place));
    return attn_tape_sum(t, x, ATTN_DIMS(-2), false);
}

/* Memories by table n: B S D. */
static attn_var memory_of(const attn__build *b, int64_t n)
{
    attn_tape *t = b->t;
    const attn_var m = memory_embed(b, b->in[STORY], 'J', n);
    if (!attn__given(b->in[TIME])) return m;
    return attn_tape_add(t, m,
                         attn_tape_squeeze(t, attn_tape_slice(t, b->in[TIME], 0, n, n + 1), 0));
}

/* One reading: its weights B S, and u + o. */
static attn_var memory_read(const attn__build *b, attn_var u, attn_var m, attn_var c,
                            attn_var *weights)
{
    attn_tape *t = b->t;
    const attn_var column = attn_tape_unsqueeze(t, u, 2);
    attn_var scores = attn_tape_squeeze(t, attn_tape_matmul(t, m, column), 2);
    if (!b->params[LINEAR].i)
        scores = attn__pool_weights(t, scores, b->in[MASK]);
    else if (attn__given(b->in[MASK]))
        scores = attn_tape_mul(t, scores, attn_tape_cast(t, b->in[MASK]));
    *weights = attn_tape_unsqueeze(t, scores, 1);
    if (attn__given(b->in[W_H]))
        u = attn_tape_linear(t, u, b->in[W_H], (attn_var){0}, ATTN_ACT_NONE);
    return attn_tape_add(t, u, attn__pool(t, scores, c));
}

static bool memory_checks(const attn__build *b)
{
    const int64_t hops = b->params[HOPS].i, N = attn__build_size(b, 'N');
    if (!attn__build_need(b, hops <= MEMORY_HOPS_MOST, ATTN_E_PARAM, "hops",
                          "must be at most 32", MEMORY_HOPS_MOST, hops))
        return false;
    const int64_t tables = b->params[TYING].i == MEMORY_ADJACENT ? hops + 1 : 2;
    return attn__build_need(b, N == tables, ATTN_E_SHAPE, "tables",
                            "adjacent tying has hops + 1 of them, layer_wise 2", tables, N);
}

static void memory_hops_build(const attn__build *b)
{
    attn_tape *t = b->t;
    if (!memory_checks(b)) return;
    const int64_t hops = b->params[HOPS].i;
    const bool adjacent = b->params[TYING].i == MEMORY_ADJACENT;
    attn_var u = memory_embed(b, b->in[QUESTION], 'K', 0), m = memory_of(b, 0),
             c = memory_of(b, 1), weights[MEMORY_HOPS_MOST];
    for (int64_t k = 0; k < hops; k++) {
        if (adjacent && k > 0) m = c, c = memory_of(b, k + 1);
        u = memory_read(b, u, m, c, &weights[k]);
    }
    b->out[OUT] = u;
    if (b->wanted[WEIGHTS]) b->out[WEIGHTS] = attn_tape_concat(t, (int)hops, weights, 1);
    const attn_var logits =
        attn_tape_linear(t, u, b->in[W_ANSWER], (attn_var){0}, ATTN_ACT_NONE);
    b->out[ANSWER] = attn_tape_softmax(t, logits, (attn_var){0}, 1);
}

const attn_mech attn__mech_memory_hops = {
    .name = "memory_hops",
    .family = "query",
    .about = "a question reads a memory of sentences in several hops",
    .formula = "p = softmax(u . m_i), u = u + sum_i p_i c_i, again and again",
    .cost = "n k: time hops S J D, memory S J D",
    .source = "1503.08895",
    .sizes = "B=1,S=5,J=4,K=3,V=8,N=4,D=6,O=8,H=3",
    .grows = "S",
    .slots = slots,
    .params = params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_BATCH_FREE | ATTN_STREAMS,
    .build = memory_hops_build,
};
