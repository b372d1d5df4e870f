/* SPDX-License-Identifier: MIT
 * Double cross attention: both sequences look at each other, then what they saw does.
 *
 *     a_i = sum_j softmax_j(x_i.y_j) y_j           what each row of x sees in y
 *     b_j = sum_i softmax_i(x_i.y_j) x_i           what each row of y sees in x
 *     d_i = sum_j softmax_j(a_i.b_j) b_j
 *     out_i = [x_i; a_i; d_i]
 *
 * x B T D is the context, y B S D the question; nothing is learned and no score is scaled. The
 * second softmax runs over columns of the same scores, which is a call with the roles
 * exchanged, so all three come out of the fused engine and no T x S matrix is kept. One word
 * each: a = y, b = d = x. Masks hide rows from every sum; a public implementation exchanges the
 * two softmaxes and leaves the second unmasked, which this is not.
 * Hasan and Fischer 2018 (1803.09230). */
#include "mech/mech.h"

enum { X, Y, MASK, X_MASK, OUT };
static const attn_slot slots[] = {
    [X] = {"x", ATTN_IN | ATTN_GRAD, "B T D", "the context"},
    [Y] = {"y", ATTN_IN | ATTN_GRAD, "B S D", "the question"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a row of y"},
    [X_MASK] = {"x_mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B T", "and one of x"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T 3D", "x; a; d"},
    {0}};

static void dca_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var x = b->in[X], y = b->in[Y];
    const attn_var seen_by_x = attn__attend_plain(t, x, y, y, b->in[MASK]);
    const attn_var seen_by_y = attn__attend_plain(t, y, x, x, b->in[X_MASK]);
    const attn_var d = attn__attend_plain(t, seen_by_x, seen_by_y, seen_by_y, b->in[MASK]);
    b->out[OUT] = attn_tape_concat(t, 3, (const attn_var[]){x, seen_by_x, d}, 2);
}

const attn_mech attn__mech_dca = {
    .name = "dca",
    .family = "feature",
    .about = "double cross attention: attention over what attention saw",
    .formula = "out = [x; a; d],  a = softmax(x y^T) y,  b = softmax(y x^T) x,  "
               "d = softmax(a b^T) b",
    .cost = "n^2: time T S D, memory (T + S) D",
    .source = "1803.09230",
    .sizes = "B=1,T=6,S=4,D=3",
    .grows = "TS",
    .slots = slots,
    .params = attn__no_params,
    .traits = ATTN_KEY_PERMUTABLE | ATTN_BATCH_FREE | ATTN_STREAMS,
    .build = dca_build,
};
