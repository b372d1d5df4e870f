/* SPDX-License-Identifier: MIT
 * Scores over their number, the "dot product" form of the non-local block: no exponential,
 * weights of either sign.
 *
 *     w = s / m,   s = scale q.k + bias, m the keys that the row may see
 *
 * scale is 1 by default. Without bias, mask and causal the same numbers are q (k^T v) / m in m
 * d e steps: for S above a few hundred keys and nothing hidden a linear mechanism does that. q
 * B H T D, k B G S D, v B G S E, mask B S. Wang et al. 2018 (1711.07971). */
#include "mech/alignment/align.h"

static const attn_param params[] = {
    [SCALE] = {"scale", 'f', "1", NULL, "factor of q.k; 0: 1 / sqrt(D)"},
    [CAUSAL] = {"causal", 'b', "false", NULL, "query i sees keys j <= i"},
    {0}};

static void mean_build(const attn__build *b)
{
    attn_spec spec = attn__align_spec(b);
    spec.normaliser = ATTN_NORM_LINEAR;
    spec.norm_mean = true;
    attn__align_run(b, &spec);
}

const attn_mech attn__mech_mean = {
    .name = "mean",
    .family = "alignment",
    .about = "scores themselves, over their number",
    .formula = "w = s / m, m the keys of the row",
    .cost = "n^2: time T S (D + E), memory of the outputs",
    .source = "1711.07971",
    .sizes = "B=1,H=2,G=1,T=5,S=6,D=4,E=3",
    .grows = "TS",
    .slots = attn__align_slots,
    .params = params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_LINEAR_IN_V | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO |
              ATTN_STREAMS,
    .build = mean_build,
};
