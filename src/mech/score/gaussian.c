/* SPDX-License-Identifier: MIT
 * Gaussian attention: near keys count, as a kernel density would weigh them.
 *
 *     s_ij = -|q_i - k_j|^2 / (2 sigma^2),   out_i = sum_j softmax_j(s_ij) v_j
 *
 * q B T D, k B S D, v B S E; mask B S hides keys. sigma is the parameter; 0 is the usual L2
 * score -|q - k|^2 / sqrt(D); or it is learned, a slot of one number. Distances come from
 * differences, so moving all queries and keys together costs no digits. The regression of
 * Nadaraya and Watson (1964) is this. */
#include "mech/mech.h"

enum { Q, K, V, SIGMA, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B S D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B S E", "values"},
    [SIGMA] = {"sigma", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "1",
               "the width, in place of the parameter; not 0"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T E", "weighted sums of v"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_OPTIONAL, "B T S", "of every key"},
    {0}};

enum { WIDTH };
static const attn_param params[] = {
    [WIDTH] = {"sigma", 'f', "0", NULL, "the width; 0: the score is -|q - k|^2 / sqrt(D)"},
    {0}};

/* A learned width divides both sides, which is all that its gradient needs. */
static void gaussian_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in;
    const double width = b->params[WIDTH].f;
    attn_spec spec = ATTN_SPEC(.score = ATTN_SCORE_L2);
    attn_attention_vars vars = {.q = in[Q], .k = in[K], .v = in[V]};
    if (width != 0) spec.scale = 1 / (2 * width * width);
    if (!attn__build_need(b, width == 0 || spec.scale > 0, ATTN_E_PARAM, "sigma",
                          "must be a number with a square", 0, 0))
        return;
    if (attn__given(in[SIGMA])) {
        spec.scale = 0.5;
        vars.q = attn_tape_div(t, in[Q], in[SIGMA]);
        vars.k = attn_tape_div(t, attn__mask_rows(t, in[K], in[MASK]), in[SIGMA]);
    }
    b->out[OUT] = attn__attend(t, &spec, &vars, in[MASK], attn__build_output(b, WEIGHTS));
}

const attn_mech attn__mech_gaussian = {
    .name = "gaussian",
    .family = "score",
    .about = "near keys count: minus squared distances",
    .formula = "out_i = sum_j softmax_j(-|q_i - k_j|^2 / (2 sigma^2)) v_j",
    .cost = "n^2: time T S (D + E), memory T E",
    .source = "Nadaraya 1964, Watson 1964",
    .sizes = "B=1,T=5,S=6,D=4,E=4",
    .grows = "TS",
    .slots = slots,
    .params = params,
    .traits = ATTN__SOFT_TRAITS,
    .build = gaussian_build,
};
