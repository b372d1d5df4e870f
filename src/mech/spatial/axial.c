/* SPDX-License-Identifier: MIT
 * Axial attention: first every row by itself, then every column, so that two cheap steps reach
 * the whole picture.
 *
 *     y = x + w_xo concat_h softmax(q k^T / sqrt(A/H)) v     q k v by w_xq w_xk w_xv, along X
 *     out = y + the same along Y of y, with weights of its own
 *
 * x B C Y X, heads share A and P evenly. residual=false leaves out both "x +". A place sees
 * what is neither in its row nor in its column through the place where the two meet. mask hides
 * places from who attends; what hidden places get themselves means nothing.
 * Ho et al. 2019 (1912.12180). */
#include "mech/mech.h"

enum { X, W_XQ, W_XK, W_XV, W_XO, W_YQ, W_YK, W_YV, W_YO, MASK, OUT };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B C Y X", "a picture"},
    [W_XQ] = {"w_xq", ATTN_PARAM | ATTN_GRAD, "A C", "along rows: queries"},
    [W_XK] = {"w_xk", ATTN_PARAM | ATTN_GRAD, "A C", "keys"},
    [W_XV] = {"w_xv", ATTN_PARAM | ATTN_GRAD, "P C", "values"},
    [W_XO] = {"w_xo", ATTN_PARAM | ATTN_GRAD, "C P", "heads to output"},
    [W_YQ] = {"w_yq", ATTN_PARAM | ATTN_GRAD, "A C", "along columns: queries"},
    [W_YK] = {"w_yk", ATTN_PARAM | ATTN_GRAD, "A C", "keys"},
    [W_YV] = {"w_yv", ATTN_PARAM | ATTN_GRAD, "P C", "values"},
    [W_YO] = {"w_yo", ATTN_PARAM | ATTN_GRAD, "C P", "heads to output"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B Y X", "false hides a place"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B C Y X", "the picture after both"},
    {0}};

enum { HEADS, RESIDUAL };
static const attn_param params[] = {
    [HEADS] = {"heads", 'i', "2", NULL, "they share A and P evenly"},
    [RESIDUAL] = {"residual", 'b', "true", NULL, "add what came in, at each step"},
    {0}};

/* One step along an axis; w: the first of its four weights. */
static attn_var axial_step(const attn__build *b, attn_var x, bool along_x, int w)
{
    attn_tape *t = b->t;
    const attn_var none = {0}, lines = attn__lines(t, x, along_x);
    attn_var qkv[3];
    for (int i = 0; i < 3; i++)
        qkv[i] =
            attn__heads_split(t, attn_tape_linear(t, lines, b->in[w + i], none, ATTN_ACT_NONE),
                              b->params[HEADS].i);
    const attn_attention_vars vars = {.q = qkv[0], .k = qkv[1], .v = qkv[2]};
    const attn_var mask = attn__flag_lines(t, b->in[MASK], along_x);
    attn_var o = attn__attend(t, NULL, &vars, mask, (attn_tensor){0});
    o = attn_tape_linear(t, attn__heads_join(t, o), b->in[w + 3], none, ATTN_ACT_NONE);
    o = attn__lines_back(t, o, x, along_x);
    return b->params[RESIDUAL].i ? attn_tape_add(t, o, x) : o;
}

static void axial_build(const attn__build *b)
{
    const attn_var rows = axial_step(b, b->in[X], true, W_XQ);
    b->out[OUT] = axial_step(b, rows, false, W_YQ);
}

const attn_mech attn__mech_axial = {
    .name = "axial",
    .family = "spatial",
    .about = "attends along every row, then along every column",
    .formula = "y = x + attend_X(x); out = y + attend_Y(y)",
    .cost = "n sqrt n: time Y X (Y + X) (A + P), memory Y X (A + P)",
    .source = "1912.12180",
    .sizes = "B=1,H=2,C=3,A=4,P=2,Y=3,X=4",
    .grows = "YX",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_STREAMS,
    .build = axial_build,
};
