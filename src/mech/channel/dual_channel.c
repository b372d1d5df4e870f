/* SPDX-License-Identifier: MIT
 * Channel self-attention of the dual attention network: channels attend to channels by how
 * alike their pictures are.
 *
 *     A = softmax over j of x_i . x_j  (rows are channels, x C by Y X);  out = gamma A x + x
 *
 * x B C Y X, no projections and no 1/sqrt: the score is a sum over all places. gamma starts at
 * 0, so a new block is the identity; left out, out is A x alone. The published code takes the
 * softmax of max - score, which prefers what is unlike; inverted=true does. The engine streams,
 * so no C x C matrix is kept. Its sibling over places is non_local.
 * Fu et al. 2019 (1809.02983). */
#include "mech/mech.h"

enum { X, GAMMA, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B C Y X", "a picture"},
    [GAMMA] = {"gamma", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "1", "how much is added"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B C Y X", "mixed channels"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B C C", "of channels for channels"},
    {0}};

enum { INVERTED };
static const attn_param params[] = {
    [INVERTED] = {"inverted", 'b', "false", NULL, "prefer channels that are unlike"}, {0}};

static void dual_channel_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var x = b->in[X], none = {0};
    const attn_spec spec = ATTN_SPEC(.scale = b->params[INVERTED].i ? -1 : 1);
    const attn_var rows = attn_tape_transpose(t, attn__pixels(t, x), 1, 2); /* B C YX */
    const attn_attention_vars vars = {.q = rows, .k = rows, .v = rows};
    attn_var mixed = attn__attend(t, &spec, &vars, none, attn__build_output(b, WEIGHTS));
    mixed = attn__pixels_back(t, attn_tape_transpose(t, mixed, 1, 2), x);
    b->out[OUT] = mixed;
    if (!attn__given(b->in[GAMMA])) return;
    b->out[OUT] = attn_tape_add(t, attn_tape_mul(t, mixed, b->in[GAMMA]), x);
}

const attn_mech attn__mech_dual_channel = {
    .name = "dual_channel",
    .family = "channel",
    .about = "channels attend to channels",
    .formula = "out = gamma softmax(x x^T) x + x, rows of x are channels",
    .cost = "n: time C C Y X, memory C Y X",
    .source = "1809.02983",
    .sizes = "B=1,C=4,Y=2,X=3",
    .grows = "YX",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_STREAMS,
    .build = dual_channel_build,
};
