/* SPDX-License-Identifier: MIT
 * Hard attention: the value of the best key, of equal ones the first; learned straight through.
 *
 *     out = v_j*,  j* = argmax_j s_j;   s = scale q.k + bias
 *
 * An argmax has no gradient. With straight (the default) that of softmax(s) v takes its place,
 * of the scores and of v: biased, but it learns. Without it v_j* gets what comes in and the
 * scores get 0; see reinforce for an unbiased way. q B H T D, k B G S D, v B G S E, mask B S.
 * Xu et al. 2015 (1502.03044); straight-through Bengio et al. 2013 (1308.3432). */
#include "mech/alignment/align.h"

enum { STRAIGHT = ALIGN_PARAMS };
static const attn_param params[] = {
    ALIGN_PARAM_ROWS,
    [STRAIGHT] = {"straight", 'b', "true", NULL, "gradients are those of softmax(s) v"},
    {0}};

static void hard_build(const attn__build *b)
{
    const attn_attention_vars vars = attn__align_vars(b);
    const attn_spec soft = attn__align_spec(b);
    attn_spec hard = soft;
    hard.normaliser = ATTN_NORM_TOP_K;
    hard.top_k = 1;
    b->out[OUT] = attn__align(b, &hard, &vars, attn__build_output(b, WEIGHTS));
    if (b->params[STRAIGHT].i)
        b->out[OUT] = attn_tape_straight_through(
            b->t, b->out[OUT], attn__align(b, &soft, &vars, (attn_tensor){0}));
}

const attn_mech attn__mech_hard = {
    .name = "hard",
    .family = "alignment",
    .about = "the best key alone, learned straight through",
    .formula = "out = v_j, j = argmax s; gradients of softmax(s) v",
    .cost = "n^2: time T S (D + E), memory S for each of 48 rows",
    .source = "1502.03044",
    .sizes = "B=1,H=2,G=1,T=5,S=6,D=4,E=3",
    .grows = "TS",
    .slots = attn__align_slots,
    .params = params,
    .traits = ATTN_ROWS_SUM_1 | ATTN_SHIFT_INVARIANT | ATTN_KEY_PERMUTABLE | ATTN_BATCH_FREE |
              ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = hard_build,
};
