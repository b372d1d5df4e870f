/* SPDX-License-Identifier: MIT
 * Softmax with a sink: one more key, without a value, takes what a row does not want to give.
 *
 *     w_j = exp(s_j) / (exp(z_h) + sum_k exp(s_k)),   s = scale q.k + bias
 *
 * z H is learned by each head; left out it is 0 (softmax1, "quiet attention"). z = -inf is
 * softmax. Rows sum to less than 1, so a constant added to the scores is felt. A row without a
 * key gives 0. q B H T D, k B G S D, v B G S E, mask B S. Xiao et al. 2023 (2309.17453);
 * learned as in gpt-oss. */
#include "mech/alignment/align.h"

enum { Z = ALIGN_SLOTS };
static const attn_slot slots[] = {
    ALIGN_SLOT_ROWS,
    [Z] = {"z", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "H", "score of the sink; else 0"},
    {0}};

static void sink_build(const attn__build *b)
{
    attn_spec spec = attn__align_spec(b);
    attn_attention_vars vars = attn__align_vars(b);
    spec.softmax1 = !attn__given(b->in[Z]);
    vars.sink = b->in[Z];
    b->out[OUT] = attn__align(b, &spec, &vars, attn__build_output(b, WEIGHTS));
}

const attn_mech attn__mech_sink = {
    .name = "sink",
    .family = "alignment",
    .about = "softmax with one more key that has no value",
    .formula = "w_j = exp(s_j) / (exp(z) + sum_k exp(s_k))",
    .cost = "n^2: time T S (D + E), memory of the outputs",
    .source = "2309.17453",
    .sizes = "B=1,H=2,G=1,T=5,S=6,D=4,E=3",
    .grows = "TS",
    .slots = slots,
    .params = attn__align_params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_LINEAR_IN_V | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO |
              ATTN_STREAMS,
    .build = sink_build,
};
