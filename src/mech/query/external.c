/* SPDX-License-Identifier: MIT
 * External attention: keys and values are two small learned memories, the same for all data.
 *
 *     s_ij = x_i . m_k[j]
 *     e_ij = exp(s_ij) / sum over the positions i' of exp(s_i'j)      softmax down each column
 *     a_ij = e_ij / sum over the memories j' of e_ij'                 then rows sum to 1
 *     out_i = sum_j a_ij m_v[j]
 *
 * x B S D, m_k N D, m_v N E. The double normalisation keeps a feature of large length from
 * owning every memory; it also ties positions together, so a position is not free of the
 * others. Linear in S. mask B S: a hidden position takes no share of the columns, and its row
 * is 0. A row whose shares are all 0 is 0, where public code adds a small number to the
 * divisor. Guo et al. 2021 (2105.02358). */
#include "mech/mech.h"

enum { X, M_K, M_V, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B S D", "asks"},
    [M_K] = {"m_k", ATTN_PARAM | ATTN_GRAD, "N D", "keys of the memory"},
    [M_V] = {"m_v", ATTN_PARAM | ATTN_GRAD, "N E", "its values"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a position"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B S E", "answers"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B S N", "a above"},
    {0}};

static void external_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0};
    const attn_var scores =
        attn_tape_linear(t, attn__mask_rows(t, in[X], in[MASK]), in[M_K], none, ATTN_ACT_NONE);
    attn_var allowed = in[MASK];
    if (attn__given(allowed)) allowed = attn_tape_unsqueeze(t, allowed, 2);
    const attn_var shares = attn_tape_softmax(t, scores, allowed, 1); /* B S N */
    const attn_var sum = attn_tape_sum(t, shares, ATTN_DIMS(2), true);
    const attn_var empty = attn_tape_equal(t, sum, attn_tape_scalar(t, 0));
    const attn_var safe = attn_tape_where(t, empty, attn_tape_scalar(t, 1), sum);
    b->out[WEIGHTS] = attn_tape_div(t, shares, safe);
    b->out[OUT] = attn_tape_matmul(t, b->out[WEIGHTS], in[M_V]);
}

const attn_mech attn__mech_external = {
    .name = "external",
    .family = "query",
    .about = "two small learned memories in place of keys and values",
    .formula = "out = norm_rows(softmax_columns(x m_k^T)) m_v",
    .cost = "n k: time S N (D + E), memory S N",
    .source = "2105.02358",
    .sizes = "B=1,S=6,D=4,N=3,E=4",
    .grows = "S",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = external_build,
};
