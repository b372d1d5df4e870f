/* SPDX-License-Identifier: MIT
 * Monotonic attention as it is used: every query walks along the keys from where the one before
 * it stopped and takes the first whose energy is above 0.
 *
 *     e[i][j] = g w/|w| . tanh(w_q q_i + w_k k_j + b) + r
 *     stop_i = the least j >= stop_{i-1} with e[i][j] > 0,  out_i = v[stop_i]
 *
 * Once a query finds nothing, it and all after it stop at S, one past the end: their out is 0.
 * A key may be taken again by the next query. mask hides keys. This is expected_monotonic
 * (training) with probabilities of 0 and 1 (energy 0: goes on). Only v and start have
 * gradients; where to stop has none. `start` is the last row of weights of an earlier call.
 * All energies are computed here, though a decoder that walks needs T + S of them only.
 * Raffel et al. 2017 (1704.00784). */
#include "mech/mech.h"

enum { Q, K, V, START, MASK, W_Q, W_K, BIAS, W, G, R, OUT, WEIGHTS, STOP };
static const attn_slot slots[] = {
    [Q] = {"q", ATTN_IN, "B T D", "queries, such as decoder states"},
    [K] = {"k", ATTN_IN, "B S C", "keys, in the order they are walked"},
    [V] = {"v", ATTN_IN | ATTN_GRAD, "B S E", "values"},
    [START] = {"start", ATTN_IN | ATTN_GRAD | ATTN_OPTIONAL, "B S",
               "alignment before the first row; absent: at key 0"},
    [MASK] = {"mask", ATTN_IN | ATTN_OPTIONAL | ATTN_FLAGS, "B S", "false hides a key"},
    [W_Q] = {"w_q", ATTN_PARAM, "A D", "queries in the energy"},
    [W_K] = {"w_k", ATTN_PARAM, "A C", "keys in the energy"},
    [BIAS] = {"b", ATTN_PARAM | ATTN_OPTIONAL, "A", "its bias"},
    [W] = {"w", ATTN_PARAM, "A", "direction of the energy"},
    [G] = {"g", ATTN_PARAM, "1", "its length"},
    [R] = {"r", ATTN_PARAM, "1", "its offset"},
    [OUT] = {"out", ATTN_OUT | ATTN_GRAD, "B T E", "the value stopped at"},
    [WEIGHTS] = {"weights", ATTN_OUT | ATTN_GRAD | ATTN_OPTIONAL, "B T S",
                 "1 where it stopped"},
    [STOP] = {"stop", ATTN_OUT | ATTN_OPTIONAL | ATTN_IDS, "B T", "the key; S: none"},
    {0}};

/* The place of the 1 in a row, S when there is none. */
static attn_var hard_monotonic_stop(attn_tape *t, attn_var a)
{
    const attn_var sum = attn_tape_sum(t, a, ATTN_DIMS(-1), true);
    const attn_var none = attn_tape_add_scalar(t, attn_tape_neg(t, sum), 1);
    return attn_tape_argmax(t, attn_tape_concat(t, 2, (attn_var[]){a, none}, -1), -1, false);
}

static void hard_monotonic_build(const attn__build *b)
{
    attn_tape *t = b->t;
    const attn_var *in = b->in;
    const attn_var k = attn__mask_rows(t, in[K], in[MASK]),
                   v = attn__mask_rows(t, in[V], in[MASK]);
    const attn__energy energy = {in[W_Q], in[W_K], in[BIAS], in[W], in[G], in[R]};
    const attn_var e = attn__monotonic_energy(t, &energy, in[Q], k);
    const attn_var a =
        attn_tape_monotonic(t, attn__monotonic_stops(t, e, in[MASK], true), in[START]);
    if (b->wanted[STOP]) b->out[STOP] = hard_monotonic_stop(t, a);
    b->out[WEIGHTS] = a;
    b->out[OUT] = attn_tape_matmul(t, a, v);
}

const attn_mech attn__mech_hard_monotonic = {
    .name = "hard_monotonic",
    .family = "monotonic",
    .about = "walks forward along the keys and takes the first whose energy is above 0",
    .formula = "stop_i = least j >= stop_i-1 with e_ij > 0, out_i = v[stop_i]",
    .cost = "n^2: time T S A, memory T (S + A)",
    .source = "1704.00784",
    .sizes = "B=1,T=5,S=7,D=4,C=3,A=6,E=4",
    .grows = "TS",
    .slots = slots,
    .params = attn__no_params,
    .traits =
        ATTN_LINEAR_IN_V | ATTN_BATCH_FREE | ATTN_MASKED_ROW_ZERO | ATTN_CAUSAL | ATTN_STEPS,
    .build = hard_monotonic_build,
};
