/* SPDX-License-Identifier: MIT
 * Along one dimension i[0], line by line in doubles: running sums and products as they are
 * defined, softmax by exponentials over their sum. What a mask forbids is NaN or infinite in
 * half of the cases. */
#include <math.h>

#include "tape_oracle.h"

static void scan_draw(tape_draw *d)
{
    axis_draw(d, 0, 0, true);
    d->i[1] = test_rng_chance(d->rng, 40);
}

/* ---- cumsum cumprod ---------------------------------------------------------------------- */

static void cumsum_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_cumsum(t, in[0], axis_name(d));
}

static void cumsum_oracle(const tape_draw *d, const double *const *in, const attn_tensor *shape,
                          double *const *out)
{
    const axis x = axis_of(&d->in[0], d->i[0]);
    (void)shape;
    for (int64_t r = 0; r < axis_lines(&x); r++)
        for (int64_t i = 0; i < x.n; i++)
            for (int64_t j = 0; j <= i; j++)
                out[0][axis_at(&x, r, i)] += in[0][axis_at(&x, r, j)];
}

const tape_case tape_case_cumsum = {"cumsum",      1, scan_draw, cumsum_apply, cumsum_oracle,
                                    .exact = false};

/* Zeros stand in it now and then. */
static void cumprod_draw(tape_draw *d)
{
    int64_t index[ATTN_MAX_RANK] = {0};
    scan_draw(d);
    const attn_tensor *t = &d->in[0];
    if (test_tensor_empty(t) || test_rng_chance(d->rng, 50)) return;
    do
        if (test_rng_chance(d->rng, 25)) test_put(t, index, 0);
    while (test_index_next(t, index));
}

static void cumprod_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_cumprod(t, in[0], axis_name(d));
}

static void cumprod_oracle(const tape_draw *d, const double *const *in,
                           const attn_tensor *shape, double *const *out)
{
    const axis x = axis_of(&d->in[0], d->i[0]);
    (void)shape;
    for (int64_t r = 0; r < axis_lines(&x); r++)
        for (int64_t i = 0; i < x.n; i++) {
            double *y = &out[0][axis_at(&x, r, i)];
            *y = 1;
            for (int64_t j = 0; j <= i; j++) *y *= in[0][axis_at(&x, r, j)];
        }
}

const tape_case tape_case_cumprod = {
    "cumprod", 1, cumprod_draw, cumprod_apply, cumprod_oracle, .exact = false};

/* ---- softmax ----------------------------------------------------------------------------- */

/* Element flat of the operand is forbidden by the mask, operand 1. */
static bool softmax_forbids(const tape_draw *d, const double *mask, int64_t flat)
{
    const attn_tensor *x = &d->in[0], *m = &d->in[1];
    int64_t at = 0, step = 1;
    for (int i = 1; mask && i <= m->rank; i++) {
        const int64_t index = flat % x->shape[x->rank - i], size = m->shape[m->rank - i];
        flat /= x->shape[x->rank - i];
        at += size > 1 ? index * step : 0;
        step *= size;
    }
    return mask && mask[at] == 0;
}

static void softmax_draw_mask(tape_draw *d)
{
    const attn_tensor *x = &d->in[0];
    const int gone = (int)test_rng_range(d->rng, 0, x->rank);
    int64_t shape[AXIS_RANK];
    for (int i = gone; i < x->rank; i++)
        shape[i - gone] = test_rng_chance(d->rng, 70) ? x->shape[i] : 1;
    tape_bools(d, x->rank - gone, shape);
}

static void softmax_poison(const tape_draw *d)
{
    static const double poison[] = {(double)NAN, (double)INFINITY, -(double)INFINITY, 1e300};
    const double *mask = test_tensor_dense(d->arena, d->in[1], ATTN_DTYPE_F64).data;
    int64_t index[ATTN_MAX_RANK] = {0}, flat = 0;
    if (test_tensor_empty(&d->in[0])) return;
    do
        if (softmax_forbids(d, mask, flat++))
            test_put(&d->in[0], index, poison[test_rng_range(d->rng, 0, 3)]);
    while (test_index_next(&d->in[0], index));
}

static void softmax_draw(tape_draw *d)
{
    scan_draw(d);
    if (test_rng_chance(d->rng, 40)) {
        tape_absent(d);
        return;
    }
    softmax_draw_mask(d);
    if (test_rng_chance(d->rng, 50)) softmax_poison(d);
}

static void softmax_apply(attn_tape *t, const tape_draw *d, const attn_var *in, attn_var *out)
{
    out[0] = attn_tape_softmax(t, in[0], in[1], axis_name(d));
}

static void softmax_oracle(const tape_draw *d, const double *const *in,
                           const attn_tensor *shape, double *const *out)
{
    const axis x = axis_of(&d->in[0], d->i[0]);
    (void)shape;
    for (int64_t r = 0; r < axis_lines(&x); r++) {
        double sum = 0;
        for (int64_t i = 0; i < x.n; i++) {
            const int64_t at = axis_at(&x, r, i);
            out[0][at] = softmax_forbids(d, in[1], at) ? 0 : exp(in[0][at]);
            sum += out[0][at];
        }
        for (int64_t i = 0; i < x.n && sum > 0; i++) out[0][axis_at(&x, r, i)] /= sum;
    }
}

const tape_case tape_case_softmax = {
    "softmax", 1, softmax_draw, softmax_apply, softmax_oracle, .exact = false};

static void log_softmax_apply(attn_tape *t, const tape_draw *d, const attn_var *in,
                              attn_var *out)
{
    out[0] = attn_tape_log_softmax(t, in[0], axis_name(d));
}

static void log_softmax_oracle(const tape_draw *d, const double *const *in,
                               const attn_tensor *shape, double *const *out)
{
    const axis x = axis_of(&d->in[0], d->i[0]);
    (void)shape;
    for (int64_t r = 0; r < axis_lines(&x); r++) {
        double sum = 0;
        for (int64_t i = 0; i < x.n; i++) sum += exp(in[0][axis_at(&x, r, i)]);
        for (int64_t i = 0; i < x.n; i++) {
            const int64_t at = axis_at(&x, r, i);
            out[0][at] = in[0][at] - log(sum);
        }
    }
}

const tape_case tape_case_log_softmax = {
    "log_softmax", 1, scan_draw, log_softmax_apply, log_softmax_oracle, .exact = false};
