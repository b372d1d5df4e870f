/* SPDX-License-Identifier: MIT
 * Squared ReLU: a score at or below 0 gives nothing, one above its square.
 *
 *     w = max(s + shift, 0)^2,  or that over m;   s = scale q.k + bias
 *
 * With mean every weight is divided by m, the keys that the row may see, so that outputs keep
 * their size as rows grow. Rows sum to anything. Gradient: 2 max(s + shift, 0) dw. q B H T D, k
 * B G S D, v B G S E, mask B S. So et al. 2021 (2109.08668), as attention Hua et al. 2022
 * (2202.10447). */
#include "mech/alignment/align.h"

enum { SHIFT = ALIGN_PARAMS, MEAN };
static const attn_param params[] = {
    ALIGN_PARAM_ROWS,
    [SHIFT] = {"shift", 'f', "0", NULL, "added to every score"},
    [MEAN] = {"mean", 'b', "true", NULL, "divided by the keys that the row may see"},
    {0}};

static void relu2_build(const attn__build *b)
{
    attn_spec spec = attn__align_spec(b);
    spec.normaliser = ATTN_NORM_RELU2;
    spec.norm_shift = b->params[SHIFT].f;
    spec.norm_mean = b->params[MEAN].i != 0;
    attn__align_run(b, &spec);
}

const attn_mech attn__mech_relu2 = {
    .name = "relu2",
    .family = "alignment",
    .about = "the square of what is above 0",
    .formula = "w = max(s, 0)^2 / m",
    .cost = "n^2: time T S (D + E), memory of the outputs",
    .source = "2202.10447",
    .sizes = "B=1,H=2,G=1,T=5,S=6,D=4,E=3",
    .grows = "TS",
    .slots = attn__align_slots,
    .params = params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_LINEAR_IN_V | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO |
              ATTN_STREAMS,
    .build = relu2_build,
};
