/* SPDX-License-Identifier: MIT
 * Location-based attention, Luong's: a query knows where to look without seeing a key.
 *
 *     s_ij = w_j . q_i,   out_i = sum_j softmax_j(s_ij) v_j
 *
 * q B T D, w S D, v B S E: row j of w speaks for place j, so w is as long as the longest
 * sequence, and mask B S hides what a shorter one does not have. Whatever stands at a place is
 * not asked. Luong et al. 2015 (1508.04025). */
#include "mech/mech.h"

enum { Q, V, W, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B T D", "queries"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B S E", "values"},
    [W] = {"w", ATTN_PARAM | ATTN_GRAD, "S D", "a row for every place"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a place"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T E", "weighted sums of v"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B T S", "of every place"},
    {0}};

static void location_build(const attn__build *b)
{
    const attn_spec spec = ATTN_SPEC(.scale = 1);
    const attn_attention_vars vars = {
        .q = b->in[Q], .k = attn_tape_unsqueeze(b->t, b->in[W], 0), .v = b->in[V]};
    b->out[OUT] = attn__attend(b->t, &spec, &vars, b->in[MASK], attn__build_output(b, WEIGHTS));
}

const attn_mech attn__mech_location = {
    .name = "location",
    .family = "score",
    .about = "places have scores by the query alone",
    .formula = "out_i = sum_j softmax_j(w_j.q_i) v_j",
    .cost = "n^2: time T S (D + E), memory T E",
    .source = "1508.04025",
    .sizes = "B=1,T=5,S=6,D=4,E=4",
    .grows = "TS",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN_ROWS_SUM_1 | ATTN_SHIFT_INVARIANT | ATTN_LINEAR_IN_V | ATTN_BATCH_FREE |
              ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = location_build,
};
