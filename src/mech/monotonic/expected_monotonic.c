/* SPDX-License-Identifier: MIT
 * Monotonic attention as it is trained: every query walks along the keys from where the one
 * before it stopped, and stops at a key with a probability; the weights are the expectation.
 *
 *     e[i][j] = g w/|w| . tanh(w_q q_i + w_k k_j + b) + r (+ noise[i][j])
 *     p = sigmoid(e), 0 where mask hides the key
 *     reach[i][j] = (1 - p[i][j-1]) reach[i][j-1] + a[i-1][j],  a[i][j] = p[i][j] reach[i][j]
 *     out_i = sum_j a[i][j] v_j
 *
 * q B T D, k B S C, v B S E. Before the first row all stands at key 0, or where `start` says:
 * the last row of one call starts the next. Rows sum to 1 at most: what walks past the last key
 * is lost, unless keep_mass puts it on the last visible one. The recursion is exact for any p;
 * the form with cumulative products, common in public code, divides by products of 1 - p and is
 * not. Training adds normal noise to the energies, which the caller draws, so that p becomes 0
 * or 1; r starts near -1 (long sequences: -4) and g at 1/sqrt(A). Nothing after row i changes
 * it. Raffel et al. 2017 (1704.00784). */
#include "mech/mech.h"

enum { Q, K, V, W_Q, W_K, BIAS, W, G, R, NOISE, START, MASK, OUT, WEIGHTS };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN | ATTN_GRAD, "B T D", "queries, such as decoder states"},
    [K] = {"k", ATTN_IN | ATTN_GRAD, "B S C", "keys, in the order they are walked"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B S E", "values"},
    [W_Q] = {"w_q", ATTN_PARAM | ATTN_GRAD, "A D", "queries in the energy"},
    [W_K] = {"w_k", ATTN_PARAM | ATTN_GRAD, "A C", "keys in the energy"},
    [BIAS] = {"b", ATTN_PARAM | ATTN_GRAD | ATTN_OPTIONAL, "A", "its bias"},
    [W] = {"w", ATTN_PARAM | ATTN_GRAD, "A", "direction of the energy"},
    [G] = {"g", ATTN_PARAM | ATTN_GRAD, "1", "its length"},
    [R] = {"r", ATTN_PARAM | ATTN_GRAD, "1", "its offset"},
    [NOISE] = {"noise", ATTN_IN | ATTN_OPTIONAL, "*B T S", "added to energies in training"},
    [START] = {"start", ATTN_IN | ATTN_GRAD | ATTN_OPTIONAL, "B S",
               "alignment before the first row; absent: at key 0"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T E", "expected values"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B T S",
                 "expected alignment"},
    {0}};

enum { KEEP_MASS };
static const attn_param params[] = {
    [KEEP_MASS] = {"keep_mass", 'b', "false", NULL,
                   "what walks past the end goes to the last visible key"},
    {0}};

/* a B T S plus what its rows lack of 1, at the last key that mask allows. */
static attn_var expected_monotonic_keep(attn_tape *t, attn_var a, attn_var mask)
{
    const attn_tensor v = attn_tape_value(t, a);
    if (!attn__present(&v)) return (attn_var){0};
    attn_var seen = attn__given(mask) ? attn_tape_cast(t, mask)
                                      : attn_tape_expand(t, attn_tape_scalar(t, 1),
                                                         ATTN_DIMS(v.shape[0], v.shape[2]));
    const attn_var behind =
        attn_tape_flip(t, attn_tape_cumsum(t, attn_tape_flip(t, seen, 1), 1), 1);
    const attn_var is_last = attn_tape_mul(
        t, seen, attn_tape_cast(t, attn_tape_equal(t, behind, attn_tape_scalar(t, 1))));
    const attn_var lost =
        attn_tape_add_scalar(t, attn_tape_neg(t, attn_tape_sum(t, a, ATTN_DIMS(-1), true)), 1);
    return attn_tape_add(t, a, attn_tape_mul(t, lost, attn_tape_unsqueeze(t, is_last, 1)));
}

static void expected_monotonic_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in;
    const attn_var k = attn__mask_rows(t, in[K], in[MASK]),
                   v = attn__mask_rows(t, in[V], in[MASK]);
    const attn__energy energy = {in[W_Q], in[W_K], in[BIAS], in[W], in[G], in[R]};
    attn_var e = attn__monotonic_energy(t, &energy, in[Q], k);
    if (attn__given(in[NOISE])) e = attn_tape_add(t, e, in[NOISE]);
    attn_var a =
        attn_tape_monotonic(t, attn__monotonic_stops(t, e, in[MASK], false), in[START]);
    if (b->params[KEEP_MASS].i) a = expected_monotonic_keep(t, a, in[MASK]);
    b->out[WEIGHTS] = a;
    b->out[OUT] = attn_tape_matmul(t, a, v);
}

const attn_mech attn__mech_expected_monotonic = {
    .name = "expected_monotonic",
    .family = "monotonic",
    .about = "walks forward along the keys; weights are where it is expected to stop",
    .formula = "p = sigmoid(g w/|w| . tanh(w_q q + w_k k + b) + r), "
               "reach_ij = (1 - p_i,j-1) reach_i,j-1 + a_i-1,j, a = p reach, out = a v",
    .cost = "n^2: time T S (A + E), memory T (S + A)",
    .source = "1704.00784",
    .sizes = "B=1,T=5,S=7,D=4,C=3,A=6,E=4",
    .grows = "TS",
    .slots = slots,
    .params = params,
    .traits =
        ATTN_LINEAR_IN_V | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_CAUSAL | ATTN_STEPS,
    .build = expected_monotonic_build,
};
