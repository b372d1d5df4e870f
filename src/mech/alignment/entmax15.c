/* SPDX-License-Identifier: MIT
 * 1.5-entmax: between softmax and sparsemax; weights fall smoothly to an exact 0.
 *
 *     w = max(s / 2 - tau, 0)^2,   tau where the row sums to 1;   s = scale q.k + bias
 *
 * Gradient: u (dw - q), u = sqrt(w), q = (sum of u dw) / (sum of u). A score 2 or more below
 * the largest is out. q B H T D, k B G S D, v B G S E, mask B S. Peters, Niculae and Martins
 * 2019 (1905.05702). The same as entmax at alpha 1.5. */
#include "mech/alignment/align.h"

static void entmax15_build(const attn__build *b)
{
    attn_spec spec = attn__align_spec(b);
    spec.normaliser = ATTN_NORM_ENTMAX;
    spec.alpha = 1.5;
    attn__align_run(b, &spec);
}

const attn_mech attn__mech_entmax15 = {
    .name = "entmax15",
    .family = "alignment",
    .about = "between softmax and sparsemax, smooth where it becomes 0",
    .formula = "w = max(s / 2 - tau, 0)^2 with sum w = 1",
    .cost = "n^2: time T S (D + E), memory S for each of 48 rows",
    .source = "1905.05702",
    .sizes = "B=1,H=2,G=1,T=5,S=6,D=4,E=3",
    .grows = "TS",
    .slots = attn__align_slots,
    .params = attn__align_params,
    .traits = ATTN_ROWS_SUM_1 | ATTN_SHIFT_INVARIANT | ATTN_KEY_PERMUTABLE | ATTN_LINEAR_IN_V |
              ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = entmax15_build,
};
