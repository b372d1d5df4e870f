/* SPDX-License-Identifier: MIT
 * Linear attention by the first two terms of exp: exp(q.k) is taken as 1 + q^.k^ for rows of
 * length 1, which is never negative.
 *
 *     out_i = (sum_j v_j + (sum_j v_j k^_j^T) q^_i) / (n + q^_i . sum_j k^_j + eps)
 *     x^ = x / |x|
 *
 * q B H T D, k B H S D, v B H S E; n keys, those that mask B S does not hide. It is linear
 * attention with the features (1, x^). A row of zeros stays zero (weight 1 with every key); the
 * divisor is 0 only if every key is the exact opposite of the query, and gives 0. In the module
 * of the paper q, k and v are 1x1 convolutions (q and k to an eighth of the channels) of a
 * picture, read as a sequence, and a learned factor, first 0, times out is added to the
 * picture. Li et al. 2020 (2007.14902). */
#include "mech/mech.h"

enum { Q, K, V, MASK, OUT };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B H T D", "queries"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B H S D", "keys"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B H S E", "values"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B H T E", "the weighted means of v"},
    {0}};

enum { EPS };
static const attn_param params[] = {
    [EPS] = {"eps", 'f', "0", NULL, "added to the sum of the weights"}, {0}};

/* (1, x^): one more element in front. */
static attn_var lam_features(attn_tape *t, attn_var x)
{
    return attn_tape_pad(t, attn__unit(t, x, -1), -1, 1, 0, 1);
}

static void lam_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_scan_spec spec =
        ATTN_SCAN_SPEC(.scale = 1, .whole = true, .normalise = true, .eps = b->params[EPS].f);
    const attn_var seen = attn__mask_rows(t, b->in[K], b->in[MASK]);
    const attn_scan_vars vars = {.q = lam_features(t, b->in[Q]),
                                 .k = attn__mask_rows(t, lam_features(t, seen), b->in[MASK]),
                                 .v = attn__mask_rows(t, b->in[V], b->in[MASK])};
    b->out[OUT] = attn__remember(b, &spec, &vars, -1);
}

const attn_mech attn__mech_lam = {
    .name = "lam",
    .family = "linear",
    .about = "softmax with exp cut off behind its first two terms",
    .formula = "out_i = sum_j (1 + q^_i.k^_j) v_j / sum_j (1 + q^_i.k^_j),  x^ = x / |x|",
    .cost = "n: time (T + S) D E, memory D E",
    .source = "2007.14902",
    .sizes = "B=1,H=2,T=6,S=5,D=3,E=4",
    .grows = "TS",
    .slots = slots,
    .params = params,
    .traits = ATTN_ROWS_SUM_1 | ATTN_KEY_PERMUTABLE | ATTN_LINEAR_IN_V | ATTN_BATCH_FREE |
              ATTN_MASKED_ROW_ZERO | ATTN_STREAMS,
    .build = lam_build,
};
