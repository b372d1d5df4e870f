/* SPDX-License-Identifier: MIT
 * Smoothing: sigmoids over their sum. Where softmax lets one key win, several stay.
 *
 *     w_j = sigmoid(s_j) / sum_k sigmoid(s_k),   s = scale q.k + bias
 *
 * The sum is one more column of v, all ones, so it streams with the values. Below 1e-30 it
 * counts as nothing allowed: the row is 0. q B H T D, k B G S D, v B G S E, mask B S. Chorowski
 * et al. 2015 (1506.07503). */
#include "mech/alignment/align.h"

#define L1_LEAST 1e-30

/* x / sum, 0 where the sum is too small. */
static attn_var l1_divide(attn_tape *t, attn_var x, attn_var sum)
{
    const attn_var none = attn_tape_less(t, sum, attn_tape_scalar(t, L1_LEAST));
    const attn_var least = attn_tape_scalar(t, 1);
    const attn_var y = attn_tape_div(t, x, attn_tape_where(t, none, least, sum));
    return attn_tape_where(t, none, attn_tape_scalar(t, 0), y);
}

/* v with a column of ones behind it. */
static attn_var l1_values(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_tensor v = attn_tape_value(t, b->in[V]);
    const attn_var ones = attn_tape_expand(t, attn_tape_scalar(t, 1),
                                           ATTN_DIMS(v.shape[0], v.shape[1], v.shape[2], 1));
    const attn_var parts[] = {b->in[V], ones};
    return attn_tape_concat(t, 2, parts, -1);
}

static void l1_sigmoid_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const int64_t E = attn__build_size(b, 'E');
    attn_spec spec = attn__align_spec(b);
    attn_attention_vars vars = attn__align_vars(b);
    spec.normaliser = ATTN_NORM_SIGMOID;
    vars.v = l1_values(b);
    const attn_var both = attn__align(b, &spec, &vars, attn__build_output(b, WEIGHTS));
    const attn_var sum = attn_tape_slice(t, both, -1, E, E + 1);
    b->out[OUT] = l1_divide(t, attn_tape_slice(t, both, -1, 0, E), sum);
    if (b->wanted[WEIGHTS]) b->out[WEIGHTS] = l1_divide(t, b->out[WEIGHTS], sum);
}

const attn_mech attn__mech_l1_sigmoid = {
    .name = "l1_sigmoid",
    .family = "alignment",
    .about = "sigmoids over their sum: smoother than softmax",
    .formula = "w_j = sigmoid(s_j) / sum_k sigmoid(s_k)",
    .cost = "n^2: time T S (D + E), memory of v and the outputs",
    .source = "1506.07503",
    .sizes = "B=1,H=2,G=1,T=5,S=6,D=4,E=3",
    .grows = "TS",
    .slots = attn__align_slots,
    .params = attn__align_params,
    .traits = ATTN_ROWS_SUM_1 | ATTN_KEY_PERMUTABLE | ATTN_LINEAR_IN_V | ATTN_BATCH_FREE |
              ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = l1_sigmoid_build,
};
