/* SPDX-License-Identifier: MIT
 * Learned absolute positions: row p of a table is added to the features at position p, then the
 * sequence asks itself.
 *
 *     y_t = x_t + table[p_t];  out = concat_h( softmax(q_h k_h^T / sqrt(A/H)) v_h ) w_o^T
 *
 * x B T M, table N M, q k v from y. p_t = t + offset, which must stay below N, or what the ids
 * positions B T say. Gradients of the table are sums over all rows that used an entry; entries
 * that nothing used get 0. Gehring et al. 2017 (1705.03122); BERT and GPT-2 have this form. */
#include "mech/mech.h"

enum { X, TABLE, POSITIONS, W_Q, W_K, W_V, W_O, MASK, OUT, ENCODED, WEIGHTS };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T M", "asks itself"},
    [TABLE] = {"table", ATTN_PARAM | ATTN_GRAD, "N M", "a row for each position"},
    [POSITIONS] = {"positions", ATTN_IN | ATTN_OPTIONAL | ATTN_IDS, "B T", "else t + offset",
                   "N"},
    [W_Q] = {"w_q", ATTN_PARAM | ATTN_GRAD, "A M", "queries"},
    [W_K] = {"w_k", ATTN_PARAM | ATTN_GRAD, "A M", "keys"},
    [W_V] = {"w_v", ATTN_PARAM | ATTN_GRAD, "P M", "values"},
    [W_O] = {"w_o", ATTN_PARAM | ATTN_GRAD, "O P", "heads to output"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T O", "answers"},
    [ENCODED] = {"encoded", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B T M", "y"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B H T T", "of every head"},
    {0}};

enum { HEADS, CAUSAL, OFFSET };
static const attn_param params[] = {
    [HEADS] = {"heads", 'i', "2", NULL, "they share the features of w_q, w_k and w_v evenly",
               'H'},
    [CAUSAL] = {"causal", 'b', "false", NULL, "a position sees itself and what came before"},
    [OFFSET] = {"offset", 'i', "0", NULL, "position of row 0"},
    {0}};

/* T M or B T M. */
static attn_var learned_absolute_rows(const attn__build *b)
{
    const int64_t N = attn__build_size(b, 'N'), T = attn__build_size(b, 'T'),
                  offset = b->params[OFFSET].i;
    if (attn__given(b->in[POSITIONS]))
        return attn_tape_embedding(b->t, b->in[TABLE], b->in[POSITIONS], -1);
    if (!attn__build_need(b, offset >= 0 && offset <= N, ATTN_E_PARAM, "offset",
                          "must be a row of the table", N, offset) ||
        !attn__build_need(b, T <= N - offset, ATTN_E_SHAPE, "table",
                          "must have a row for each position", N - offset, T))
        return (attn_var){0};
    return attn_tape_slice(b->t, b->in[TABLE], 0, offset, offset + T);
}

static void learned_absolute_build(const attn__build *b)
{
    const attn_var *in = b->in;
    const attn_var y = attn_tape_add(b->t, in[X], learned_absolute_rows(b));
    const attn_spec spec = ATTN_SPEC(.causal = b->params[CAUSAL].i);
    b->out[ENCODED] = y;
    b->out[OUT] = attn__attend_projected(
        b, &spec, &(attn__asking){y, y, in[MASK], .w_q = W_Q, .weights = WEIGHTS});
}

const attn_mech attn__mech_learned_absolute = {
    .name = "learned_absolute",
    .family = "position",
    .about = "self-attention after a learned vector of each position is added",
    .formula = "self(x_t + table[t + offset])",
    .cost = "n^2: time T^2 (A + P), memory T (A + P)",
    .source = "1705.03122",
    .sizes = "B=1,H=2,T=6,N=16,M=4,A=4,P=8,O=4",
    .grows = "TN",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS | ATTN_CAUSAL | ATTN_STEPS,
    .build = learned_absolute_build,
};
