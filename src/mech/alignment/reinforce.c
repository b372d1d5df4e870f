/* SPDX-License-Identifier: MIT
 * Hard attention by sampling: one key is drawn, and REINFORCE learns which draws pay.
 *
 *     i ~ p = softmax(s / temperature),  out = v_i,  log_prob = ln p_i,  entropy = -sum p ln p
 *     surrogate = -(reward - baseline) log_prob - entropy_weight entropy
 *
 * out sends its gradient to v_i alone. Scores learn through surrogate: minimise its mean beside
 * the loss, with reward log p(y | i) of the row, which is taken as a number, and a baseline
 * that is not of this draw (0.9 of the old one plus 0.1 of the mean reward, to begin with 0).
 * Its expected gradient is that of the expected reward; log_prob and entropy are there for
 * losses of one's own. greedy takes the best key instead. The draw is the largest score with
 * Gumbel noise, which follows from seed, batch, head, query and key alone (align.c). Nothing of
 * size T S is kept: ln p_i = scale q.k_i - lse, and the entropy is lse - scale q.(sum p k). A
 * row without a key: out, log_prob and entropy 0. Xu et al. 2015 (1502.03044), Williams
 * 1992. */
#include "mech/alignment/align.h"

#include <math.h>

enum { IN_Q, IN_K, IN_V, IN_MASK, REWARD, BASELINE, CHOSEN, LOG_PROB, ENTROPY, SURROGATE };
static const attn_slot slots[] = {
    [IN_Q] = {"q", ATTN_IN | ATTN_GRAD, "B H T D", "queries"},
    [IN_K] = {"k", ATTN_IN | ATTN_GRAD, "B G S D", "keys; G divides H"},
    [IN_V] = {"v", ATTN_IN | ATTN_GRAD, "B G S E", "values"},
    [IN_MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [REWARD] = {"reward", ATTN_IN | ATTN_OPTIONAL, "*B H T", "what a draw brought; else 0"},
    [BASELINE] = {"baseline", ATTN_IN | ATTN_OPTIONAL, "*B H T", "expected before it; else 0"},
    [CHOSEN] = {"out", ATTN_OUT | ATTN_GRAD, "B H T E", "the value drawn"},
    [LOG_PROB] = {"log_prob", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B H T", "of the draw"},
    [ENTROPY] = {"entropy", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B H T", "of its chances"},
    [SURROGATE] = {"surrogate", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B H T", "to minimise"},
    {0}};

enum { SEED = ALIGN_PARAMS, TEMPERATURE, GREEDY, WEIGHT };
static const attn_param params[] = {
    ALIGN_PARAM_ROWS,
    [SEED] = {"seed", 'i', "0", NULL, "another one draws again"},
    [TEMPERATURE] = {"temperature", 'f', "1", NULL, "scores are divided by it"},
    [GREEDY] = {"greedy", 'b', "false", NULL, "the best key, no chance"},
    [WEIGHT] = {"entropy_weight", 'f', "0.01", NULL, "keeps draws from settling early"},
    {0}};

static attn_var reinforce_attend(const attn__build *b, const attn_spec *spec, attn_var v,
                                 attn_var *lse)
{
    const attn_attention_vars vars = {.q = b->in[IN_Q], .k = b->in[IN_K], .v = v};
    return attn__attend_lse(b->t, spec, &vars, b->in[IN_MASK], (attn_tensor){0}, lse);
}

/* The key and the value drawn: out, and k_i B H T D. */
static attn_var reinforce_draw(const attn__build *b, const attn_spec *soft)
{
    attn_tape *t = b->t;
    const int64_t E = attn__build_size(b, 'E'), D = attn__build_size(b, 'D');
    const attn_var parts[] = {b->in[IN_V], b->in[IN_K]};
    attn_spec hard = *soft;
    hard.normaliser = ATTN_NORM_TOP_K;
    hard.top_k = 1;
    if (!b->params[GREEDY].i) attn__align_noise(&hard, &b->params[SEED]);
    const attn_var both = reinforce_attend(b, &hard, attn_tape_concat(t, 2, parts, -1), NULL);
    b->out[CHOSEN] = attn_tape_slice(t, both, -1, 0, E);
    return attn_tape_slice(t, both, -1, E, E + D);
}

/* scale q.key, over D. */
static attn_var reinforce_score(const attn__build *b, double scale, attn_var key)
{
    attn_tape *t = b->t;
    return attn_tape_mul_scalar(
        t, attn_tape_sum(t, attn_tape_mul(t, b->in[IN_Q], key), ATTN_DIMS(-1), false), scale);
}

/* x, or 0 in rows without a key. */
static attn_var reinforce_seen(attn_tape *t, attn_var lse, attn_var x)
{
    const attn_var none = attn_tape_less(t, lse, attn_tape_scalar(t, -1e37));
    return attn_tape_where(t, none, attn_tape_scalar(t, 0), x);
}

static attn_var reinforce_surrogate(const attn__build *b)
{
    attn_tape *t = b->t;
    attn_var gain = attn_tape_scalar(t, 0);
    if (attn__given(b->in[REWARD])) gain = attn_tape_sub(t, gain, b->in[REWARD]);
    if (attn__given(b->in[BASELINE])) gain = attn_tape_add(t, gain, b->in[BASELINE]);
    return attn_tape_sub(t, attn_tape_mul(t, attn_tape_stop(t, gain), b->out[LOG_PROB]),
                         attn_tape_mul_scalar(t, b->out[ENTROPY], b->params[WEIGHT].f));
}

static void reinforce_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const double temperature = b->params[TEMPERATURE].f;
    const double D = (double)attn__build_size(b, 'D');
    if (!attn__build_need(b, temperature > 1e-30 && temperature < 1e30, ATTN_E_PARAM,
                          "temperature", "must be positive and not extreme", 0, 0))
        return;
    attn_spec soft = attn__align_spec(b);
    const double scale = soft.scale != 0 ? soft.scale : D > 0 ? 1 / sqrt(D) : 1;
    soft.scale = scale / temperature;
    attn_var lse;
    const attn_var drawn = reinforce_score(b, soft.scale, reinforce_draw(b, &soft));
    const attn_var mean =
        reinforce_score(b, soft.scale, reinforce_attend(b, &soft, b->in[IN_K], &lse));
    b->out[LOG_PROB] = reinforce_seen(t, lse, attn_tape_sub(t, drawn, lse));
    b->out[ENTROPY] = reinforce_seen(t, lse, attn_tape_sub(t, lse, mean));
    b->out[SURROGATE] = reinforce_surrogate(b);
}

const attn_mech attn__mech_reinforce = {
    .name = "reinforce",
    .family = "alignment",
    .about = "one key drawn by chance, learned from rewards",
    .formula = "out = v_i, i ~ softmax(s); surrogate = -(reward - baseline) ln p_i - c entropy",
    .cost = "n^2: time 2 T S (2 D + E), memory S for each of 48 rows",
    .source = "1502.03044",
    .sizes = "B=1,H=2,G=1,T=5,S=6,D=4,E=3",
    .grows = "TS",
    .slots = slots,
    .params = params,
    .traits = ATTN_ROWS_SUM_1 | ATTN_LINEAR_IN_V | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = reinforce_build,
};
