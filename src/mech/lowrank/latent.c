/* SPDX-License-Identifier: MIT
 * A latent array between two sequences: L learned latents ask the inputs, then the askers ask
 * the latents.
 *
 *     z   = attend(latents w_pack_q^T, x w_pack_k^T, x w_pack_v^T)           L rows
 *     out = attend(y w_unpack_q^T, z w_unpack_k^T, z w_unpack_v^T) w_o^T     in H heads, both
 *
 * x B S M is read, y B T U asks; give x as y for self-attention. latents L N, weights out x in.
 * Nothing meets at full length: the cost is L (S + T). What x says passes through L vectors, so
 * L is the rank of what can be copied. latents_out is z, the summary itself, for use on its own
 * (pooling by L latents). No residuals, norms or layers between: those are the model's.
 * Where the inputs ask themselves, with a projection between the two, see induced_set.
 * mask B S hides inputs; where it hides all, z and out are 0.
 * Jaegle et al. 2021 (Perceiver 2103.03206, IO 2107.14795); as induced points Lee et al. 2018
 * (1810.00825), as pack and unpack Ma et al. 2021 (2106.01540). */
#include "mech/mech.h"

enum {
    Y,
    X,
    LATENTS,
    W_PACK_Q,
    W_PACK_K,
    W_PACK_V,
    W_UNPACK_Q,
    W_UNPACK_K,
    W_UNPACK_V,
    W_O,
    MASK,
    OUT,
    LATENTS_OUT
};
static const attn_slot slots[] = {
    [Y] = {"y", ATTN_IN | ATTN_GRAD, "B T U", "who asks"},
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B S M", "who is summarised"},
    [LATENTS] = {"latents", ATTN_PARAM | ATTN_GRAD, "L N", "the learned array"},
    [W_PACK_Q] = {"w_pack_q", ATTN_PARAM | ATTN_GRAD, "A N", "latents to queries"},
    [W_PACK_K] = {"w_pack_k", ATTN_PARAM | ATTN_GRAD, "A M", "inputs to keys"},
    [W_PACK_V] = {"w_pack_v", ATTN_PARAM | ATTN_GRAD, "P M", "inputs to values"},
    [W_UNPACK_Q] = {"w_unpack_q", ATTN_PARAM | ATTN_GRAD, "A U", "askers to queries"},
    [W_UNPACK_K] = {"w_unpack_k", ATTN_PARAM | ATTN_GRAD, "A P", "summary to keys"},
    [W_UNPACK_V] = {"w_unpack_v", ATTN_PARAM | ATTN_GRAD, "P P", "summary to values"},
    [W_O] = {"w_o", ATTN_PARAM | ATTN_GRAD, "O P", "heads to output"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides an input"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T O", "answers"},
    [LATENTS_OUT] = {"latents_out", ATTN_OUT | ATTN_OPTIONAL | ATTN_GRAD, "B L P",
                     "what the latents found"},
    {0}};

enum { HEADS };
static const attn_param params[] = {
    [HEADS] = {"heads", 'i', "2", NULL, "they share the features evenly"}, {0}};

static attn_var latent_heads(const attn__build *b, attn_var x, int w)
{
    return attn__heads_from(b->t, x, b->in[w], b->params[HEADS].i);
}

/* from asks to, through the three weights from w on; heads side by side. */
static attn_var latent_ask(const attn__build *b, attn_var from, attn_var to, int w,
                           attn_var mask)
{
    const attn_attention_vars vars = {.q = latent_heads(b, from, w),
                                      .k = latent_heads(b, to, w + 1),
                                      .v = latent_heads(b, to, w + 2)};
    return attn__attend(b->t, NULL, &vars, mask, (attn_tensor){0});
}

static void latent_build(const attn__build *b)
{
    const attn_var *in = b->in, none = {0};
    const attn_var latents = attn_tape_expand(b->t, attn_tape_unsqueeze(b->t, in[LATENTS], 0),
                                              ATTN_DIMS(attn__build_size(b, 'B'), -1, -1));
    const attn_var x = attn__mask_rows(b->t, in[X], in[MASK]);
    const attn_var z = attn__heads_join(b->t, latent_ask(b, latents, x, W_PACK_Q, in[MASK]));
    b->out[LATENTS_OUT] = z;
    b->out[OUT] = attn__heads_to(b->t, latent_ask(b, in[Y], z, W_UNPACK_Q, none), in[W_O]);
}

const attn_mech attn__mech_latent = {
    .name = "latent",
    .family = "lowrank",
    .about = "learned latents ask the inputs, then the askers ask the latents",
    .formula = "z = softmax(latents x^T) x;  out = softmax(y z^T) z, all projected, in heads",
    .cost = "n k: time (T + S) L (A + P), memory (T + S) (A + P)",
    .source = "2107.14795",
    .sizes = "B=1,T=5,S=6,U=3,M=4,N=3,L=3,A=4,P=4,O=3",
    .grows = "TS",
    .slots = slots,
    .params = params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = latent_build,
};
