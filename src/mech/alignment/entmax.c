/* SPDX-License-Identifier: MIT
 * alpha-entmax with an alpha that every head learns: from softmax (1) to sparsemax (2).
 *
 *     alpha_h = 1 + sigmoid(a_h)
 *     w = max((alpha - 1) s - tau, 0)^(1 / (alpha - 1)),  tau where the row sums to 1
 *
 * a H, 0 to begin with: alpha 1.5. An alpha below 1.01 counts as softmax, with the limit of its
 * gradient. The gradient of a_h is the sum over batch and rows in one order. q B H T D, k B G S
 * D, v B G S E, mask B S. Correia, Niculae and Martins 2019 (1909.00015). */
#include "mech/alignment/align.h"

enum { A = ALIGN_SLOTS };
static const attn_slot slots[] = {
    ALIGN_SLOT_ROWS, [A] = {"a", ATTN_PARAM | ATTN_GRAD, "H", "alpha is 1 + sigmoid(a)"}, {0}};

static void entmax_build(const attn__build *b)
{
    attn_tape *t = b->t;
    attn_spec spec = attn__align_spec(b);
    attn_attention_vars vars = attn__align_vars(b);
    spec.normaliser = ATTN_NORM_ENTMAX;
    vars.alpha = attn_tape_add_scalar(t, attn_tape_sigmoid(t, b->in[A]), 1);
    b->out[OUT] = attn__align(b, &spec, &vars, attn__build_output(b, WEIGHTS));
}

const attn_mech attn__mech_entmax = {
    .name = "entmax",
    .family = "alignment",
    .about = "every head learns how sparse it is",
    .formula = "w = max((alpha - 1) s - tau, 0)^(1 / (alpha - 1)), alpha = 1 + sigmoid(a)",
    .cost = "n^2: time T S (D + E), memory S for each of 48 rows",
    .source = "1909.00015",
    .sizes = "B=1,H=2,G=1,T=5,S=6,D=4,E=3",
    .grows = "TS",
    .slots = slots,
    .params = attn__align_params,
    .traits = ATTN_ROWS_SUM_1 | ATTN_SHIFT_INVARIANT | ATTN_KEY_PERMUTABLE | ATTN_LINEAR_IN_V |
              ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = entmax_build,
};
