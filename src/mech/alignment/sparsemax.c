/* SPDX-License-Identifier: MIT
 * Sparsemax: weights are the point of the simplex nearest to the scores, so most are exactly 0.
 *
 *     w = max(s - tau, 0),   tau where the row sums to 1;   s = scale q.k + bias
 *
 * Gradient: over the keys with w > 0, dw less its mean; 0 elsewhere. It jumps where a key
 * enters. A score 1 or more below the largest is out; a point of the simplex is its own
 * sparsemax. q B H T D, k B G S D, v B G S E, mask B S. Martins and Astudillo 2016
 * (1602.02068). The same as entmax at alpha 2. */
#include "mech/alignment/align.h"

static void sparsemax_build(const attn__build *b)
{
    attn_spec spec = attn__align_spec(b);
    spec.normaliser = ATTN_NORM_ENTMAX;
    spec.alpha = 2;
    attn__align_run(b, &spec);
}

const attn_mech attn__mech_sparsemax = {
    .name = "sparsemax",
    .family = "alignment",
    .about = "the nearest point of the simplex: sparse weights",
    .formula = "w = max(s - tau, 0) with sum w = 1",
    .cost = "n^2: time T S (D + E), memory S for each of 48 rows",
    .source = "1602.02068",
    .sizes = "B=1,H=2,G=1,T=5,S=6,D=4,E=3",
    .grows = "TS",
    .slots = attn__align_slots,
    .params = attn__align_params,
    .traits = ATTN_ROWS_SUM_1 | ATTN_SHIFT_INVARIANT | ATTN_KEY_PERMUTABLE | ATTN_LINEAR_IN_V |
              ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = sparsemax_build,
};
