/* SPDX-License-Identifier: MIT
 * Self-attention in heads that each learn how sparse they are: the encoder of adaptive sparse
 * and monotonic attention, whose decoder is sparse_monotonic.
 *
 *     alpha_h = 1 + sigmoid(a_h)
 *     out = concat_h( entmax_alpha(q_h k_h^T / sqrt(A/H)) v_h ) w_o^T,  q k v = x w_q^T ...
 *
 * x B T M. a has one number a head: far below 0 a head is softmax and sees everything, far
 * above it is sparsemax and leaves out most; 0, alpha 1.5, is where training begins. mask B T
 * hides steps. The alignment is that of entmax, here with the projections of a layer. Of the
 * speech paper only the abstract could be read, so this is the adaptively sparse transformer it
 * builds on, with alpha for every head. Correia, Niculae and Martins 2019 (1909.00015); Zhao et
 * al. 2022 (2209.15176). */
#include "mech/mech.h"

enum { X, W_Q, W_K, W_V, W_O, A, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T M", "a sequence"},
    [W_Q] = {"w_q", ATTN_PARAM | ATTN_GRAD, "A M", "queries"},
    [W_K] = {"w_k", ATTN_PARAM | ATTN_GRAD, "A M", "keys"},
    [W_V] = {"w_v", ATTN_PARAM | ATTN_GRAD, "P M", "values"},
    [W_O] = {"w_o", ATTN_PARAM | ATTN_GRAD, "O P", "heads to output"},
    [A] = {"a", ATTN_PARAM | ATTN_GRAD, "H", "alpha of a head is 1 + sigmoid(a)"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "false hides a step"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T O", "the sequence, having seen itself"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B H T T", "of every head"},
    {0}};

static void adaptive_sparse_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in, none = {0};
    const int64_t heads = attn__build_size(b, 'H');
    if (!attn__build_need(b, heads > 0, ATTN_E_HEADS, "a", "there must be a head", 1, heads))
        return;
    const attn_var x = attn__mask_rows(t, in[X], in[MASK]);
    const attn_attention_vars vars = {
        .q = attn__heads_split(t, attn_tape_linear(t, x, in[W_Q], none, ATTN_ACT_NONE), heads),
        .k = attn__heads_split(t, attn_tape_linear(t, x, in[W_K], none, ATTN_ACT_NONE), heads),
        .v = attn__heads_split(t, attn_tape_linear(t, x, in[W_V], none, ATTN_ACT_NONE), heads),
        .alpha = attn_tape_add_scalar(t, attn_tape_sigmoid(t, in[A]), 1)};
    const attn_var o = attn__attend(t, &ATTN_SPEC(.normaliser = ATTN_NORM_ENTMAX), &vars,
                                    in[MASK], attn__build_output(b, WEIGHTS));
    b->out[OUT] = attn_tape_linear(t, attn__heads_join(t, o), in[W_O], none, ATTN_ACT_NONE);
}

const attn_mech attn__mech_adaptive_sparse = {
    .name = "adaptive_sparse",
    .family = "task",
    .about = "speech: self-attention in heads that learn how sparse they are",
    .formula = "out = concat_h(entmax_alpha(q_h k_h^T / sqrt(A/H)) v_h) w_o^T, alpha_h = 1 + "
               "sigmoid(a_h)",
    .cost = "n^2: time T T (A + P), memory T (A + P)",
    .source = "1909.00015",
    .sizes = "B=1,T=6,M=4,A=4,H=2,P=6,O=3",
    .grows = "T",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = adaptive_sparse_build,
};
