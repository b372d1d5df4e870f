/* SPDX-License-Identifier: MIT
 * Reductions over any dimensions: one pass over all elements in doubles, each going to the
 * number that its kept indices name. i[0]: keep the dimensions; dims: which, negative now and
 * then, or all. */
#include <math.h>

#include "tape_oracle.h"

/* ---- draws ------------------------------------------------------------------------------- */

static void reduce_draw_least(tape_draw *d, int64_t least)
{
    int64_t shape[ATTN_MAX_RANK];
    const int rank = (int)test_rng_range(d->rng, 0, 4);
    for (int i = 0; i < rank; i++) shape[i] = tape_size(d, least);
    tape_reals(d, rank, shape, true);
    d->i[0] = test_rng_chance(d->rng, 50);
    d->dims.n = 0;
    for (int i = 0; i < rank; i++)
        if (test_rng_chance(d->rng, 50))
            d->dims.at[d->dims.n++] = test_rng_chance(d->rng, 30) ? i - rank : i;
    if (test_rng_chance(d->rng, 15)) d->dims.n = -1;
}

static void reduce_draw_any(tape_draw *d)
{
    reduce_draw_least(d, 0);
}

static void reduce_draw_some(tape_draw *d)
{
    reduce_draw_least(d, 1);
}

static void reduce_draw_apart(tape_draw *d)
{
    reduce_draw_least(d, 1);
    tape_tenths(d);
}

static void norm_draw(tape_draw *d)
{
    reduce_draw_least(d, 0);
    tape_avoid(&d->in[0], 0);
}

/* ---- which number an element belongs to -------------------------------------------------- */

static bool reduce_has(const tape_draw *d, int dim)
{
    const int rank = d->in[0].rank;
    for (int i = 0; i < d->dims.n; i++)
        if ((d->dims.at[i] + rank) % rank == dim) return true;
    return d->dims.n < 0;
}

static int64_t reduce_to(const tape_draw *d, int64_t flat)
{
    const attn_tensor *x = &d->in[0];
    int64_t to = 0, step = 1;
    for (int i = x->rank - 1; i >= 0; i--) {
        if (!reduce_has(d, i)) {
            to += flat % x->shape[i] * step;
            step *= x->shape[i];
        }
        flat /= x->shape[i];
    }
    return to;
}

static int64_t reduce_length(const tape_draw *d)
{
    int64_t n = 1;
    for (int i = 0; i < d->in[0].rank; i++)
        if (reduce_has(d, i)) n *= d->in[0].shape[i];
    return n;
}

/* ---- the operations ---------------------------------------------------------------------- */

static void sum_oracle(const tape_draw *d, const double *const *in, const attn_tensor *shape,
                       double *const *out)
{
    (void)shape;
    for (int64_t i = 0, n = tape_count(&d->in[0]); i < n; i++)
        out[0][reduce_to(d, i)] += in[0][i];
}

static void mean_oracle(const tape_draw *d, const double *const *in, const attn_tensor *shape,
                        double *const *out)
{
    sum_oracle(d, in, shape, out);
    for (int64_t i = 0, n = tape_count(shape); i < n; i++)
        out[0][i] /= (double)reduce_length(d);
}

static void max_oracle(const tape_draw *d, const double *const *in, const attn_tensor *shape,
                       double *const *out)
{
    for (int64_t i = 0, n = tape_count(shape); i < n; i++) out[0][i] = -(double)INFINITY;
    for (int64_t i = 0, n = tape_count(&d->in[0]); i < n; i++) {
        double *y = &out[0][reduce_to(d, i)];
        *y = fmax(*y, in[0][i]);
    }
}

static void logsumexp_oracle(const tape_draw *d, const double *const *in,
                             const attn_tensor *shape, double *const *out)
{
    for (int64_t i = 0, n = tape_count(&d->in[0]); i < n; i++)
        out[0][reduce_to(d, i)] += exp(in[0][i]);
    for (int64_t i = 0, n = tape_count(shape); i < n; i++) out[0][i] = log(out[0][i]);
}

static void norm_oracle(const tape_draw *d, const double *const *in, const attn_tensor *shape,
                        double *const *out)
{
    for (int64_t i = 0, n = tape_count(&d->in[0]); i < n; i++)
        out[0][reduce_to(d, i)] += in[0][i] * in[0][i];
    for (int64_t i = 0, n = tape_count(shape); i < n; i++) out[0][i] = sqrt(out[0][i]);
}

#define REDUCE(name, how, is_exact)                                                            \
    static void name##_apply(attn_tape *t, const tape_draw *d, const attn_var *in,             \
                             attn_var *out)                                                    \
    {                                                                                          \
        out[0] = attn_tape_##name(t, in[0], d->dims, d->i[0] != 0);                            \
    }                                                                                          \
    const tape_case tape_case_##name = {                                                       \
        #name, 1, how, name##_apply, name##_oracle, .exact = is_exact};
REDUCE(sum, reduce_draw_any, false)
REDUCE(mean, reduce_draw_some, false)
REDUCE(max, reduce_draw_apart, true)
REDUCE(logsumexp, reduce_draw_some, false)
REDUCE(norm, norm_draw, false)
