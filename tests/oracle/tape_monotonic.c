/* SPDX-License-Identifier: MIT
 * Monotonic alignments by what they mean. monotonic: for every key that the row before may have
 * stopped at, the probability to walk from there to j without stopping. chunkwise: every
 * alignment shared out among its chunk by a softmax of its own. i[0] the keys of a chunk. */
#include <math.h>

#include "tape_oracle.h"

/* ---- monotonic --------------------------------------------------------------------------- */

static void monotonic_draw(tape_draw *d)
{
    const int lead = (int)test_rng_range(d->rng, 0, 2);
    int64_t shape[4], first[4], index[ATTN_MAX_RANK] = {0};
    for (int i = 0; i < lead + 2; i++) shape[i] = tape_size(d, 0);
    attn_tensor *p = tape_reals(d, lead + 2, shape, true);
    if (!test_tensor_empty(p)) {
        do test_put(p, index, (double)test_rng_range(d->rng, 0, 64) / 64);
        while (test_index_next(p, index));
    }
    for (int i = 0; i < lead + 1; i++) first[i] = shape[i < lead ? i : i + 1];
    if (test_rng_chance(d->rng, 50))
        tape_reals(d, lead + 1, first, true);
    else
        tape_absent(d);
}

static void monotonic_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    (void)d;
    out[0] = attn_tape_monotonic(t, in[0], in[1]);
}

static void monotonic_oracle(const tape_draw *d, const double *const *in,
                             const attn_tensor *shape, double *const *out)
{
    const attn_tensor *x = &d->in[0];
    const int64_t S = x->shape[x->rank - 1], T = x->shape[x->rank - 2];
    const int64_t rows = S > 0 ? tape_count(x) / S : 0;
    (void)shape;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t from = 0; from < S; from++) {
            double here = in[1] ? in[1][r / T * S + from] : from == 0;
            if (r % T > 0) here = out[0][(r - 1) * S + from];
            for (int64_t j = from; j < S; j++) {
                out[0][r * S + j] += here * in[0][r * S + j];
                here *= 1 - in[0][r * S + j];
            }
        }
}

const tape_case tape_case_monotonic = {
    "monotonic", 1, monotonic_draw, monotonic_apply, monotonic_oracle, .exact = false};

/* ---- chunkwise --------------------------------------------------------------------------- */

static void chunkwise_draw(tape_draw *d)
{
    static const int64_t sizes[] = {0, 0, 1, 2, 3, 4, 100};
    int64_t shape[AXIS_RANK], index[ATTN_MAX_RANK] = {0};
    const int rank = (int)test_rng_range(d->rng, 1, 3);
    for (int i = 0; i < rank; i++) shape[i] = tape_size(d, 0);
    tape_reals(d, rank, shape, true);
    attn_tensor *u = tape_reals(d, rank, shape, true);
    d->i[0] = test_rng_pick(d->rng, sizes, sizeof sizes / sizeof sizes[0]);
    if (test_rng_chance(d->rng, 70) || test_tensor_empty(u)) return;
    d->grad[1] = false;
    do
        if (test_rng_chance(d->rng, 40)) test_put(u, index, -(double)INFINITY);
    while (test_index_next(u, index));
}

static void chunkwise_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_chunkwise(t, in[0], in[1], d->i[0]);
}

static void chunkwise_oracle(const tape_draw *d, const double *const *in,
                             const attn_tensor *shape, double *const *out)
{
    const int64_t S = d->in[0].shape[d->in[0].rank - 1], n = tape_count(&d->in[0]);
    (void)shape;
    for (int64_t x = 0; x < n; x++) {
        const int64_t start = x - x % S;
        int64_t first = d->i[0] > 0 ? x - d->i[0] + 1 : start;
        double sum = 0;
        if (first < start) first = start;
        for (int64_t l = first; l <= x; l++) sum += exp(in[1][l]);
        for (int64_t l = first; sum > 0 && l <= x; l++)
            out[0][l] += in[0][x] * exp(in[1][l]) / sum;
    }
}

const tape_case tape_case_chunkwise = {
    "chunkwise", 1, chunkwise_draw, chunkwise_apply, chunkwise_oracle, .exact = false};
