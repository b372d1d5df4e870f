/* SPDX-License-Identifier: MIT
 * What the tape needs for itself: a copy is its operand. */
#include "tape_case.h"

static void contiguous_draw(tape_draw *d)
{
    int64_t shape[ATTN_MAX_RANK];
    const int rank = (int)test_rng_range(d->rng, 0, 4);
    for (int i = 0; i < rank; i++) shape[i] = tape_size(d, 0);
    tape_reals(d, rank, shape, true);
}

static void contiguous_apply(attn_tape *t, const tape_draw *d, const attn_var *in,
                             attn_var *out)
{
    attn_dims order = {d->in[0].rank, {0}};
    for (int i = 0; i < order.n; i++) order.at[i] = order.n - 1 - i;
    out[0] = attn_tape_reshape(t, attn_tape_permute(t, in[0], order),
                               (attn_dims){1, {attn_tensor_count(d->in[0])}});
}

/* Reversed dimensions, in a row: index 0 of the operand runs fastest. */
static void contiguous_oracle(const tape_draw *d, const double *const *in,
                              const attn_tensor *shape, double *const *out)
{
    const attn_tensor *x = &d->in[0];
    (void)shape;
    for (int64_t i = 0, n = attn_tensor_count(*x); i < n; i++) {
        int64_t from = 0, left = i;
        for (int k = 0; k < x->rank; k++) {
            int64_t after = 1;
            for (int j = k + 1; j < x->rank; j++) after *= x->shape[j];
            from += left % x->shape[k] * after;
            left /= x->shape[k];
        }
        out[0][i] = in[0][from];
    }
}

const tape_case tape_case_contiguous = {
    "contiguous", 1, contiguous_draw, contiguous_apply, contiguous_oracle, .exact = true};
