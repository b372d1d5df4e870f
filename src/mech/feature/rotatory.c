/* SPDX-License-Identifier: MIT
 * Rotatory attention: a target looks at what stands left and right of it, and those look back.
 *
 *     att(g, z; w, b) = sum_i softmax_i(tanh(z_i.(w g) + b)) z_i
 *     l = att(mean(x), left; w_l, b_l)       r = att(mean(x), right; w_r, b_r)
 *     tl = att(l, x; w_tl, b_tl)             tr = att(r, x; w_tr, b_tr)
 *     out = [l; tl; tr; r]
 *
 * x B T D is the target, left B L D and right B R D its contexts. hops > 1 repeats the round:
 * then tl and tr ask the contexts in place of the mean, with the same weights (published
 * variants differ in whether rounds share them). An empty context, by size or by mask, gives 0,
 * and the target then weighs its words by b alone, evenly. Coarse-grained: n scores each.
 * Zheng and Xia 2018 (1802.00892); more hops: Wallaart and Frasincar 2019. */
#include "mech/mech.h"

enum { X, LEFT, RIGHT, W_L, W_R, W_TL, W_TR, B_L, B_R, B_TL, B_TR, MASK, L_MASK, R_MASK, OUT };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T D", "the target"},
    [LEFT] = {"left", ATTN_IN | ATTN_GRAD, "B L D", "its left context"},
    [RIGHT] = {"right", ATTN_IN | ATTN_GRAD, "B R D", "its right context"},
    [W_L] = {"w_l", ATTN_PARAM | ATTN_GRAD, "D D", "of the left context"},
    [W_R] = {"w_r", ATTN_PARAM | ATTN_GRAD, "D D", "of the right context"},
    [W_TL] = {"w_tl", ATTN_PARAM | ATTN_GRAD, "D D", "of the target, seen from the left"},
    [W_TR] = {"w_tr", ATTN_PARAM | ATTN_GRAD, "D D", "of the target, seen from the right"},
    [B_L] = {"b_l", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "1", "added to scores of the left"},
    [B_R] = {"b_r", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "1", "of the right"},
    [B_TL] = {"b_tl", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "1",
              "of the target, from the left"},
    [B_TR] = {"b_tr", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "1",
              "of the target, from the right"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "false hides a word of x"},
    [L_MASK] = {"left_mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B L", "and of left"},
    [R_MASK] = {"right_mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B R", "and of right"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B 4D", "l; tl; tr; r"},
    {0}};

enum { HOPS };
enum { ROTATORY_HOPS = 64 };
static const attn_param params[] = {[HOPS] = {"hops", 'i', "1", NULL, "rounds, 1 to 64"}, {0}};

/* Which slots one call of att() takes. */
typedef struct rotatory_call {
    int w, b, mask;
} rotatory_call;

static attn_var rotatory_attend(const attn__build *b, rotatory_call call, attn_var g,
                                attn_var rows)
{
    const attn_var scores = attn__score_activated(b->t, rows, b->in[call.w], b->in[call.b], g);
    return attn__pool(b->t, attn__pool_weights(b->t, scores, b->in[call.mask]), rows);
}

static void rotatory_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var x = attn__mask_rows(t, b->in[X], b->in[MASK]);
    const attn_var left = attn__mask_rows(t, b->in[LEFT], b->in[L_MASK]);
    const attn_var right = attn__mask_rows(t, b->in[RIGHT], b->in[R_MASK]);
    attn_var l = {0}, r = {0}, tl = attn__pool_mean(t, x, b->in[MASK]), tr = tl;
    const int64_t hops = b->params[HOPS].i;
    if (!attn__build_need(b, hops >= 1 && hops <= ROTATORY_HOPS, ATTN_E_PARAM, "hops",
                          "must be 1 to 64", ROTATORY_HOPS, hops))
        return;
    for (int64_t hop = 0; hop < hops; hop++) {
        l = rotatory_attend(b, (rotatory_call){W_L, B_L, L_MASK}, tl, left);
        r = rotatory_attend(b, (rotatory_call){W_R, B_R, R_MASK}, tr, right);
        tl = rotatory_attend(b, (rotatory_call){W_TL, B_TL, MASK}, l, x);
        tr = rotatory_attend(b, (rotatory_call){W_TR, B_TR, MASK}, r, x);
    }
    b->out[OUT] = attn_tape_concat(t, 4, (const attn_var[]){l, tl, tr, r}, 1);
}

const attn_mech attn__mech_rotatory = {
    .name = "rotatory",
    .family = "feature",
    .about = "a target and its two contexts look at each other in turn (LCR-Rot)",
    .formula = "out = [l; tl; tr; r],  l = att(mean(x), left), tl = att(l, x),  same for r",
    .cost = "n: time hops (T + L + R) D, memory T + L + R",
    .source = "1802.00892",
    .sizes = "B=1,T=3,L=5,R=4,D=3",
    .grows = "TLR",
    .slots = slots,
    .params = params,
    .traits = ATTN_BATCH_FREE | ATTN_STREAMS,
    .build = rotatory_build,
};
