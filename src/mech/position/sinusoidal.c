/* SPDX-License-Identifier: MIT
 * Sinusoidal positions: waves of falling frequency are added to the features, then the sequence
 * asks itself.
 *
 *     PE(p, 2m) = sin(p base^(-2m/M));  PE(p, 2m + 1) = cos(p base^(-2m/M))
 *     y = x + PE;  out = concat_h( softmax(q_h k_h^T / sqrt(A/H)) v_h ) w_o^T,  q k v from y
 *
 * x B T M. Row t stands at position t + offset. An odd M takes the waves of M + 1. Nothing is
 * learned, any length will do, and PE(p + d) is a rotation of PE(p) that depends on d alone.
 * The paper multiplies embeddings by sqrt(M) first (factor). Vaswani et al. 2017 (1706.03762).
 */
#include "mech/mech.h"

enum { X, W_Q, W_K, W_V, W_O, MASK, OUT, ENCODED, WEIGHTS };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T M", "asks itself"},
    [W_Q] = {"w_q", ATTN_PARAM | ATTN_GRAD, "A M", "queries"},
    [W_K] = {"w_k", ATTN_PARAM | ATTN_GRAD, "A M", "keys"},
    [W_V] = {"w_v", ATTN_PARAM | ATTN_GRAD, "P M", "values"},
    [W_O] = {"w_o", ATTN_PARAM | ATTN_GRAD, "O P", "heads to output"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T O", "answers"},
    [ENCODED] = {"encoded", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B T M", "y"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B H T T", "of every head"},
    {0}};

enum { HEADS, CAUSAL, OFFSET, BASE, FACTOR };
static const attn_param params[] = {
    [HEADS] = {"heads", 'i', "2", NULL, "they share the features of w_q, w_k and w_v evenly",
               'H'},
    [CAUSAL] = {"causal", 'b', "false", NULL, "a position sees itself and what came before"},
    [OFFSET] = {"offset", 'i', "0", NULL, "position of row 0"},
    [BASE] = {"base", 'f', "10000", NULL, "of the waves; above 0"},
    [FACTOR] = {"factor", 'f', "1", NULL, "of x, before the waves are added"},
    {0}};

static void sinusoidal_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in;
    if (!attn__build_need(b, b->params[BASE].f > 0, ATTN_E_PARAM, "base", "must be above 0", 0,
                          0))
        return;
    const attn_var waves =
        attn__table_sinusoid(t, b->params[OFFSET].i, attn__build_size(b, 'T'),
                             attn__build_size(b, 'M'), b->params[BASE].f);
    const attn_var y =
        attn_tape_add(t, attn_tape_mul_scalar(t, in[X], b->params[FACTOR].f), waves);
    const attn_spec spec = ATTN_SPEC(.causal = b->params[CAUSAL].i);
    b->out[ENCODED] = y;
    b->out[OUT] = attn__attend_projected(
        b, &spec, &(attn__asking){y, y, in[MASK], .w_q = W_Q, .weights = WEIGHTS});
}

const attn_mech attn__mech_sinusoidal = {
    .name = "sinusoidal",
    .family = "position",
    .about = "self-attention after waves of position are added to the features",
    .formula = "self(x + PE), PE(p, 2m) = sin(p base^(-2m/M)), PE(p, 2m + 1) = cos(same)",
    .cost = "n^2: time T^2 (A + P), memory T (A + P)",
    .source = "1706.03762",
    .sizes = "B=1,H=2,T=6,M=4,A=4,P=8,O=4",
    .grows = "T",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS | ATTN_CAUSAL | ATTN_STEPS,
    .build = sinusoidal_build,
};
