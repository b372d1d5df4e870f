/* SPDX-License-Identifier: MIT
 * Additive scores, pair by pair. */
#include <math.h>

#include "tape_oracle.h"

static void additive_scores_draw(tape_draw *d)
{
    const int lead = (int)test_rng_range(d->rng, 0, 2);
    int64_t q[4], k[4];
    for (int i = 0; i < lead + 2; i++) q[i] = k[i] = tape_size(d, 0);
    k[lead] = tape_size(d, 0);
    if (test_rng_chance(d->rng, 3)) q[lead + 1] = k[lead + 1] = 1100; /* more than a block */
    tape_reals(d, lead + 2, q, true);
    tape_reals(d, lead + 2, k, true);
    tape_reals(d, 1, q + lead + 1, true);
}

static void additive_scores_apply(attn_tape *t, const tape_draw *d, const attn_var *in,
                                  attn_var *out)
{
    (void)d;
    out[0] = attn_tape_additive_scores(t, in[0], in[1], in[2]);
}

static void additive_scores_oracle(const tape_draw *d, const double *const *in,
                                   const attn_tensor *shape, double *const *out)
{
    const attn_tensor *q = &d->in[0], *k = &d->in[1];
    const int64_t A = q->shape[q->rank - 1], T = q->shape[q->rank - 2],
                  S = k->shape[k->rank - 2], n = tape_count(&shape[0]);
    for (int64_t x = 0; x < n; x++)
        for (int64_t a = 0; a < A; a++)
            out[0][x] +=
                in[2][a] * tanh(in[0][x / S * A + a] + in[1][(x / S / T * S + x % S) * A + a]);
}

const tape_case tape_case_additive_scores = {"additive_scores",      1,
                                             additive_scores_draw,   additive_scores_apply,
                                             additive_scores_oracle, .exact = false};
