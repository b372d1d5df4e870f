/* SPDX-License-Identifier: MIT
 * Sigmoid attention: every key is weighed alone.
 *
 *     w = sigmoid(s + b),   s = scale q.k + bias
 *
 * b makes up for the sum that is missing: with count (the default) -ln m, m the keys that the
 * row may see, counted anew for every causal row; else the number shift. A learned b_h (H)
 * comes on top. Without any bias early training diverges. Gradient: w (1 - w) dw. q B H T D, k
 * B G S D, v B G S E, mask B S. Ramapuram et al. 2024 (2409.04431). */
#include "mech/alignment/align.h"

enum { B_H = ALIGN_SLOTS };
static const attn_slot slots[] = {ALIGN_SLOT_ROWS,
                                  [B_H] = {"b_h", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "H",
                                           "added to the scores of a head"},
                                  {0}};

enum { COUNT = ALIGN_PARAMS, SHIFT };
static const attn_param params[] = {
    ALIGN_PARAM_ROWS,
    [COUNT] = {"count", 'b', "true", NULL, "-ln of the keys that the row may see is added"},
    [SHIFT] = {"shift", 'f', "0", NULL, "added without count"},
    {0}};

static void sigmoid_build(const attn__build *b)
{
    attn_tape *t = b->t;
    attn_spec spec = attn__align_spec(b);
    attn_attention_vars vars = attn__align_vars(b);
    spec.normaliser = ATTN_NORM_SIGMOID;
    spec.norm_count = b->params[COUNT].i != 0;
    if (!spec.norm_count) spec.norm_shift = b->params[SHIFT].f;
    if (attn__given(b->in[B_H])) {
        const attn_var head =
            attn_tape_reshape(t, b->in[B_H], ATTN_DIMS(1, attn__build_size(b, 'H'), 1, 1));
        vars.bias = attn__given(vars.bias) ? attn_tape_add(t, vars.bias, head) : head;
    }
    b->out[OUT] = attn__align(b, &spec, &vars, attn__build_output(b, WEIGHTS));
}

const attn_mech attn__mech_sigmoid = {
    .name = "sigmoid",
    .family = "alignment",
    .about = "every key weighed alone, by a sigmoid",
    .formula = "w = sigmoid(s - ln m), m the keys of the row",
    .cost = "n^2: time T S (D + E), memory of the outputs",
    .source = "2409.04431",
    .sizes = "B=1,H=2,G=1,T=5,S=6,D=4,E=3",
    .grows = "TS",
    .slots = slots,
    .params = params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_LINEAR_IN_V | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO |
              ATTN_STREAMS,
    .build = sigmoid_build,
};
