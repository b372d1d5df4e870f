/* SPDX-License-Identifier: MIT
 * Softmax over the n largest scores of every row; of equal ones the first keys are taken.
 *
 *     w = softmax of s over top_n(s), 0 elsewhere;   s = scale q.k + bias
 *
 * The choice is constant for the gradient, which stays inside it. n at or above the keys of a
 * row is softmax, to the bit. q B H T D, k B G S D, v B G S E, mask B S. Zhao et al. 2019
 * (1912.11637). */
#include "mech/alignment/align.h"

enum { N = ALIGN_PARAMS };
static const attn_param params[] = {
    ALIGN_PARAM_ROWS, [N] = {"n", 'i', "8", NULL, "keys that a row keeps"}, {0}};

static void top_k_build(const attn__build *b)
{
    attn_spec spec = attn__align_spec(b);
    const int64_t n = b->params[N].i;
    if (!attn__build_need(b, n >= 1, ATTN_E_PARAM, "n", "must be positive", 1, n)) return;
    spec.normaliser = ATTN_NORM_TOP_K;
    spec.top_k = n;
    attn__align_run(b, &spec);
}

const attn_mech attn__mech_top_k = {
    .name = "top_k",
    .family = "alignment",
    .about = "softmax over the largest scores of a row",
    .formula = "w = softmax(s) over the n largest s",
    .cost = "n^2: time T S (D + E), memory S for each of 48 rows",
    .source = "1912.11637",
    .sizes = "B=1,H=2,G=1,T=5,S=6,D=4,E=3",
    .grows = "TS",
    .slots = attn__align_slots,
    .params = params,
    .traits = ATTN_ROWS_SUM_1 | ATTN_SHIFT_INVARIANT | ATTN_KEY_PERMUTABLE | ATTN_LINEAR_IN_V |
              ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = top_k_build,
};
