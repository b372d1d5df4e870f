/* SPDX-License-Identifier: MIT
 * The coattention encoder of dynamic coattention networks: the document reads the question, and
 * what the question read in the document.
 *
 *     l_ij = x_i.q_j,   q = tanh(w_q y + b_q)                    q = y without w_q
 *     c_j   = sum_i softmax_i(l_ij) x_i                          summary of x for each q_j
 *     out_i = sum_j softmax_j(l_ij) [q_j; c_j]
 *
 * x B T D is the document, y B S D the question. sentinel_x and sentinel_y D are one more
 * learned row of each, behind the others (y's before the projection): a word may look at it,
 * that is at nothing. It takes part in every sum and is never masked; no row of out is its own.
 * Both softmaxes run in the fused engine, the one over columns as a call with the roles
 * exchanged, so no T x S matrix is kept; weights are made only when asked for. The recurrent
 * layer that follows, over [x; out], is a layer of a model. Xiong et al. 2017 (1611.01604). */
#include "mech/mech.h"

enum { X, Y, W_Q, B_Q, SENTINEL_X, SENTINEL_Y, MASK, X_MASK, OUT, SUMMARY, WEIGHTS };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T D", "the document"},
    [Y] = {"y", ATTN_IN | ATTN_GRAD, "B S D", "the question"},
    [W_Q] = {"w_q", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "D D", "projects the question"},
    [B_Q] = {"b_q", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "D", "its bias"},
    [SENTINEL_X] = {"sentinel_x", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "D", "one row more"},
    [SENTINEL_Y] = {"sentinel_y", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "D", "one row more"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a row of y"},
    [X_MASK] = {"x_mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "and one of x"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T 2D", "question and summaries for each row of x"},
    [SUMMARY] = {"summary", ATTN_OUT | ATTN_OPTIONAL | ATTN_GRAD, "B S D", "c"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL | ATTN_GRAD, "B T S",
                 "over j, without the share of the sentinel"},
    {0}};

static attn_var dcn_question(const attn__build *b, attn_var rows)
{
    if (attn__given(b->in[W_Q]))
        return attn_tape_linear(b->t, rows, b->in[W_Q], b->in[B_Q], ATTN_ACT_TANH);
    attn__build_need(b, !attn__given(b->in[B_Q]), ATTN_E_NULL, "w_q",
                     "is needed where b_q is given", 1, 0);
    return rows;
}

static attn_var dcn_weights(const attn__build *b, attn_var x, attn__sequence y)
{
    attn_tape *t = b->t;
    const attn_var mask =
        attn__given(y.mask) ? attn_tape_unsqueeze(t, y.mask, 1) : (attn_var){0};
    const attn_var l = attn_tape_matmul(t, x, attn_tape_transpose(t, y.rows, 1, 2));
    const attn_var all = attn_tape_softmax(t, l, mask, 2);
    return attn_tape_slice(t, all, 2, 0, attn__build_size(b, 'S'));
}

/* One row more (row D; empty: as it was): a learned one, for whom no flag is false. */
static attn__sequence dcn_append(attn_tape *t, attn__sequence x, attn_var row)
{
    const attn_tensor v = attn_tape_value(t, x.rows);
    if (!attn__given(row) || !attn__present(&v)) return x;
    const attn_var whole = attn_tape_expand(t, row, ATTN_DIMS(v.shape[0], 1, v.shape[2]));
    x.rows = attn_tape_concat(t, 2, (const attn_var[]){x.rows, whole}, 1);
    if (!attn__given(x.mask)) return x;
    const attn_var flags = attn_tape_pad(t, attn_tape_cast(t, x.mask), 1, 0, 1, 1);
    x.mask = attn_tape_less(t, attn_tape_scalar(t, 0), flags);
    return x;
}

static void dcn_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn__sequence x = dcn_append(t, attn__sequence_of(b, X, X_MASK), b->in[SENTINEL_X]);
    attn__sequence y = dcn_append(t, attn__sequence_of(b, Y, MASK), b->in[SENTINEL_Y]);
    y.rows = dcn_question(b, y.rows);
    attn_var c;
    const attn_var words = attn_tape_slice(t, x.rows, 1, 0, attn__build_size(b, 'T'));
    b->out[OUT] = attn__coattend(t, words, x, y, &c);
    b->out[SUMMARY] = attn_tape_slice(t, c, 1, 0, attn__build_size(b, 'S'));
    if (b->wanted[WEIGHTS]) b->out[WEIGHTS] = dcn_weights(b, words, y);
}

const attn_mech attn__mech_dcn = {
    .name = "dcn",
    .family = "feature",
    .about = "coattention encoder of dynamic coattention networks",
    .formula = "out = softmax_j(l) [q; c],  c = softmax_i(l)^T x,  l = x q^T,  "
               "q = tanh(w_q y + b_q)",
    .cost = "n^2: time T S D, memory (T + S) D",
    .source = "1611.01604",
    .sizes = "B=1,T=6,S=4,D=3",
    .grows = "TS",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_BATCH_FREE | ATTN_STREAMS,
    .build = dcn_build,
};
