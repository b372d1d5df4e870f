/* SPDX-License-Identifier: MIT
 * Tri-Attention by scaled dot product: as tri_dot, with the variance of sums taken out.
 *
 *     s_ijc = sum_d q_id k_jd c_cd / sqrt(D / heads)
 *     out_i = sum_jc p_ijc (v_j * u_c),   p_i = softmax over all pairs (j, c) of s_ijc
 *
 * q B T D, k B S D, v B S E, and c B J D the context of the conversation; u B J E is its value,
 * c itself when not given (then E = D); * is element by element. A pair is allowed where mask
 * allows its key and c_mask its context. A product of three could also be scaled by the cube
 * root of D; published code mentions that and does not use it. Each pair is one key of the
 * fused engine: memory grows with S J and with T, never with T S J. Reduce a long context first
 * (the paper pools it to 30 rows). Yu et al. 2022 (2211.02899). */
#include "mech/mech.h"

static void tri_scaled_dot_build(const attn__build *b)
{
    attn__tri_dot_build(b, 0); /* the default of the engine: one over the root */
}

const attn_mech attn__mech_tri_scaled_dot = {
    .name = "tri_scaled_dot",
    .family = "context",
    .about = "query, key and context multiplied, over the root of the width",
    .formula = "out = sum_jc softmax_jc(sum_d q_id k_jd c_cd / sqrt(D)) (v_j * u_c)",
    .cost = "n^2: time T S J (D + E), memory T E + S J (D + E)",
    .source = "2211.02899",
    .sizes = "B=1,H=1,T=4,S=3,J=2,D=4,E=4",
    .grows = "TS",
    .slots = attn__tri_slots,
    .params = attn__tri_params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_SHIFT_INVARIANT | ATTN_LINEAR_IN_V | ATTN_BATCH_FREE |
              ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = tri_scaled_dot_build,
};
