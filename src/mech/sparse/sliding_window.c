/* SPDX-License-Identifier: MIT
 * Sliding window: a query sees the keys around it, with gaps where it is dilated.
 *
 *     N(i) = { j : |i - j| <= window dilation, dilation divides i - j }
 *     out_i = sum_(j in N(i)) softmax_j(q_i . k_j / sqrt(D)) v_j
 *
 * q, k B H T D, v B H T E; T queries stand at the T keys. causal drops the keys behind the
 * query. Longformer's window w counts both sides: here window = w / 2. With a dilation d the
 * tokens fall into d classes that never see each other; each class is a sequence with a plain
 * window, so the cost does not grow with d. Layers stacked n high reach n window dilation far.
 * mask B T hides keys. Beltagy et al. 2020 (2004.05150); window attention of one side is also
 * that of 2310.06825. */
#include "mech/mech.h"

enum { Q, K, V, MASK, OUT, PATTERN };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B H T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B H T D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B H T E", "values"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B H T E", "answers"},
    [PATTERN] = {"pattern", ATTN_OUT | ATTN_OPTIONAL | ATTN_FLAGS, "T T",
                 "which key each query may see"},
    {0}};

enum { WINDOW, DILATION, CAUSAL };
static const attn_param params[] = {
    [WINDOW] = {"window", 'i', "64", NULL, "keys seen on each side, besides the query's own"},
    [DILATION] = {"dilation", 'i', "1", NULL, "from one seen key to the next"},
    [CAUSAL] = {"causal", 'b', "false", NULL, "only the side that came before"},
    {0}};

typedef struct sliding_window {
    int64_t window, dilation;
    bool causal;
} sliding_window;

static bool sliding_window_sees(const void *user, const int64_t *at)
{
    const sliding_window *w = user;
    const int64_t apart = at[0] - at[1], steps = apart / w->dilation;
    return apart % w->dilation == 0 && steps >= (w->causal ? 0 : -w->window) &&
           steps <= w->window;
}

static void sliding_window_build(const attn__build *b)
{
    const attn_var *in = b->in;
    const sliding_window w = {b->params[WINDOW].i, b->params[DILATION].i, b->params[CAUSAL].i};
    const attn_attention_vars vars = {.q = in[Q], .k = in[K], .v = in[V]};
    if (!attn__build_need(b, w.window >= 0, ATTN_E_PARAM, "window", "must not be negative", 0,
                          w.window) ||
        !attn__build_need(b, w.dilation > 0, ATTN_E_PARAM, "dilation", "must be positive", 1,
                          w.dilation))
        return;
    const attn_spec spec =
        ATTN_SPEC(.window = {.on = true, .left = w.window, .right = w.causal ? 0 : w.window});
    attn__build_flags(b, PATTERN, sliding_window_sees, &w);
    b->out[OUT] = w.dilation == 1
                      ? attn__attend(b->t, &spec, &vars, in[MASK], (attn_tensor){0})
                      : attn__attend_classes(b->t, &spec, &vars, in[MASK], w.dilation, NULL);
}

const attn_mech attn__mech_sliding_window = {
    .name = "sliding_window",
    .family = "sparse",
    .about = "each query sees the keys near it, dilated or not",
    .formula = "out_i = softmax_N(q_i k_j / sqrt(D)) v_j, N: |i - j| <= window dilation, "
               "dilation | i - j",
    .cost = "n k: time T window (D + E), memory T (D + E)",
    .source = "2004.05150",
    .sizes = "B=1,H=2,T=8,D=4,E=4",
    .grows = "T",
    .example = "compute sliding_window -s window=1 --random T=8 --want out,pattern",
    .slots = slots,
    .params = params,
    .traits = ATTN_ROWS_SUM_1 | ATTN_LINEAR_IN_V | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO |
              ATTN_STREAMS | ATTN_CAUSAL | ATTN_STEPS,
    .build = sliding_window_build,
};
