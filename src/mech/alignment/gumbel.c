/* SPDX-License-Identifier: MIT
 * Gumbel-softmax: a draw from the softmax of the scores that gradients can pass.
 *
 *     w = softmax((s + g) / temperature),  g = -ln(-ln u);   s = scale q.k + bias
 *
 * With hard the weights are the one-hot of argmax(s + g), which is a draw from softmax(s), and
 * the gradients those of the soft ones (straight-through: biased). temperature to 0 makes soft
 * hard; usual is 1 falling to 0.5. u of a pair follows from seed, batch, head, query and key
 * alone (see align.c). q B H T D, k B G S D, v B G S E, mask B S. Jang et al. 2017
 * (1611.01144), Maddison et al. 2017 (1611.00712). */
#include "mech/alignment/align.h"

enum { SEED = ALIGN_PARAMS, TEMPERATURE, HARD };
static const attn_param params[] = {
    ALIGN_PARAM_ROWS,
    [SEED] = {"seed", 'i', "0", NULL, "another one draws again"},
    [TEMPERATURE] = {"temperature", 'f', "1", NULL, "positive"},
    [HARD] = {"hard", 'b', "false", NULL, "one key, gradients of the soft ones"},
    {0}};

static void gumbel_build(const attn__build *b)
{
    const double temperature = b->params[TEMPERATURE].f;
    const attn_attention_vars vars = attn__align_vars(b);
    const attn_tensor none = {0}, weights = attn__build_output(b, WEIGHTS);
    attn_spec soft = attn__align_spec(b);
    if (!attn__build_need(b, temperature > 1e-30 && temperature < 1e30, ATTN_E_PARAM,
                          "temperature", "must be positive and not extreme", 0, 0))
        return;
    attn__align_noise(&soft, &b->params[SEED]);
    attn_spec hard = soft;
    hard.normaliser = ATTN_NORM_TOP_K;
    hard.top_k = 1;
    const bool one = b->params[HARD].i != 0;
    b->out[OUT] = attn__align(b, &soft, &vars, one ? none : weights);
    if (one)
        b->out[OUT] = attn_tape_straight_through(b->t, attn__align(b, &hard, &vars, weights),
                                                 b->out[OUT]);
}

const attn_mech attn__mech_gumbel = {
    .name = "gumbel",
    .family = "alignment",
    .about = "a draw from the softmax that gradients can pass",
    .formula = "w = softmax((s + g) / temperature), g Gumbel noise",
    .cost = "n^2: time T S (D + E + 20), memory of the outputs",
    .source = "1611.01144",
    .sizes = "B=1,H=2,G=1,T=5,S=6,D=4,E=3",
    .grows = "TS",
    .slots = attn__align_slots,
    .params = params,
    .traits = ATTN_ROWS_SUM_1 | ATTN_SHIFT_INVARIANT | ATTN_LINEAR_IN_V | ATTN_MASKED_ROW_ZERO |
              ATTN_STREAMS,
    .build = gumbel_build,
};
